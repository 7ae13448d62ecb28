"""Crops of planes, resampled onto a square grid, and of arrays that are already on one."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .resample import PlaneGrid, most_covering

Fit = Literal["pad", "crop", "resize"]


def fit_grid(fit: Fit, shape: tuple[int, int], size: int, crop: int | None = None) -> PlaneGrid:
    """The grid that makes a crop of `size` pixels of a whole plane [Y, X], or the central `crop` pixels of that.

    "pad" and "crop" lay it about the plane's middle, pixel on pixel; "resize" lays it over the whole plane, whose height and
    width are scaled each by itself.

    Example:
        >>> fit_grid("resize", (100, 50), 10).step
        (10.0, 5.0)
    """
    y, x = (length / size if fit == "resize" else 1.0 for length in shape)
    starts = [
        (step - 1) / 2 if fit == "resize" else (length - size) // 2 for length, step in zip(shape, (y, x), strict=True)
    ]
    side = crop or size
    first = centre_start(size, side)
    centre_y, centre_x = (start + (first + (side - 1) / 2) * step for start, step in zip(starts, (y, x), strict=True))
    return PlaneGrid(side, (centre_y, centre_x), (y, x))


def crop_labels(labels: NDArray[Any], grid: PlaneGrid, classes: int) -> NDArray[np.uint8]:
    """Label maps [R, Y, X] on the grid [R, size, size]: the label that covers most of a pixel, the background included.

    With two classes a pixel at least half covered is lesion, so that regions keep their area.
    """
    return most_covering(np.stack([grid.coverage(labels == label) for label in range(1, classes)]))


def centre_crop(array: NDArray[Any], size: int) -> NDArray[Any]:
    """The central [..., size, size] of an array [..., H, W], as a view; a side that is not longer than `size` stays.

    When the difference is odd, the spare pixel is left out at the lower right.
    """
    rows, columns = (_central(length, size) for length in array.shape[-2:])
    return array[..., rows, columns]


def centre_start(length: int, size: int) -> int:
    """The first of the central `size` pixels of `length`; training and evaluation agree on it.

    >>> centre_start(10, 4)
    3
    """
    return max(length - size, 0) // 2


def _central(length: int, size: int) -> slice:
    start = centre_start(length, size)
    return slice(start, start + min(length, size))
