"""The grid of a scan: where its voxels lie in the patient, and how they turn into display orientation."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from ..errors import DataError
from .volume import VOXEL_MM, Volume

DISPLAY = axcodes2ornt("LPS")
SAME_GRID = 0.1  # largest distance between the corners of two grids that count as one, in voxels
RIGHT = 5e-5  # largest cosine between two voxel axes that every program takes for a right angle; ITK's limit is 1e-4
PLACE = 0.5  # largest distance between sform and qform, in voxels
UNITS = {1: 1000.0, 3: 0.001}  # NIfTI codes of metres and micrometres, in mm; anything else is taken as mm
MICROMETRES = 3
SIDE_MM = 10_000.0  # longest side of a volume
TINY_MM = 1e-6  # smallest pixel of a picture, or of a volume that is said to be in micrometres
FAR_MM = 1e6  # farthest place of the first voxel
LARGEST = 1e15  # of any number in an affine; larger ones are not computed with


@dataclass(frozen=True)
class Grid:
    """The voxels of a file in the file's own order, on which results are written.

    Attributes:
        header: The file's own header, or one made by `grid_from` where the file is not NIfTI.
        shape: Voxels (i, j, k).
        written: The shape as the file has it: (i, j) or (i, j, k).
        affine: [4, 4], from (i, j, k, 1) to mm in RAS.

    Example:
        >>> grid = grid_from(np.diag([-0.7, -0.7, 1.5, 1.0]), (4, 3, 2))
        >>> grid.display(np.zeros((4, 3, 2))).shape
        (2, 3, 4)
    """

    header: nib.Nifti1Header
    shape: tuple[int, int, int]
    written: tuple[int, ...]
    affine: NDArray[np.float64]

    @property
    def display_affine(self) -> NDArray[np.float64]:
        """The affine [4, 4] of an array turned by `display`: from (x, y, z, 1) to mm in RAS."""
        turn: NDArray[np.float64] = inv_ornt_aff(ornt_transform(self._own, DISPLAY), self.shape)
        return self.affine @ turn

    @property
    def display_shape(self) -> tuple[int, ...]:
        """The shape (Z, Y, X) of an array turned by `display`."""
        return self.display(np.broadcast_to(False, self.shape)).shape

    def display(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array in the file's order [i, j, k] in display orientation [Z, Y, X]."""
        turned: NDArray[Any] = apply_orientation(array.reshape(self.shape), ornt_transform(self._own, DISPLAY))
        return turned.transpose(2, 1, 0)

    def back(self, array: NDArray[Any]) -> NDArray[Any]:
        """The inverse of `display`: an array [Z, Y, X] in the file's order, in the shape that the file has."""
        own: NDArray[Any] = apply_orientation(array.transpose(2, 1, 0), ornt_transform(DISPLAY, self._own))
        return own.reshape(self.written)

    @property
    def _own(self) -> NDArray[np.float64]:
        own: NDArray[np.float64] = io_orientation(self.affine)
        return own


def grid_of(name: str, header: nib.Nifti1Header, *, several: bool = False) -> Grid:
    """The grid of a NIfTI file.

    The header is kept as it is, with one exception: where its sform is a little off the right angle, so that ITK would not
    open the file, it gets a qform too.

    Args:
        name: The file's name, for messages.
        header: The file's header.
        several: Whether the file may hold several volumes; all of them share the grid.

    Raises:
        DataError: The geometry cannot be used.
    """
    shape = tuple(int(count) for count in header.get_data_shape())
    if len(shape) < 2 or min(shape) < 1:
        raise DataError(f"{name} holds no image: expected two or three axes, got {times(shape) or 'none'}.")
    if not several and any(count > 1 for count in shape[3:]):
        raise DataError(
            f"{name} holds several volumes ({times(shape)}): expected one volume (X x Y x Z); "
            "save the one that is meant as a file of its own."
        )
    i, j, k = (*shape, 1)[:3]
    unit = int(header["xyzt_units"]) & 7
    try:
        affine = np.array(header.get_best_affine(), np.float64)
        affine[:3] *= UNITS.get(unit, 1.0)
        _check_affine(name, affine, (i, j, k), tiny=unit == MICROMETRES)
        straight = _straight(name, affine, (i, j, k))
        with np.errstate(all="ignore"):  # of numbers that are refused
            _check_forms(name, header, (i, j, k))
    except (ValueError, HeaderDataError) as error:
        raise DataError(f"The qform of {name} is no rotation: correct it, or set its code to 0.") from error
    if header["qform_code"] == 0 and not np.array_equal(straight, affine):
        header = header.copy()
        straight[:3] /= UNITS.get(unit, 1.0)
        header.set_qform(straight, code=int(header["sform_code"]))
    return Grid(header, (i, j, k), shape[:3], affine)


def grid_from(affine: NDArray[np.float64], shape: tuple[int, int, int], name: str = "the scan") -> Grid:
    """The grid of a file that is not NIfTI, with a new header in mm and both form codes 1 (scanner).

    Axes that are a little off the right angle, as rounded numbers make them, are put at right angles.

    Args:
        affine: [4, 4], from voxels (i, j, k, 1) to mm in RAS.
        shape: Voxels (i, j, k).
        name: What messages call the file.

    Raises:
        DataError: The affine cannot be used, or NIfTI cannot hold the shape.
    """
    header = nib.Nifti1Header()
    try:
        header.set_data_shape(shape)
    except HeaderDataError as error:
        raise DataError(
            f"{name} has {times(shape)} voxels: expected at most 32767 along each axis; crop the scan first."
        ) from error
    _check_affine(name, affine, shape)
    straight = _straight(name, affine, shape)
    header.set_sform(straight, code="scanner")
    header.set_qform(straight, code="scanner")
    header.set_xyzt_units("mm")
    return Grid(header, shape, shape, straight)


