"""Predictive: the distribution over whole masks that a method gives for a batch of images."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .randomness import gumbel

Stitch = Callable[[Tensor], Tensor]  # logits [B, n, K, H, W] of images that are slices of one volume, made to fit

ATOMS_A_CHUNK = 16
STORY_ATOMS = 64  # the most atoms that are weighted when images share one latent sample


@dataclass(frozen=True)
class Atoms:
    """A weighted set of masks for each image of a batch.

    labels [B, N, H, W] uint8 classes; weights [B, N], each row sums to 1; marginal [B, K, H, W]: the weighted mean of the
    masks' pixelwise class probabilities; `draws`: how many independent draws these are, None when they are the exact support.
    """

    labels: Tensor
    weights: Tensor
    marginal: Tensor
    draws: int | None


class Predictive(ABC):
    """Whole masks with probabilities. `tied=True` makes the images of a batch share their randomness or support:
    draw number i uses the same latent sample in all of them, as the slices of one lesion need.
    """

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None, *, tied: bool = False) -> Tensor:
        """Draw n masks for every image: class logits [B, n, K, H, W]. The same generator state gives the same draws."""

    @abstractmethod
    def atoms(
        self, n: int, generator: torch.Generator | None = None, *, tied: bool = False, stitch: Stitch | None = None
    ) -> Atoms:
        """A weighted set of at most n masks: the n most probable ones of a finite support, else n draws of weight 1/n.

        `stitch` is applied to the masks' logits; it needs `tied`.
        """

    def pixelwise(self) -> Tensor | None:
        """Class probabilities [B, K, H, W] that the model states outright, without a draw; None for most models."""
        return None


class SampledPredictive(Predictive):
    """A Predictive that can only be drawn from: subclasses give `chunks`, everything else follows.

    Draws come in chunks so that a thousand masks of an image never stand in memory as logits at once.
    """

    @abstractmethod
    def chunks(self, n: int, generator: torch.Generator | None, tied: bool) -> Iterator[Tensor]:
        """Yield class logits [B, m, K, H, W] until the m add up to n."""

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
    """N masks with explicit probabilities: codes, heads, members.

    log_probabilities [B, N] in nats (-inf: impossible); `decode` turns indices [B, n] into class logits [B, n, K, H, W].
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
        """The n most probable masks, their probabilities renormalised; the generator is not used. Tied: at most
        `STORY_ATOMS`, whose logits stand in memory at once.
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
        """Indices [B, n] of the n most probable atoms, ties in their order, and their renormalised weights [B, n].

        Atoms that are impossible for every image are left out: to decode them would be for nothing.
        """
        n = min(n, int((self.log_probabilities > -torch.inf).any(0).sum()))
        top = probabilities.sort(dim=1, descending=True, stable=True)
        weights = top.values[:, :n]
        return top.indices[:, :n], weights / weights.sum(1, keepdim=True)

    def _story(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """The same atoms with the same weights for all images, as slices of one lesion need: indices, weights [B, n] and
        logits [B, n, K, H, W].
        """
        own = self.log_probabilities.exp()
        index, _ = self._most_probable(own.mean(0, keepdim=True), n)
        index = index.expand(len(own), -1)
        logits = self._decoded(index)
        weights = one_story(own.gather(1, index), logits)
        return index, weights.expand(len(own), -1), logits

    def _decoded(self, index: Tensor) -> Tensor:
        return torch.cat([self.decode(some) for some in index.split(ATOMS_A_CHUNK, 1)], 1)


def one_story(probabilities: Tensor, logits: Tensor) -> Tensor:
    """Probabilities [N] shared by images that are slices of one lesion, from each one's own [B, N] of masks [B, N, K, H, W].

    An image's say is the square of the foreground area that it expects: a slice beside the lesion shows nothing whatever
    the reader thought of the lesion, and what a reader thinks is decided where the lesion is largest.
    """
    area = (1 - logits.float().softmax(2)[:, :, 0]).mean((2, 3))
    say = (probabilities * area).sum(1, keepdim=True) + 1e-6
    weights = (say**2 * probabilities).sum(0)
    return weights / weights.sum()


def harden(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Labels [B, m, H, W] (uint8, the most probable class) of logits [B, m, K, H, W], and the sum [B, K, H, W] over the
    m draws of their class probabilities. Two classes need one subtraction and no softmax.
    """
    logits = logits.float()
    if logits.shape[2] == 2:
        difference = logits[:, :, 1] - logits[:, :, 0]
        lesion = difference.sigmoid().sum(1)
        return (difference > 0).to(torch.uint8), torch.stack((logits.shape[1] - lesion, lesion), 1)
    return logits.argmax(2).to(torch.uint8), logits.softmax(2).sum(1)
