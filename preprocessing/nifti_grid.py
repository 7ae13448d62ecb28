"""The grid of a scan: where its voxels lie in the patient, and how they turn into display orientation."""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from .errors import DataError

DISPLAY = axcodes2ornt("LPS")
SHEAR = 0.01  # largest cosine between two voxel axes; a gantry tilt of one degree is 0.017
PLACE = 0.5  # largest distance between sform and qform, in voxels
MILLIMETRES = {1: 1000.0, 3: 0.001}  # NIfTI codes of metres and micrometres; anything else is taken as mm


@dataclass(frozen=True)
class Grid:
    """The voxels of a file in its own order: `shape` (i, j, k), `affine` [4, 4] from (i, j, k, 1) to mm in RAS.

    `written` is the shape as the file has it, (i, j) or (i, j, k); `header` the file's own, or one made by `grid_from`
    where the file is no NIfTI.
    """

    header: nib.Nifti1Header
    shape: tuple[int, int, int]
    written: tuple[int, ...]
    affine: NDArray[np.float64]

    @property
    def display_affine(self) -> NDArray[np.float64]:
        """The affine [4, 4] of an array turned by `display`: from (x, y, z, 1) to mm in RAS."""
        return self.affine @ inv_ornt_aff(ornt_transform(self._own, DISPLAY), self.shape)

    @property
    def display_shape(self) -> tuple[int, ...]:
        """The shape (Z, Y, X) of an array turned by `display`."""
        return self.display(np.broadcast_to(False, self.shape)).shape

    def display(self, array: NDArray) -> NDArray:
        """An array in the file's order [i, j, k] turned to [Z, Y, X]."""
        turned = apply_orientation(array.reshape(self.shape), ornt_transform(self._own, DISPLAY))
        return turned.transpose(2, 1, 0)

    def back(self, array: NDArray) -> NDArray:
        """The inverse of `display`, in the shape that the file has."""
        own = apply_orientation(array.transpose(2, 1, 0), ornt_transform(DISPLAY, self._own))
        return own.reshape(self.written)

    @property
    def _own(self) -> NDArray[np.float64]:
        return io_orientation(self.affine)


def grid_of(name: str, image: nib.Nifti1Image, *, several: bool = False) -> Grid:
    """The grid of an open NIfTI file, of each of its volumes where `several` are allowed.

    Raises `DataError`, with the file's `name`, when its geometry cannot be used.
    """
    shape = tuple(int(count) for count in image.shape)
    if len(shape) < 2 or min(shape) < 1:
        raise DataError(f"{name} holds no image: expected two or three axes, came {times(shape) or 'none'}.")
    if not several and any(count > 1 for count in shape[3:]):
        raise DataError(
            f"{name} holds several volumes ({times(shape)}): expected one volume (X x Y x Z); "
            "save the one that is meant as a file of its own."
        )
    i, j, k = (*shape, 1)[:3]
    header = image.header
    try:
        affine = np.array(header.get_best_affine(), float)
        _check_forms(name, header, (i, j, k))
    except (ValueError, HeaderDataError) as error:
        raise DataError(f"The qform of {name} is no rotation: correct it, or set its code to 0.") from error
    affine[:3] *= MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    _check_affine(name, affine)
    return Grid(header, (i, j, k), shape[:3], affine)


def grid_from(affine: NDArray[np.float64], shape: tuple[int, int, int], name: str = "the scan") -> Grid:
    """The grid of a file that is no NIfTI: its header is a new one, in mm, with both form codes 1 (scanner), the qform's 0
    where it cannot say the same as the sform (axes not quite at right angles).

    Raises `DataError`, with the file's `name`, when the affine cannot be used or NIfTI cannot hold the shape.
    """
    _check_affine(name, affine)
    header = nib.Nifti1Header()
    try:
        header.set_data_shape(shape)
    except HeaderDataError as error:
        raise DataError(
            f"{name} has {times(shape)} voxels: expected at most 32767 along each axis; crop the scan first."
        ) from error
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    if not _agree(header, shape):
        header["qform_code"] = 0  # a rotation cannot hold what little shear is allowed, over so many slices
    header.set_xyzt_units("mm")
    return Grid(header, shape, shape, np.array(affine, float))


def _check_affine(name: str, affine: NDArray[np.float64]) -> None:
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not np.isfinite(affine).all() or lengths.min() < 1e-6 or abs(np.linalg.det(axes / lengths)) < 1e-6:
        raise DataError(
            f"The affine of {name} is singular: expected three independent voxel axes in mm; "
            "correct its sform or qform, or export the scan again."
        )
    cosines = np.abs((axes / lengths).T @ (axes / lengths) - np.eye(3))
    if cosines.max() > SHEAR:
        angle = np.degrees(np.arcsin(min(cosines.max(), 1.0)))
        raise DataError(
            f"The affine of {name} is sheared by {angle:.1f} degrees (a tilted gantry?): expected voxel axes at "
            "right angles; resample the scan on a straight grid first."
        )


def _check_forms(name: str, header: nib.Nifti1Header, shape: tuple[int, int, int]) -> None:
    if header["sform_code"] <= 0 or header["qform_code"] <= 0:
        return
    if not _agree(header, shape):
        raise DataError(
            f"The sform and qform of {name} place its voxels up to {_apart_mm(header, shape):.1f} mm apart: expected one "
            "place; set the code of the wrong one to 0."
        )


def _agree(header: nib.Nifti1Header, shape: tuple[int, int, int]) -> bool:
    smallest = np.linalg.norm(header.get_sform()[:3, :3], axis=0).min()
    return bool(_apart_mm(header, shape) <= PLACE * smallest)


def _apart_mm(header: nib.Nifti1Header, shape: tuple[int, int, int]) -> float:
    """Largest distance between where the sform and the qform place a corner of the grid."""
    difference = header.get_sform() - header.get_qform()
    corners = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])])
    return float(np.linalg.norm((corners @ difference.T)[:, :3], axis=1).max())


def times(shape: tuple[int, ...]) -> str:
    """A shape in words: "512 x 512 x 133"."""
    return " x ".join(str(count) for count in shape)