def _check_affine(name: str, affine: NDArray[np.float64], shape: tuple[int, int, int], *, tiny: bool = False) -> None:
    """Refuse an affine in mm that cannot be inverted, or whose size shows that it is in another unit.

    A picture (one slice) may be of any size, as those from a microscope are; a `tiny` volume is one said to be in
    micrometres.
    """
    usable = bool((np.abs(affine) < LARGEST).all())  # also none that is no number
    lengths = np.linalg.norm(affine[:3, :3], axis=0) if usable else np.zeros(3)
    if lengths.min() == 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
        raise DataError(
            f"The affine of {name} is singular: expected three independent voxel axes in mm; "
            "correct its sform or qform, or export the scan again."
        )
    seen = np.array(shape) > 1
    sides = (lengths * shape)[seen] if seen.any() else lengths
    picture = int(seen.sum()) <= 2
    least = TINY_MM if picture or tiny else VOXEL_MM[0]
    longest = np.inf if picture else SIDE_MM
    if lengths.min() < least or lengths.max() > VOXEL_MM[1] or sides.max() > longest:
        raise DataError(
            f"The voxels of {name} measure {' x '.join(map(_mm, lengths))} mm, the whole of it at most {_mm(sides.max())} mm: "
            "expected the size of a part of a body; its unit is wrong, correct its spacing or export the scan in mm."
        )
    if np.abs(affine[:3, 3]).max() > FAR_MM:
        raise DataError(
            f"The first voxel of {name} lies {_mm(np.abs(affine[:3, 3]).max())} mm away: expected a place in the scanner, at "
            f"most {_mm(FAR_MM)} mm from its centre; correct its origin, or export the scan again."
        )


def _straight(name: str, affine: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """The affine with all axes at right angles: the first stays, the second stays in the plane of both, lengths stay.

    It is the same where the angles are right already. Raises `DataError` where that would move a voxel by more than the
    tolerance for one grid.
    """
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / lengths
    cosines = np.abs(axes.T @ axes - np.eye(3)).max()
    if cosines <= RIGHT:
        return affine
    second = axes[:, 1] - axes[:, 0] * (axes[:, 0] @ axes[:, 1])
    second /= np.linalg.norm(second)
    third = np.cross(axes[:, 0], second)
    third *= np.sign(third @ axes[:, 2])
    straight = affine.copy()
    straight[:3, :3] = np.column_stack([axes[:, 0], second, third]) * lengths
    if apart_mm(affine, straight, shape) > SAME_GRID * lengths.min():
        raise DataError(
            f"The affine of {name} is sheared by {np.degrees(np.arcsin(min(cosines, 1.0))):.3g} degrees (a tilted gantry?): "
            "expected voxel axes at right angles, as every program can open; resample the scan on a straight grid first."
        )
    return straight


def _check_forms(name: str, header: nib.Nifti1Header, shape: tuple[int, int, int]) -> None:
    """Refuse a header whose parts place the voxels differently: some programs read the one, some the other."""
    if header["qform_code"] > 0 and not np.isfinite(header.get_qform()).all():
        raise ValueError("a quaternion that is no number")
    if header["sform_code"] <= 0:
        return
    sform = header.get_sform()
    lengths = np.linalg.norm(sform[:3, :3], axis=0)
    if header["qform_code"] > 0:
        other, wrong, remedy = header.get_qform(), "qform", "set the code of the wrong one to 0"
    else:  # ITK takes the directions of the sform, but the distances of pixdim
        other, wrong, remedy = sform.copy(), "pixdim", "correct the wrong one"
        other[:3, :3] *= header["pixdim"][1:4] / np.where(lengths > 0, lengths, 1)
    apart = apart_mm(sform, other, shape)
    if not apart <= PLACE * lengths.min():  # also where it is no number
        raise DataError(
            f"The sform and {wrong} of {name} place its voxels up to {min(apart, LARGEST):.1f} mm apart: expected one place; "
            f"{remedy}."
        )


def apart_mm(one: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """Largest distance between where two affines place the centre of a voxel at a corner of the grid."""
    corners = np.array(list(product(*((0, count - 1) for count in shape), [1])))
    return float(np.linalg.norm((corners @ (one - other).T)[:, :3], axis=1).max())


def times(shape: Sequence[int]) -> str:
    """A shape in words: "512 x 512 x 133"."""
    return " x ".join(str(count) for count in shape)


def _mm(length: float) -> str:
    """A length in three digits: "0.0007", "1,500"."""
    return f"{length:,.0f}" if length >= 1000 else f"{length:.3g}"


def check_same_grid(name: str, volume: Volume, image_name: str, image: Volume) -> None:
    """Raise `DataError` unless the voxels of `volume` lie where those of `image` lie; the names are for the message."""
    if volume.array.shape != image.array.shape:
        got, expected = (times(each.array.shape[::-1]) for each in (volume, image))
        raise DataError(
            f"{name} is not on the grid of {image_name}: it has {got} voxels, the image {expected}; resample it."
        )
    apart = apart_mm(volume.affine, image.affine, image.array.shape[::-1])
    if apart > SAME_GRID * min(image.spacing_mm):
        raise DataError(
            f"{name} is not on the grid of {image_name}: their voxels lie up to {apart:.1f} mm apart; resample it."
        )
