"""NIfTI files: read as a `Volume` in display orientation, and arrays written back on a file's own grid.

Axes are only permuted and flipped, never resampled, and the same permutation undone puts an array back in the file's
own voxel order. A file with neither sform nor qform has the place that nibabel gives it (its spacing, centred on zero).
"""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from .errors import DataError, InputError
from .files import whole_file
from .volume import Volume

SUFFIXES = (".nii", ".nii.gz")
DISPLAY = axcodes2ornt("LPS")
SHEAR = 0.01  # largest cosine between two voxel axes; a gantry tilt of one degree is 0.017
PLACE = 0.5  # largest distance between sform and qform, in voxels
BROKEN = (OSError, EOFError, ValueError, OverflowError, zlib.error, ImageFileError, HeaderDataError)
MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
PLACE_FIELDS = ("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d")
PLACE_FIELDS += ("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z")


@dataclass(frozen=True)
class Grid:
    """The voxels of a NIfTI file in its own order: `shape` (i, j, k), `affine` [4, 4] from (i, j, k, 1) to mm in RAS.

    `written` is the shape as the file has it, (i, j) or (i, j, k); `header` the file's own.
    """

    header: nib.Nifti1Header
    shape: tuple[int, int, int]
    written: tuple[int, ...]
    affine: NDArray[np.float64]

    @property
    def display_affine(self) -> NDArray[np.float64]:
        """The affine [4, 4] of an array turned by `display`: from (x, y, z, 1) to mm in RAS."""
        return self.affine @ inv_ornt_aff(ornt_transform(self._own, DISPLAY), self.shape)

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


def read_volume(path: Path) -> Volume:
    """The scan in a .nii or .nii.gz file: array [Z, Y, X] (Z headwards, Y backwards, X leftwards), scaling applied.

    Whole numbers keep their type, everything else is float32. (X, Y) and (X, Y, 1) are one slice. Raises `InputError`
    when there is no such file, `DataError` when it is broken or its geometry or voxels cannot be used.
    """
    image = _open(path)
    grid = _grid(path, image)
    array = _voxels(path, image)
    return Volume(np.ascontiguousarray(grid.display(array)), grid.display_affine)


def read_grid(path: Path) -> Grid:
    """The place of the voxels of a .nii or .nii.gz file, checked as by `read_volume`; no voxel is read."""
    return _grid(path, _open(path))


def write_on_grid(path: Path, array: NDArray, like: Path | Grid, description: str = "", comment: str = "") -> None:
    """Write an array [Z, Y, X] (uint8 or float32) in the voxel order, with the affine and the form codes of `like`.

    Nothing else of the other file's header is kept, so nothing personal travels along. `description` (79 bytes) goes
    into the header, `comment` into an extension of it. The same array gives the same bytes.
    """
    grid = like if isinstance(like, Grid) else read_grid(like)
    own = grid.back(array)
    header = type(grid.header)()
    header.set_data_dtype(own.dtype)
    header.set_data_shape(own.shape)
    for field in PLACE_FIELDS:
        header[field] = grid.header[field]
    header["descrip"] = description.encode()[:79]
    if comment:
        header.extensions.append(nib.nifti1.Nifti1Extension("comment", comment.encode()))
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    with whole_file(path) as aside:
        _save(kind(own, None, header), aside)
        _check_written(aside, path, grid)


def _save(image: nib.Nifti1Image, path: Path) -> None:
    with path.open("wb") as file:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed:
                image.to_stream(packed)
        else:
            image.to_stream(file)


def _check_written(aside: Path, path: Path, grid: Grid) -> None:
    written = nib.load(aside)
    expected = grid.header.get_best_affine()
    if written.shape != grid.written or not np.array_equal(written.header.get_best_affine(), expected):
        raise DataError(
            f"{path.name} would not lie on the scan's grid (expected {_times(grid.written)}, came "
            f"{_times(written.shape)}, or another affine): it was not kept; please report this."
        )


