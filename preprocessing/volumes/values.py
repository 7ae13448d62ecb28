"""The voxel values that scans and masks may hold, and whether a file can hold as many as its header claims."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ResourceError

PACKING = 1100  # no bytes are packed more tightly by gzip than 1 : 1032
DUST = 0.01  # by how much resampling and rounding may miss a label


def usable_values(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers as they are, in this machine's byte order; all others as float32.

    Raises `DataError`, with the file's `name`, where a value is no number or more than float32 can hold.
    """
    if array.dtype.kind != "f":
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    with np.errstate(over="ignore"):  # values that float32 cannot hold are refused below
        array = array.astype(np.float32, copy=False)
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise DataError(
            f"{name} holds {bad} voxels that are not numbers (NaN or infinite): expected a value in every voxel; "
            "replace them, by -1024 for air in a CT for instance."
        )
    return array


def mask_labels(array: NDArray[Any]) -> NDArray[Any]:
    """The labels of a mask as whole numbers, without the traces of resampling.

    Values that miss a whole number by no more than 0.01 are that number. A mask of 0 and 1 that was interpolated marks
    voxels of one half or more. Any other mask is returned as it is.
    """
    if array.dtype.kind != "f" or not array.size:
        return array
    whole: NDArray[Any] = np.rint(array)
    if np.abs(array - whole).max() <= DUST:
        return whole
    return (array >= 0.5).astype(np.uint8) if array.min() > -0.5 and 0.5 < array.max() < 1.5 else array


def check_claim(name: str, claimed: int, stored: int) -> None:
    """Refuse a header that claims more bytes of voxels than its file or this machine can hold, before they are allocated.

    `claimed` is the size of the voxels, `stored` that of the file. Raises `DataError` and `ResourceError`.
    """
    if claimed > PACKING * stored:
        raise DataError(
            f"The header of {name} claims {claimed / 1e9:,.1f} GB of voxels, which its {stored:,} bytes cannot hold: "
            "the file is cut short or damaged; copy or export it again."
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else claimed
    if claimed > memory:
        raise ResourceError(
            f"{name} needs {claimed / 1e9:,.1f} GB of memory and this machine has {memory / 1e9:,.1f}: crop the scan first."
        )
