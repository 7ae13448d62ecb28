"""What a method is trained on, and what its loss returns."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A training batch, already cropped, augmented and normalised, on the training device.

    image [B, C, H, W] float; mask [B, M, H, W] class labels (long) of M readers drawn at random for each image
    (M = 1 in the papers); `progress` is the share of the schedule that is done, 0 to 1.
    """

    image: Tensor
    mask: Tensor
    progress: float = 0.0


@dataclass(frozen=True)
class Loss:
    """A scalar to minimise, and its named terms for the log (detached scalars, nats per image unless a page says else)."""

    total: Tensor
    terms: Mapping[str, Tensor]