def _open(path: Path) -> nib.Nifti1Image:
    if not path.name.lower().endswith(SUFFIXES):
        raise InputError(f"{path.name} is not read: expected a {' or '.join(SUFFIXES)} file; convert it first.")
    if not path.is_file():
        raise InputError(f"No file {path}: expected a NIfTI scan (.nii or .nii.gz); check the path.")
    try:
        image = nib.load(path)
    except PermissionError as error:
        raise InputError(f"Not allowed to read {path}: change its permissions or copy it.") from error
    except BROKEN as error:
        raise DataError(_broken(path)) from error
    if not isinstance(image, nib.Nifti1Image):  # Nifti2Image is one too
        raise DataError(_broken(path))
    return image


def _broken(path: Path) -> str:
    return f"{path.name} is not a whole NIfTI file (wrong format, or cut short or damaged): copy or export it again."


def _grid(path: Path, image: nib.Nifti1Image) -> Grid:
    shape = tuple(int(count) for count in image.shape)
    if len(shape) < 2 or min(shape) < 1:
        raise DataError(f"{path.name} holds no image: expected two or three axes, came {_times(shape) or 'none'}.")
    if any(count > 1 for count in shape[3:]):
        raise DataError(
            f"{path.name} holds several volumes ({_times(shape)}): expected one volume (X x Y x Z); "
            "save the one that is meant as a file of its own."
        )
    i, j, k = (*shape, 1)[:3]
    header = image.header
    affine = header.get_best_affine() @ np.eye(4)
    affine[:3] *= MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    _check_affine(path, affine)
    _check_forms(path, header, (i, j, k))
    return Grid(header, (i, j, k), shape[:3], affine)


def _check_affine(path: Path, affine: NDArray[np.float64]) -> None:
    axes = affine[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not np.isfinite(affine).all() or lengths.min() < 1e-6 or abs(np.linalg.det(axes / lengths)) < 1e-6:
        raise DataError(
            f"The affine of {path.name} is singular: expected three independent voxel axes in mm; "
            "correct its sform or qform, or export the scan again."
        )
    cosines = np.abs((axes / lengths).T @ (axes / lengths) - np.eye(3))
    if cosines.max() > SHEAR:
        angle = np.degrees(np.arcsin(min(cosines.max(), 1.0)))
        raise DataError(
            f"The affine of {path.name} is sheared by {angle:.1f} degrees (a tilted gantry?): expected voxel axes at "
            "right angles; resample the scan on a straight grid first."
        )


def _check_forms(path: Path, header: nib.Nifti1Header, shape: tuple[int, int, int]) -> None:
    if header["sform_code"] <= 0 or header["qform_code"] <= 0:
        return
    try:
        difference = header.get_sform() - header.get_qform()
    except (ValueError, HeaderDataError) as error:
        raise DataError(f"The qform of {path.name} is no rotation: correct it, or set its code to 0.") from error
    corners = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])])
    apart = np.linalg.norm((corners @ difference.T)[:, :3], axis=1).max()
    smallest = np.linalg.norm(header.get_sform()[:3, :3], axis=0).min()
    if not apart <= PLACE * smallest:
        raise DataError(
            f"The sform and qform of {path.name} place its voxels up to {apart:.1f} mm apart: expected one place; "
            "set the code of the wrong one to 0."
        )


def _voxels(path: Path, image: nib.Nifti1Image) -> NDArray:
    stored = image.header.get_data_dtype()
    if stored.kind not in "iuf":
        kind = "colours" if stored.names else f"{stored} voxels"
        raise DataError(f"{path.name} holds {kind}: expected one grey value a voxel; convert it to one channel.")
    try:
        array = np.asanyarray(image.dataobj)
    except BROKEN as error:
        raise DataError(_broken(path)) from error
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise DataError(
            f"{path.name} holds {bad} voxels that are not numbers (NaN or infinite): expected a value in every voxel; "
            "replace them, by -1024 for air in a CT for instance."
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(count) for count in shape)
