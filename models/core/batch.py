"""Batch and Loss: what a method is trained on, and what its loss returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A training batch, already cropped, augmented and normalised, on the training device.

    Attributes:
        image: [B, C, H, W] float; the channels of the image in 0..1 and, where the data has them, the K class
            probabilities of another segmenter as further channels.
        mask: class labels [B, M, H, W] (long) of M readers, who are drawn at random for each image (M = 1 in the papers);
            `IGNORE` (255) marks a pixel that does not count.
        progress: the share of the stage that is done, 0 to 1.
        shared: what the stage has prepared for all of its players; None if it prepares nothing. Its type is the method's
            own.
        readers: numbers [B, M] of the readers who drew the masks; 0 for the pool (see `named_readers`). None: the method
            does not ask who drew.

    Example:
        >>> import torch
        >>> batch = Batch(torch.zeros(2, 1, 8, 8), torch.zeros(2, 3, 8, 8, dtype=torch.long))
        >>> [tuple(part.shape) for part in batch.pairs()]
        [(6, 1, 8, 8), (6, 8, 8)]
    """

    image: Tensor
    mask: Tensor
    progress: float = 0.0
    shared: Any = None
    readers: Tensor | None = None

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Every image with each of its masks: images [B * M, C, H, W] and masks [B * M, H, W]."""
        return self.image.repeat_interleave(self.mask.shape[1], 0), self.mask.flatten(0, 1)


@dataclass(frozen=True)
class Loss:
    """What a loss function of a method returns.

    Attributes:
        total: the scalar to minimise.
        terms: named scalars for the log, detached; in nats per image, unless the method's page says otherwise.
    """

    total: Tensor
    terms: Mapping[str, Tensor]
