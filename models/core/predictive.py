"""Predictive: the distribution over whole masks that a method gives for a batch of images."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from .lesion_slices import LesionSlices
from .randomness import gumbel

ATOMS_A_CHUNK = 16
STORY_ATOMS = 64  # the most masks that are weighed when draws share one latent sample
GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, cover the unit interval evenly


@dataclass(frozen=True)
class Atoms:
    """A weighted set of masks (atoms of the distribution) for each image of a batch.

    Attributes:
        labels: classes [B, N, H, W], uint8.
        weights: of the masks [B, N]; each row sums to 1.
        marginal: class probabilities of the pixels [B, K, H, W], the weighted mean over the masks.
        draws: how many independent draws these are; None if the weights are the model's own probabilities.
        left_out: the probability [B] of the masks that the model has beside these. `weights` are those given that the mask
            is one of these: times 1 - `left_out`, they are the model's own. None: there are no others.
    """

    labels: Tensor
    weights: Tensor
    marginal: Tensor
    draws: int | None
    left_out: Tensor | None = None

    def share_left_out(self, image: int = 0) -> float:
        """`left_out` of one image, 0 where nothing is."""
        return 0.0 if self.left_out is None else float(self.left_out[image])


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
    def atoms(self, n: int, generator: torch.Generator | None = None) -> Atoms:
        """A weighted set of at most n masks: the n most probable ones of a finite support, else n draws of weight 1/n.

        Args:
            n: how many at most.
            generator: the source of randomness, as for `sample`.

        Returns:
            The masks with their weights; of a finite support the most probable first.
        """

    @abstractmethod
    def lesion(self, n: int, slices: LesionSlices, generator: torch.Generator | None = None) -> Atoms:
        """A weighted set of at most n volumes of one lesion, whose slices are the images of the batch.

        Mask number i of all images is one volume, and has the same weight in all.

        Args:
            n: how many at most.
            slices: where the images lie in the lesion.
            generator: the source of randomness, as for `sample`.

        Returns:
            The volumes, slice by slice, with their weights.
        """

    def marking(self) -> Tensor | None:
        """The probability [B] that a reader marks something on an image, for a model that states it; None for the others."""
        return None

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

    def atoms(self, n: int, generator: torch.Generator | None = None) -> Atoms:
        """n draws of weight 1/n."""
        return _drawn(self.chunks(n, generator, False), n)

    def lesion(self, n: int, slices: LesionSlices, generator: torch.Generator | None = None) -> Atoms:
        """n volumes of weight 1/n. The slices of each share one latent sample and are joined."""
        return _drawn((slices.join(logits) for logits in self.chunks(n, generator, True)), n)


class FinitePredictive(Predictive):
    """N masks with explicit probabilities, such as those of codes, heads or members.

    A part of the distribution that is continuous in truth may stand here as a run of equally probable masks. Where fewer
    masks are wanted than there are, each run keeps some of its masks, which stand for all of it. So a short list shows every
    run and not one of them alone.

    Args:
        log_probabilities: of the masks [B, N] in nats, not necessarily normalised; -inf: impossible.
        decode: a function from indices [B, n] of masks to class logits [B, n, K, H, W].
        run: the length of a run. Runs fill the end of the N masks; those before the first are single.
        kept: the places [m] in a run of the m masks that it keeps, given m; by default the first m.

    Example:
        >>> masks = torch.randn(4, 2, 8, 8)
        >>> found = FinitePredictive(torch.tensor([[0.0, 1.0, 2.0, -torch.inf]]), lambda index: masks[index])
        >>> found.atoms(10).weights.round(decimals=2).tolist()
        [[0.6700000166893005, 0.23999999463558197, 0.09000000357627869]]
    """

    def __init__(
        self,
        log_probabilities: Tensor,
        decode: Callable[[Tensor], Tensor],
        run: int = 1,
        kept: Callable[[int], Tensor] = torch.arange,
    ):
        self.log_probabilities = log_probabilities.float().log_softmax(1)
        self.decode, self.run, self.kept = decode, run, kept

    def sample(self, n: int, generator: torch.Generator | None = None, *, tied: bool = False) -> Tensor:
        """Draw n masks for every image: class logits [B, n, K, H, W]."""
        batch, support = self.log_probabilities.shape
        if tied:
            index = self._most_probable(self._probabilities.mean(0, keepdim=True), STORY_ATOMS)[0].expand(batch, -1)
            weights = one_story(self._probabilities.gather(1, index), expected_areas(self._decoded(index)))
            scores = weights.log() + gumbel((1, n, len(weights)), generator, weights)
            return self._decoded(index.gather(1, scores.argmax(2).expand(batch, -1)))
        noise = gumbel((batch, n, support), generator, self.log_probabilities)
        return self._decoded((self.log_probabilities.unsqueeze(1) + noise).argmax(2))

    def coarser(self, n: int) -> Self:
        """The distribution with as many masks of each run as n allows, one at least; itself if n are enough for all of them.

        The masks that a run keeps have its probability in equal parts.
        """
        support = self.log_probabilities.shape[1]
        runs, single = divmod(support, self.run)
        left = max(1, (n - single) // runs)
        if n >= support or left >= self.run:
            return self
        starts = single + self.run * torch.arange(runs)
        kept = torch.cat((torch.arange(single), (starts[:, None] + self.kept(left)).flatten()))
        kept = kept.to(self.log_probabilities.device)
        share = math.log(self.run / left) * (kept >= single)
        return type(self)(self.log_probabilities[:, kept] + share, lambda index: self.decode(kept[index]))

    def atoms(self, n: int, generator: torch.Generator | None = None) -> Atoms:
        """The n most probable masks, with their probabilities; of runs, fewer of each. The generator is not used."""
        return self.coarser(n)._most_probable_atoms(n)

    def _most_probable_atoms(self, n: int) -> Atoms:
        index, weights = self._most_probable(self._probabilities, n)
        logits = self._decoded(index)
        labels, _ = harden(logits)
        marginal = (logits.float().softmax(2) * weights[:, :, None, None, None]).sum(1)
        return Atoms(labels, weights, marginal, draws=None, left_out=self._left_out(index))

    def lesion(self, n: int, slices: LesionSlices, generator: torch.Generator | None = None) -> Atoms:
        """Volumes of the n masks that are most probable on average, of runs fewer of each; the generator is not used.

        All slices of a volume are the same mask's, joined. `one_story` weighs them.
        """
        return self.coarser(n)._most_probable_volumes(n, slices)

    def _most_probable_volumes(self, n: int, slices: LesionSlices) -> Atoms:
        own = self._probabilities
        index = self._most_probable(own.mean(0, keepdim=True), n)[0].expand(len(own), -1)
        volumes, chances = self._volumes(index, slices), own.gather(1, index)
        weights = one_story(chances, volumes.areas).expand(len(own), -1)
        left_out = None
        if index.shape[1] < self._possible:
            left_out = (1 - says(chances, volumes.areas) @ chances.sum(1)).clamp_min(0).expand(len(own))
        return Atoms(volumes.labels, weights, volumes.marginal(weights), draws=None, left_out=left_out)

    @property
    def _probabilities(self) -> Tensor:
        return self.log_probabilities.exp()

    @property
    def _possible(self) -> int:
        """How many masks are possible for some image."""
        return int((self.log_probabilities > -torch.inf).any(0).sum())

    def _most_probable(self, probabilities: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Indices [B, n] of the n most probable masks, ties in their order, and their renormalised weights [B, n].

        Masks that are impossible for every image are left out, so that they need not be decoded.
        """
        n = min(n, self._possible)
        top = probabilities.sort(dim=1, descending=True, stable=True)
        weights = top.values[:, :n]
        return top.indices[:, :n], weights / weights.sum(1, keepdim=True)

    def _left_out(self, index: Tensor) -> Tensor | None:
        """The probability [B] of the masks that are not among those of `index` [B, n]; None if there are none."""
        if index.shape[1] >= self._possible:
            return None
        return (1 - self._probabilities.gather(1, index).sum(1)).clamp_min(0)

    def _decoded(self, index: Tensor) -> Tensor:
        return torch.cat([self.decode(some) for some in torch.split(index, ATOMS_A_CHUNK, 1)], 1)

    def _volumes(self, index: Tensor, slices: LesionSlices) -> "Volumes":
        """The masks of `index` [B, n], joined across the slices, some at a time."""
        parts = []
        for some in torch.split(index, ATOMS_A_CHUNK, 1):
            logits = self.decode(some)
            joined = slices.join(logits)
            foreground = joined.softmax(2)[:, :, 1:].half()
            parts.append(Volumes(harden(joined)[0], foreground, expected_areas(logits)))
        return Volumes(*(torch.cat(each, 1) for each in zip(*(vars(part).values() for part in parts), strict=True)))


