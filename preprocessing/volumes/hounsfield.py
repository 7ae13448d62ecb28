"""Whether an image's values are Hounsfield units, judged from the values alone, and what storing them as such would destroy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .usual_range import usual_range

CHEST_HU = (-500, -200)  # a chest CT has voxels below the first and above the second, even a piece of one
TISSUE_HU = (-1024, 1500)  # from air to dense bone: below lies what fills the corners of a scan, above lies metal
HU_RANGE = (-1024, 3071)  # what scanners give in 12 bits, and stores keep
AIR_HU = -200.0  # a CT has voxels below it: the air about or in the body, or at least fat with noise
WIDEST_HU = 16_384.0  # above it not even metal lies, nor below its negative the filling of a field of view
FEW_CLIPPED = 0.1  # share of voxels outside the range of HU, without the filling, up to which an image looks like a CT
MOST_CLIPPED = 0.5  # and from which on it is refused as one
FEW = 64  # values that are left, of at least `TIMES` as many
TIMES = 4


def looks_like_hu(values: NDArray[Any]) -> bool:
    """Whether an image may be a CT in HU: it has air, and nearly all of its values lie in the range of HU.

    Args:
        values: The image, of any shape.

    Returns:
        False for an image without values below -200, with a tenth of its voxels outside -1024 to 3071, or that
        `check_hu` refuses.

    Example:
        >>> looks_like_hu(np.linspace(-1000, 400, 100)), looks_like_hu(np.linspace(0, 1, 100))
        (True, False)
    """
    low, high = usual_range(values)
    likely = -WIDEST_HU <= low <= AIR_HU <= high <= WIDEST_HU and _clipped(values) <= FEW_CLIPPED
    return likely and _harm(values) is None


def check_hu(name: str, values: NDArray[Any]) -> None:
    """Raise a `DataError`, with the image's `name`, where rounding and clipping to whole HU would destroy the image."""
    harm = _harm(values)
    if harm is not None:
        raise DataError(f"{name} is no CT in HU: {harm}. Set `intensity` to relative, or correct the image's values.")


def _harm(values: NDArray[Any]) -> str | None:
    """What rounding and clipping to whole HU would do to an image, where that is too much."""
    clipped = _clipped(values)
    if clipped > MOST_CLIPPED:
        return f"{clipped:.0%} of its voxels lie outside {HU_RANGE[0]} to {HU_RANGE[1]} and would be clipped"
    if values.dtype.kind != "f":
        return None
    before = len(np.unique(values))
    after = len(np.unique(np.rint(values).clip(*HU_RANGE)))
    if after < FEW and after * TIMES <= before:
        return f"of its {before:,} different values, {after:,} would be left when they are rounded to whole numbers"
    return None


def _clipped(values: NDArray[Any]) -> float:
    """The share of voxels outside the range of HU. A value with which a scanner fills what it does not see is no loss."""
    outside = (values < HU_RANGE[0]) | (values > HU_RANGE[1])
    least = values.min()
    filling = int((values == least).sum()) if least < HU_RANGE[0] else 0
    return float(outside.sum() - filling) / max(values.size - filling, 1)
