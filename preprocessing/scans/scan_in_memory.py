"""A scan in an image or an array that is in memory already."""

from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..counted import counted
from ..errors import DataError, UsageError
from ..volumes.grid import Grid, grid_from, grid_of, times
from ..volumes.values import usable_values
from ..volumes.volume import of_channels
from .formats.itk import itk_affine
from .scan import Scan

NAME = "the image"  # what messages call it


def scan_of_image(image: Any) -> Scan:
    """The scan in an image that is in memory already.

    Args:
        image: A nibabel image (Nifti1Image, or another with an affine to mm in RAS), whose fourth axis are channels; or a
            SimpleITK image, whose components are channels.

    Raises:
        UsageError: It is anything else.
        DataError: Its geometry or its voxels cannot be used.
    """
    if hasattr(image, "dataobj") and getattr(image, "affine", None) is not None:
        array, grid = np.asanyarray(image.dataobj), _grid_of_nibabel(image)
    elif hasattr(image, "GetDirection"):
        array, grid = _array_of_sitk(image)
    else:
        raise UsageError(
            f"A {type(image).__name__} is no scan: expected a path, a nibabel image with an affine, a SimpleITK image or a "
            "NumPy array."
        )
    if array.dtype.kind not in "iuf":
        raise DataError(f"{NAME} holds {array.dtype} voxels: expected one grey value per voxel.")
    channels = np.moveaxis(usable_values(NAME, array).reshape(*grid.shape, -1), -1, 0)
    return Scan("scan", of_channels(np.stack([grid.display(each) for each in channels]), grid.display_affine), grid)


def scan_of_array(array: NDArray, channels: int, spacing_mm: tuple[float, float, float] | None = None) -> Scan:
    """The scan in an array, as it is displayed: rows from top to bottom, columns from left to right.

    Args:
        array: [Y, X], or with slices [Z, Y, X]; with several channels [C, Y, X], [Y, X, C] or [C, Z, Y, X].
        channels: How many channels the image has, by which the axes are told apart.
        spacing_mm: Size of a voxel (z, y, x) in mm. None: 1 mm each, of pixels whose size is not known.

    Raises:
        UsageError: The array has other axes, or a spacing is no length.
        DataError: Its values are no finite numbers.

    Example:
        >>> scan_of_array(np.zeros((16, 20, 3), np.uint8), 3).volume.channels.shape
        (3, 1, 16, 20)
    """
    if array.dtype.kind not in "iuf":
        raise DataError(f"{NAME} holds {array.dtype} values: expected numbers.")
    planes = usable_values(NAME, _with_channels(array, channels))
    z, y, x = spacing_mm or (1.0, 1.0, 1.0)
    grid = grid_from(np.diag([-x, -y, z, 1.0]), planes.shape[:0:-1], NAME)
    return Scan("scan", of_channels(planes, grid.display_affine), grid, picture=spacing_mm is None)


def _with_channels(array: NDArray, channels: int) -> NDArray:
    """An array as [C, Z, Y, X]."""
    if channels == 1 and 2 <= array.ndim <= 3:
        return array.reshape(1, *(1,) * (3 - array.ndim), *array.shape)
    first, last = array.shape[0] == channels, array.shape[-1] == channels
    if array.ndim == 4 and first:
        return array
    if array.ndim == 3 and first != last:
        return (array if first else np.moveaxis(array, -1, 0))[:, None]
    raise UsageError(
        f"An array of shape {list(array.shape)} is no image of {counted(channels, 'channel')}: expected "
        + (
            "[Y, X] or [Z, Y, X]."
            if channels == 1
            else f"[{channels}, Y, X], [Y, X, {channels}] or [{channels}, Z, Y, X]."
        )
    )


def _grid_of_nibabel(image: Any) -> Grid:
    if isinstance(image, nib.Nifti1Image):  # Nifti2Image is one too
        return grid_of(NAME, image.header, several=True)
    return grid_from(np.array(image.affine, float), _three(image.shape[:3]), NAME)


def _array_of_sitk(image: Any) -> tuple[NDArray, Grid]:
    """The voxels [i, j, k] or, with components, [i, j, k, C]."""
    import SimpleITK as sitk

    array, components = sitk.GetArrayFromImage(image), image.GetNumberOfComponentsPerPixel()
    grid = grid_from(itk_affine(image), _three(image.GetSize()), NAME)
    if components == 1:
        return array.T, grid
    return np.stack([array[..., component].T for component in range(components)], -1), grid


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A shape with three axes, of which the last may be 1."""
    if not 2 <= len(shape) <= 3:
        raise DataError(f"{NAME} has {times(shape)} voxels: expected two or three axes.")
    i, j, k = (*shape, 1)[:3]
    return i, j, k
