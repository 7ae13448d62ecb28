"""Scans that are in memory already, as images of nibabel or SimpleITK."""

from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from .formats.itk import itk_affine
from .grid import Grid, grid_from, grid_of, times
from .scan import Scan
from .values import usable_values
from .volume import Volume

NAME = "the image"  # what messages call it


def scan_of_image(image: Any) -> Scan:
    """The scan in a nibabel image (Nifti1Image or another with an affine to mm in RAS) or a SimpleITK image.

    Raises `UsageError` for anything else, `DataError` where the geometry or the voxels cannot be used.
    """
    if hasattr(image, "dataobj") and getattr(image, "affine", None) is not None:
        array, grid = np.asanyarray(image.dataobj), _grid_of_nibabel(image)
    elif hasattr(image, "GetDirection"):
        array, grid = _array_of_sitk(image)
    else:
        raise UsageError(
            f"A {type(image).__name__} is no scan: expected a path, a nibabel image with an affine, or a SimpleITK image."
        )
    if array.dtype.kind not in "iuf":
        raise DataError(f"{NAME} holds {array.dtype} voxels: expected one grey value a voxel.")
    values = usable_values(NAME, array)
    return Scan("scan", Volume(np.ascontiguousarray(grid.display(values)), grid.display_affine), grid)


def _grid_of_nibabel(image: Any) -> Grid:
    if isinstance(image, nib.Nifti1Image):  # Nifti2Image is one too
        return grid_of(NAME, image.header)
    return grid_from(np.array(image.affine, float), _three(image.shape), NAME)


def _array_of_sitk(image: Any) -> tuple[NDArray, Grid]:
    import SimpleITK as sitk

    if image.GetNumberOfComponentsPerPixel() > 1:
        raise DataError(
            f"{NAME} holds {image.GetNumberOfComponentsPerPixel()} values a voxel: expected one grey value."
        )
    return sitk.GetArrayFromImage(image).T, grid_from(itk_affine(image), _three(image.GetSize()), NAME)


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A shape with three axes, of which the last may be 1."""
    if not 2 <= len(shape) <= 3:
        raise DataError(f"{NAME} has {times(shape)} voxels: expected two or three axes.")
    i, j, k = (*shape, 1)[:3]
    return i, j, k