@dataclass(frozen=True)
class Volumes:
    """Volumes slice by slice: `labels` [B, N, H, W], class probabilities `foreground` [B, N, K - 1, H, W] in half precision,
    and the expected foreground areas [B, N] before they were joined, as shares of an image.
    """

    labels: Tensor
    foreground: Tensor
    areas: Tensor

    def marginal(self, weights: Tensor) -> Tensor:
        """Class probabilities [B, K, H, W]: the mean by weights [B, N]. What these lack of 1 is background."""
        foreground = torch.einsum("bn,bnkhw->bkhw", weights.float(), self.foreground.float())
        return torch.cat((1 - foreground.sum(1, keepdim=True), foreground), 1)


class GatedPredictive(FinitePredictive):
    """Masks with explicit probabilities, of which number 0 marks nothing and the others, the shapes, mark something.

    Its volumes are lesions. A reader either marks the lesion or nowhere, and who marks it does so on the slices from a first
    to a last one (`LesionSlices.marks`), with one shape for all of them. The probability of a lesion is that of its most
    probable slice.

    Args:
        log_probabilities: of the masks [B, N] in nats, that of the empty mask first.
        decode: a function from indices [B, n] of masks to class logits [B, n, K, H, W].
        run, kept: as of `FinitePredictive`.
    """

    def marking(self) -> Tensor:
        """The probability [B] that a reader marks something on each image."""
        return -torch.expm1(self.log_probabilities[:, 0])

    def _most_probable_volumes(self, n: int, slices: LesionSlices) -> Atoms:
        """The empty volume, and each shape on several extents, each for an equal share of the readers who mark the lesion.

        With N shapes there are (n - 1) // N extents, one at least; if n is smaller than N + 1, only the most probable shapes.
        Two volumes are the fewest.
        """
        own = self._probabilities
        marking = self.marking().double().cpu().numpy()
        present = float(marking[slices.peak(marking)])
        chances = own[:, 1:].sum(0)
        order = chances.sort(descending=True, stable=True).indices
        index = order[: max(min(n - 1, self._possible - 1), 1)]
        volumes = self._volumes((index + 1).expand(len(own), -1), slices)
        extents = max(1, (n - 1) // len(index))
        seen = _seen(own.new_tensor(slices.marks(marking)), len(index), extents)
        story = present * one_story(own[:, index + 1], volumes.areas)
        left_out = present * (1 - float(chances[index].sum() / chances.sum()))
        shown = story * (present - left_out) / present
        labels = (volumes.labels.unsqueeze(2) * seen[..., None, None]).flatten(1, 2)
        weights = torch.cat((own.new_tensor([1 - present]), (shown / extents).repeat_interleave(extents)))
        return Atoms(
            torch.cat((torch.zeros_like(labels[:, :1]), labels), 1),
            (weights / (1 - left_out)).expand(len(own), -1),
            volumes.marginal(story * seen.float().mean(2)),
            draws=None,
            left_out=own.new_full((len(own),), left_out) if len(index) < self._possible - 1 else None,
        )


def _seen(marks: Tensor, shapes: int, extents: int) -> Tensor:
    """On which images each shape is marked, at each of its extents: [B, shapes, extents] of the probabilities `marks` [B].

    An extent is a reader's number u: they cover the unit interval evenly, and differ from shape to shape.
    """
    number = torch.arange(shapes, dtype=torch.float64)[:, None]
    u = (torch.arange(extents) + (number + 0.5) * GOLDEN % 1) / extents
    return marks.double()[:, None, None] > u.to(marks.device)


def _drawn(chunks: Iterator[Tensor], n: int) -> Atoms:
    """n draws of weight 1/n from their logits, which come in chunks [B, m, K, H, W]."""
    labels, total = [], torch.zeros(())
    for logits in chunks:
        chunk, probability_sum = harden(logits)
        labels.append(chunk)
        total = total.to(probability_sum) + probability_sum
    stacked = torch.cat(labels, 1)
    weights = torch.full(stacked.shape[:2], 1 / n, device=stacked.device)
    return Atoms(stacked, weights, total / n, draws=n)


def one_story(probabilities: Tensor, areas: Tensor) -> Tensor:
    """Probabilities [N] that images share, as slices of one lesion do: the mean of the images' own, weighted by `says`.

    Args:
        probabilities: each image's own [B, N].
        areas: of the masks [B, N], as `expected_areas` gives them.
    """
    weights = says(probabilities, areas) @ probabilities
    return weights / weights.sum()


def says(probabilities: Tensor, areas: Tensor) -> Tensor:
    """The say [B] of each image of a lesion, sum 1; arguments as for `one_story`.

    It is the square of the foreground area that the image expects: a slice beside the lesion shows nothing whatever the
    reader thought of the lesion, and a reader's opinion is decided where the lesion is largest.
    """
    square = ((probabilities * areas).sum(1) + 1e-6) ** 2
    return square / square.sum()


def expected_areas(logits: Tensor) -> Tensor:
    """The expected foreground of masks [B, N, K, H, W], as a share [B, N] of the image."""
    return (1 - logits.float().softmax(2)[:, :, 0]).mean((2, 3))


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
