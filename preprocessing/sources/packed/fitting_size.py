"""Images of different sizes as crops of one size: padded, cut to their centre, or resized."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...counted import counted
from ...errors import DataError, InputError, UsageError
from ...store.store_crop import Crop
from ...volumes.planes import Fit, crop_labels, fit_grid

RESIZED = 128  # pixels to which images are resized when no size is given


def fitted(
    crops: Callable[[], Iterable[Crop]], fit: Fit, size: int | None, classes: int
) -> tuple[int, Callable[[], Iterator[Crop]]]:
    """The side in pixels, and crops of that size.

    Args:
        crops: Reads the images one after the other; "pad" and "crop" without a size read them once more.
        fit: "pad" puts an image in the middle of a larger square, beyond its border its least value; "crop" takes its middle;
            "resize" changes height and width to that of the square, each by itself.
        size: The square's side; None: the largest side of an image ("pad"), the smallest ("crop"), or 128.
        classes: How many classes the masks have.

    Raises:
        UsageError: An image is larger than the size to which it shall be padded, or smaller than that to be cut.
    """
    if size is None and fit != "resize":
        sides = [side for crop in crops() for side in crop.image.shape[1:]]
        if not sides:
            raise InputError("There is no image.")
        size = max(sides) if fit == "pad" else min(sides)
    side = size or RESIZED
    return side, lambda: (_fitted(crop, fit, side, classes) for crop in crops())


def _fitted(crop: Crop, fit: Fit, size: int, classes: int) -> Crop:
    height, width = crop.image.shape[1:]
    wrong = {"pad": max(height, width) > size, "crop": min(height, width) < size, "resize": False}[fit]
    if wrong:
        raise UsageError(
            f"Case {crop.case} has {counted(height, 'row')} and {counted(width, 'column')}: `fit` {fit} needs a `size` "
            f"{'not below' if fit == 'pad' else 'not above'} these."
        )
    if crop.masks.shape[1:] != (height, width):
        got = " x ".join(map(str, crop.masks.shape[1:]))
        raise DataError(f"Case {crop.case}: masks of {got} pixels do not fit an image of {height} x {width}.")
    grid = fit_grid(fit, (height, width), size)
    image = np.stack([grid.image(plane, fill=float(plane.min())) for plane in crop.image])
    return replace(crop, image=_as(image, crop.image.dtype), masks=crop_labels(crop.masks, grid, classes))


def _as(image: NDArray[np.float32], kind: np.dtype) -> NDArray:
    """An image with the type of numbers that it had."""
    return image if kind.kind == "f" else np.rint(image).astype(kind)
