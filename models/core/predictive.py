"""Predictive: the distribution over whole masks that a method gives for a batch of images."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .randomness import gumbel

Stitch = Callable[[Tensor], Tensor]  # joins slices: logits [B, n, K, H, W] of images that are slices of one volume

ATOMS_A_CHUNK = 16
STORY_ATOMS = 64  # the most masks that are weighed when images share one latent sample


@dataclass(frozen=True)
class Atoms:
    """A weighted set of masks (atoms of the distribution) for each image of a batch.

    Attributes:
        labels: classes [B, N, H, W], uint8.
        weights: of the masks [B, N]; each row sums to 1.
        marginal: class probabilities of the pixels [B, K, H, W], the weighted mean over the masks.
        draws: how many independent draws these are; None if they are the exact support with its probabilities.
    """

    labels: Tensor
    weights: Tensor
    marginal: Tensor
    draws: int | None


class Predictive(ABC):
    """A distribution over whole masks for each image of a batch.

    Axes: B batch, n draws, K classes, H height, W width. With `tied=True` the images of a batch share one latent sample:
    draw number i is one consistent hypothesis over all of them, as the slices of one lesion need.

    Subclass `SampledPredictive` for a model that can only draw, `FinitePredictive` for masks with explicit probabilities.
    """

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None, *, tied: bool = False) -> Tensor:
        """Draw n masks for each image.

        Args:
            n: how many.
            generator: the source of randomness; the same state gives the same draws. None: torch's global generator.
            tied: whether the images share one latent sample.

        Returns:
            Class logits [B, n, K, H, W].
        """

    @abstractmethod
    def atoms(
        self, n: int, generator: torch.Generator | None = None, *, tied: bool = False, stitch: Stitch | None = None
    ) -> Atoms:
        """A weighted set of at most n masks: the n most probable ones of a finite support, else n draws of weight 1/n.

        Args:
            n: how many at most.
            generator: the source of randomness, as for `sample`.
            tied: whether the images share one latent sample.
            stitch: a function that joins slices, applied to the masks' logits [B, n, K, H, W]; it needs `tied`.

        Returns:
            The masks with their weights; of a finite support the most probable first.
        """

    def pixelwise(self) -> Tensor | None:
        """Class probabilities [B, K, H, W] that the model states directly, without a draw; None for most models."""
        return None


class SampledPredictive(Predictive):
    """A distribution that can only be drawn from. Subclasses implement `chunks`; everything else follows.

    Draws come in chunks, so that the logits of a thousand masks are never in memory at once.

    Example:
        >>> class Noise(SampledPredictive):
        ...     def chunks(self, n, generator, tied):
        ...         yield torch.randn(2, n, 3, 8, 8, generator=generator)
        >>> atoms = Noise().atoms(5)
        >>> tuple(atoms.labels.shape), atoms.draws
        ((2, 5, 8, 8), 5)
    """

    @abstractmethod
    def chunks(self, n: int, generator: torch.Generator | None, tied: bool) -> Iterator[Tensor]:
        """Yield class logits [B, m, K, H, W] until the m add up to n.

        With `tied`, draw number i uses the same randomness for all images. The chunk size must not change the draws.
        """

    def sample(self, n: int, generator: torch.Generator | None = None, *, tied: bool = False) -> Tensor:
        """Draw n masks for every image: class logits [B, n, K, H, W]."""
        return torch.cat(list(self.chunks(n, generator, tied)), 1)

    def atoms(
        self, n: int, generator: torch.Generator | None = None, *, tied: bool = False, stitch: Stitch | None = None
    ) -> Atoms:
        """n draws of weight 1/n."""
        labels, total = [], torch.zeros(())
        for logits in self.chunks(n, generator, tied):
            chunk, probability_sum = harden(stitch(logits) if stitch else logits)
            labels.append(chunk)
            total = total.to(probability_sum) + probability_sum
        stacked = torch.cat(labels, 1)
        weights = torch.full(stacked.shape[:2], 1 / n, device=stacked.device)
        return Atoms(stacked, weights, total / n, draws=n)


class FinitePredictive(Predictive):
    """N masks with explicit probabilities, such as those of codes, heads or members.

    Args:
        log_probabilities: of the masks [B, N] in nats, not necessarily normalised; -inf: impossible.
        decode: a function from indices [B, n] of masks to class logits [B, n, K, H, W].

    Example:
        >>> masks = torch.randn(4, 2, 8, 8)
        >>> found = FinitePredictive(torch.tensor([[0.0, 1.0, 2.0, -torch.inf]]), lambda index: masks[index])
        >>> found.atoms(10).weights.round(decimals=2).tolist()
        [[0.6700000166893005, 0.23999999463558197, 0.09000000357627869]]
    """

    def __init__(self, log_probabilities: Tensor, decode: Callable[[Tensor], Tensor]):
        self.log_probabilities = log_probabilities.float().log_softmax(1)
        self.decode = decode

    def sample(self, n: int, generator: torch.Generator | None = None, *, tied: bool = False) -> Tensor:
        """Draw n masks for every image: class logits [B, n, K, H, W]."""
        batch, support = self.log_probabilities.shape
        if tied:
            index, weights, _ = self._story(STORY_ATOMS)
            scores = weights.log().unsqueeze(1) + gumbel((1, n, weights.shape[1]), generator, weights)
            return self._decoded(index.gather(1, scores.argmax(2).expand(batch, -1)))
        noise = gumbel((batch, n, support), generator, self.log_probabilities)
        return self._decoded((self.log_probabilities.unsqueeze(1) + noise).argmax(2))

    def atoms(
        self, n: int, generator: torch.Generator | None = None, *, tied: bool = False, stitch: Stitch | None = None
    ) -> Atoms:
        """The n most probable masks, their probabilities renormalised; the generator is not used.

        If tied, there are at most `STORY_ATOMS` masks, because all of their logits are in memory at once.
        """
        if tied:
            _, weights, logits = self._story(min(n, STORY_ATOMS))
        else:
            index, weights = self._most_probable(self.log_probabilities.exp(), n)
            logits = self._decoded(index)
        if stitch:
            logits = stitch(logits)
        labels, _ = harden(logits)
        marginal = (logits.float().softmax(2) * weights[:, :, None, None, None]).sum(1)
        return Atoms(labels, weights, marginal, draws=None)

    def _most_probable(self, probabilities: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Indices [B, n] of the n most probable masks, ties in their order, and their renormalised weights [B, n].

        Masks that are impossible for every image are left out, so that they need not be decoded.
        """
        n = min(n, int((self.log_probabilities > -torch.inf).any(0).sum()))
        top = probabilities.sort(dim=1, descending=True, stable=True)
        weights = top.values[:, :n]
        return top.indices[:, :n], weights / weights.sum(1, keepdim=True)

    def _story(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """The same masks with the same weights for all images, as slices of one lesion need: indices and weights [B, n],
        logits [B, n, K, H, W].
        """
        own = self.log_probabilities.exp()
        index, _ = self._most_probable(own.mean(0, keepdim=True), n)
        index = index.expand(len(own), -1)
        logits = self._decoded(index)
        weights = one_story(own.gather(1, index), logits)
        return index, weights.expand(len(own), -1), logits

    def _decoded(self, index: Tensor) -> Tensor:
        return torch.cat([self.decode(some) for some in torch.split(index, ATOMS_A_CHUNK, 1)], 1)


def one_story(probabilities: Tensor, logits: Tensor) -> Tensor:
    """Probabilities [N] that images share, as slices of one lesion do.

    The weight of an image is the square of the foreground area that it expects: a slice beside the lesion shows nothing
    whatever the reader thought of the lesion, and a reader's opinion is decided where the lesion is largest.

    Args:
        probabilities: each image's own [B, N].
        logits: of the masks [B, N, K, H, W].
    """
    area = (1 - logits.float().softmax(2)[:, :, 0]).mean((2, 3))
    say = (probabilities * area).sum(1, keepdim=True) + 1e-6
    weights = (say**2 * probabilities).sum(0)
    return weights / weights.sum()


def harden(logits: Tensor) -> tuple[Tensor, Tensor]:
    """From logits to masks.

    Args:
        logits: of m draws [B, m, K, H, W].

    Returns:
        The most probable class of each pixel [B, m, H, W] (uint8), and the sum over the draws of the class probabilities
        [B, K, H, W]. Two classes need one subtraction and no softmax.
    """
    logits = logits.float()
    if logits.shape[2] == 2:
        difference = logits[:, :, 1] - logits[:, :, 0]
        lesion = difference.sigmoid().sum(1)
        return (difference > 0).to(torch.uint8), torch.stack((logits.shape[1] - lesion, lesion), 1)
    return logits.argmax(2).to(torch.uint8), logits.softmax(2).sum(1)
