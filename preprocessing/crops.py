"""Cropping arrays that are already on the training grid."""

from numpy.typing import NDArray


def centre_crop(array: NDArray, size: int) -> NDArray:
    """The central [..., size, size] of an array [..., H, W], as a view; a side that is not longer than `size` stays.

    When the difference is odd, the spare pixel is left out at the lower right.
    """
    rows, columns = (_central(length, size) for length in array.shape[-2:])
    return array[..., rows, columns]


def _central(length: int, size: int) -> slice:
    start = max(length - size, 0) // 2
    return slice(start, start + min(length, size))
