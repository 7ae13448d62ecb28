"""From stored intensities to the inputs of networks."""

from typing import Literal

import torch
from torch import Tensor

from ambiseg.preprocessing.store.intensity import LUNG_WINDOW, Intensity

Window = tuple[float, float] | Literal["crop"]


def resolve_window(asked: tuple[float, float] | str, intensity: Intensity) -> Window:
    """The window of a run: as requested, or for "auto" the lung window for HU and the whole range of the data otherwise.

    Example:
        >>> resolve_window("auto", Intensity("HU", -1024, 3071))
        (-1000.0, 400.0)
    """
    if isinstance(asked, tuple):
        return asked
    if asked == "crop":
        return "crop"
    return LUNG_WINDOW if intensity.unit == "HU" else (intensity.low, intensity.high)


def normalise(images: Tensor, window: Window) -> Tensor:
    """Images [B, C, H, W] in the stored unit to float32 in [0, 1]: the ends of `window` become 0 and 1, the rest is clipped.

    The window "crop" is each image's own minimum and maximum, over all of its channels.
    """
    images = images.float()
    if window == "crop":
        least, most = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        return (images - least) / (most - least).clamp_min(1e-6)
    low, high = window
    return ((images - low) / (high - low)).clamp(0, 1)


def with_probabilities(image: Tensor, probabilities: Tensor | None = None) -> Tensor:
    """The input of a network [B, C (+ K), H, W]: the normalised image, then the class probabilities of another segmenter
    [B, K, H, W], which are stored in 255ths.
    """
    return image if probabilities is None else torch.cat((image, probabilities.float() / 255), 1)
