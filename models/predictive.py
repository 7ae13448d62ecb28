"""Predictive: the distribution over whole masks that a method gives for a batch of images."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


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
    draw number i is one consistent story over all of them, as the slices of one lesion need.
    """

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None, *, tied: bool = False) -> Tensor:
        """Draw n masks for every image: class logits [B, n, K, H, W]. The same generator state gives the same draws."""

    @abstractmethod
    def atoms(self, n: int, generator: torch.Generator | None = None, *, tied: bool = False) -> Atoms:
        """A weighted set of at most n masks: the n most probable ones of a finite support, else n draws of weight 1/n."""


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

    def atoms(self, n: int, generator: torch.Generator | None = None, *, tied: bool = False) -> Atoms:
        """n draws of weight 1/n."""
        labels, total = [], torch.zeros(())
        for logits in self.chunks(n, generator, tied):
            chunk, probability_sum = harden(logits)
            labels.append(chunk)
            total = total.to(probability_sum) + probability_sum
        stacked = torch.cat(labels, 1)
        weights = torch.full(stacked.shape[:2], 1 / n, device=stacked.device)
        return Atoms(stacked, weights, total / n, draws=n)


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
