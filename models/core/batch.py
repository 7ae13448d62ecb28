"""What a method is trained on, and what its loss returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A training batch, already cropped, augmented and normalised, on the training device.

    image [B, C, H, W] float: the image's channels in 0..1 and, where the data has them, the K class probabilities of
    another segmenter; mask [B, M, H, W] class labels (long) of M readers drawn at random for each image (M = 1 in the
    papers), `IGNORE` where a pixel counts for nothing; `progress` is the share of the stage that is done, 0 to 1;
    `shared` is what a stage has prepared for all of its players, in a form that is theirs; None without such.
    """

    image: Tensor
    mask: Tensor
    progress: float = 0.0
    shared: Any = None

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Every image with each of its masks: images [B * M, C, H, W] and masks [B * M, H, W]."""
        return self.image.repeat_interleave(self.mask.shape[1], 0), self.mask.flatten(0, 1)


@dataclass(frozen=True)
class Loss:
    """A scalar to minimise, and its named terms for the log (detached scalars, nats per image unless a page says else)."""

    total: Tensor
    terms: Mapping[str, Tensor]
