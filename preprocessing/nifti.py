"""NIfTI files: read as a `Volume` in display orientation, and arrays written back on a file's own grid.

Axes are only permuted and flipped, never resampled, and the same permutation undone puts an array back in the file's
own voxel order. A file with neither sform nor qform has the place that nibabel gives it (its spacing, centred on zero).
"""

import gzip
import math
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from .errors import DataError, InputError
from .files import whole_file
from .nifti_grid import Grid, grid_of, times
from .scan_names import NIFTI as SUFFIXES
from .scan_names import PAIR, has_suffix
from .values import check_claim, usable_values
from .volume import Volume

BROKEN = (OSError, EOFError, ValueError, OverflowError, zlib.error, ImageFileError, HeaderDataError)
PLACE_FIELDS = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)


def read_volume(path: Path) -> Volume:
    """The scan in a .nii or .nii.gz file: array [Z, Y, X] (Z headwards, Y backwards, X leftwards), scaling applied.

    Whole numbers keep their type, everything else is float32. (X, Y) and (X, Y, 1) are one slice. Raises `InputError`
    when there is no such file, `DataError` when it is broken or its geometry or voxels cannot be used.
    """
    image = _open(path)
    grid = grid_of(path.name, image)
    array = _voxels(path, image)
    return Volume(np.ascontiguousarray(grid.display(array)), grid.display_affine)


def read_volumes(path: Path) -> list[Volume]:
    """The volumes of a .nii or .nii.gz file with a fourth axis (X, Y, Z, K), each as by `read_volume`; one without it.

    A fifth axis is taken as the fourth where that has length 1, as in ITK's vector images.
    """
    image = _open(path)
    grid = grid_of(path.name, image, several=True)
    arrays = np.moveaxis(_voxels(path, image).reshape(*grid.shape, -1), -1, 0)
    return [Volume(grid.display(array), grid.display_affine) for array in arrays]


def read_grid(path: Path) -> Grid:
    """The place of the voxels of a .nii or .nii.gz file, checked as by `read_volume`; no voxel is read."""
    return grid_of(path.name, _open(path))


def write_on_grid(path: Path, array: NDArray, like: Path | Grid, description: str = "", comment: str = "") -> None:
    """Write an array [Z, Y, X] (uint8 or float32) in the voxel order, with the affine and the form codes of `like`.

    See `image_on_grid`. The same array gives the same bytes.
    """
    grid = like if isinstance(like, Grid) else read_grid(like)
    with whole_file(path) as aside:
        _save(image_on_grid(array, grid, description, comment), aside)
        _check_written(aside, path, grid)


def image_on_grid(array: NDArray, grid: Grid, description: str = "", comment: str = "") -> nib.Nifti1Image:
    """An array [Z, Y, X] (uint8 or float32) in a file's own voxel order, with its affine and form codes.

    Nothing else of that file's header is kept, so nothing personal travels along. `description` (79 bytes) goes into the
    header, `comment` into an extension of it.
    """
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
    return kind(own, header.get_best_affine(), header)


def write_volume(path: Path, volume: Volume) -> None:
    """Write a scan as .nii or .nii.gz in its own place; whole numbers that fit as int16, others as float32."""
    array = volume.array.transpose(2, 1, 0)
    fits = array.dtype.kind in "iu" and np.abs(array.astype(np.int64)).max(initial=0) < 2**15
    image = nib.Nifti1Image(array.astype(np.int16 if fits else np.float32), volume.affine)
    image.set_sform(volume.affine, code="scanner")
    image.set_qform(volume.affine, code="scanner")
    image.header.set_xyzt_units("mm")
    with whole_file(path) as aside:
        _save(image, aside)


def _save(image: nib.Nifti1Image, path: Path) -> None:
    with path.open("wb") as file:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed:
                image.to_stream(packed)
        else:
            image.to_stream(file)


def _check_written(aside: Path, path: Path, grid: Grid) -> None:
    written = _open(aside)
    expected = grid.header.get_best_affine()
    if written.shape != grid.written or not np.array_equal(written.header.get_best_affine(), expected):
        raise DataError(
            f"{path.name} would not lie on the scan's grid (expected {times(grid.written)}, came "
            f"{times(written.shape)}, or another affine): it was not kept; please report this."
        )


def _open(path: Path) -> nib.Nifti1Image:
    if has_suffix(path, PAIR):
        raise InputError(f"{path.name} is one of a pair (.hdr and .img), which is not read: save the scan as .nii.gz.")
    if not has_suffix(path, SUFFIXES):
        raise InputError(f"{path.name} is not read: expected a {' or '.join(SUFFIXES)} file; convert it first.")
    if not path.is_file():
        raise InputError(f"No file {path}: expected a NIfTI scan (.nii or .nii.gz); check the path.")
    try:
        with LoggingOutputSuppressor():  # its remarks on odd headers; what matters of them is checked here
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


def _voxels(path: Path, image: nib.Nifti1Image) -> NDArray:
    try:
        stored = image.header.get_data_dtype()
        if stored.kind not in "iuf":
            kind = "colours" if stored.names else f"{stored} voxels"
            raise DataError(f"{path.name} holds {kind}: expected one grey value a voxel; convert it to one channel.")
        claimed = stored.itemsize * math.prod(int(count) for count in image.shape)
        check_claim(path.name, claimed, path.stat().st_size)
        array = np.asanyarray(image.dataobj)
    except BROKEN as error:
        raise DataError(_broken(path)) from error
    return usable_values(path.name, array)
