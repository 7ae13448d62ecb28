"""NIfTI files: read as a `Volume` in display orientation, and arrays written back on a file's own grid.

Axes are only permuted and flipped, never resampled, and the same permutation undone puts an array back in the file's
own voxel order. A file with neither sform nor qform has the place that nibabel gives it (its spacing, centred on zero).
Whether a file is packed by gzip is seen from its bytes, whatever its name says.
"""

import gzip
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from ...errors import DataError, InputError
from ...files import whole_file
from ...lfs import check_no_pointer
from ...names import GZIP, NIFTI, PAIR, has_suffix
from ...volumes.grid import Grid, apart_mm, grid_of, times
from ...volumes.values import check_claim, usable_values
from ...volumes.volume import Volume, of_channels
from .gzip_blocks import GzipBlocks
from .voxel_stream import broken, check_end, opened, read_exactly, readable

KIND = "NIfTI"
HEADERS = (nib.Nifti1Header, nib.Nifti2Header)
COLOURS = (("R", "G", "B"), ("R", "G", "B", "A"))  # NIfTI's RGB24 and RGBA32
ROUNDING = 0.001  # voxels, by which a place may move where NIfTI-1 holds it in fewer digits than NIfTI-2
ERROR = 40  # from which of nibabel's levels on a header cannot be used
SILENT = logging.Logger("remarks on odd headers")  # the important ones are checked here
SILENT.addHandler(logging.NullHandler())
PLACE_FIELDS = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)


def read_volume(path: Path) -> Volume:
    """The scan in a .nii or .nii.gz file, with its scaling applied.

    Whole numbers keep their type, everything else is float32. (X, Y) and (X, Y, 1) are one slice.

    Args:
        path: The file.

    Raises:
        InputError: There is no such file.
        DataError: It is broken, or its geometry or voxels cannot be used.
    """
    with _opened(path) as (header, stream):
        grid = grid_of(path.name, header)
        array = _voxels(path, header, stream)
    return Volume(np.ascontiguousarray(grid.display(array)), grid.display_affine)


def read_volumes(path: Path) -> list[Volume]:
    """The volumes of a .nii or .nii.gz file with a fourth axis (X, Y, Z, K), each as by `read_volume`; one without it.

    A fifth axis is taken as the fourth where that has length 1, as in ITK's vector images.
    """
    with _opened(path) as (header, stream):
        grid = grid_of(path.name, header, several=True)
        arrays = np.moveaxis(_voxels(path, header, stream).reshape(*grid.shape, -1), -1, 0)
    return [Volume(grid.display(array), grid.display_affine) for array in arrays]


def read_channels(path: Path) -> tuple[Volume, Grid]:
    """The image in a .nii or .nii.gz file with its channels, and its grid, on which a mask has no channels.

    Channels are a fourth axis (X, Y, Z, C), ITK's fifth (X, Y, Z, 1, C), or the three values of colours.
    """
    with _opened(path) as (header, stream):
        several = len(header.get_data_shape()) > 3 or header.get_data_dtype().names is not None
        grid = grid_of(path.name, header, several=several)
        array = _voxels(path, header, stream, colours=True)
    channels = np.moveaxis(array.reshape(*grid.shape, -1), -1, 0)
    return of_channels(np.stack([grid.display(channel) for channel in channels]), grid.display_affine), grid


def read_grid(path: Path) -> Grid:
    """The place of the voxels of a .nii or .nii.gz file, checked as by `read_volume`; no voxel is read."""
    with _opened(path) as (header, _):
        return grid_of(path.name, header)


def write_on_grid(path: Path, array: NDArray, like: Path | Grid, description: str = "", comment: str = "") -> None:
    """Write an array in the voxel order of another file, with that file's affine and form codes (see `image_on_grid`).

    Args:
        path: The file to write. The same array gives the same bytes.
        array: [Z, Y, X] in display orientation, uint8 or float32.
        like: The other file, or its grid.
        description: Goes into the header, 79 bytes at most.
        comment: Goes into an extension of the header.
    """
    grid = like if isinstance(like, Grid) else read_grid(like)
    with whole_file(path) as aside:
        _save(image_on_grid(array, grid, description, comment), aside)
        _check_written(aside, path, grid)


def image_on_grid(array: NDArray, grid: Grid, description: str = "", comment: str = "") -> nib.Nifti1Image:
    """An array [Z, Y, X] (uint8 or float32) in a file's own voxel order, with its affine and form codes.

    It is NIfTI-1, also of a NIfTI-2 file, which ITK does not open, unless an axis is too long for it.
    Nothing else of that file's header is kept, so nothing personal travels along. `description` (79 bytes) goes into the
    header, `comment` into an extension of it.
    """
    own = grid.back(array)
    long = max(own.shape) > np.iinfo(np.int16).max
    header = nib.Nifti2Header() if long else nib.Nifti1Header()
    header.set_data_dtype(own.dtype)
    header.set_data_shape(own.shape)
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers of a form that is not in use
        for field in PLACE_FIELDS:
            header[field] = grid.header[field]
    header["descrip"] = description.encode()[:79]
    if comment:
        header.extensions.append(nib.nifti1.Nifti1Extension("comment", comment.encode()))
    kind = nib.Nifti2Image if long else nib.Nifti1Image
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
        if has_suffix(path, GZIP):
            with GzipBlocks(file) as packed:
                image.to_stream(packed)
        else:
            image.to_stream(file)


def _check_written(aside: Path, path: Path, grid: Grid) -> None:
    with _opened(aside) as (written, _):
        shape, affine = written.get_data_shape(), written.get_best_affine()
    expected = grid.header.get_best_affine()
    apart = apart_mm(affine, expected, grid.shape)
    if shape != grid.written or apart > ROUNDING * np.linalg.norm(expected[:3, :3], axis=0).min():
        raise DataError(
            f"{path.name} would not lie on the scan's grid (expected {times(grid.written)}, got {times(shape)}, or another "
            "affine): it was not kept; please report this."
        )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[nib.Nifti1Header, BinaryIO]]:
    """The checked header of a file, and its bytes, unpacked, from behind the header on."""
    if has_suffix(path, PAIR):
        raise InputError(f"{path.name} is one of a pair (.hdr and .img), which is not read: save the scan as .nii.gz.")
    if not has_suffix(path, NIFTI):
        raise InputError(f"{path.name} is not read: expected a {' or '.join(NIFTI)} file; convert it first.")
    if not path.is_file():
        raise InputError(f"No file {path}: expected a NIfTI scan (.nii or .nii.gz); check the path.")
    check_no_pointer(path)
    with readable(path, KIND), opened(path) as stream:
        header = _header(path, stream)
        check_claim(path.name, _claimed(header), path.stat().st_size)
        yield header, stream


def _header(path: Path, stream: BinaryIO) -> nib.Nifti1Header:
    """The header of a file, of which `vox_offset` says rightly where the voxels begin."""
    block = stream.read(HEADERS[-1].sizeof_hdr + 4)
    kind = next((kind for kind in HEADERS if kind.may_contain_header(block)), None)
    if kind is None or len(block) < kind.single_vox_offset:
        raise DataError(broken(path, KIND))
    try:
        header = kind(block[: kind.sizeof_hdr], check=False)
        header["vox_offset"] = _voxels_begin(path, header, extended=block[kind.sizeof_hdr] != 0)
        header.check_fix(SILENT, error_level=ERROR)
    except HeaderDataError as error:
        raise DataError(broken(path, KIND)) from error
    return header


def _voxels_begin(path: Path, header: nib.Nifti1Header, extended: bool) -> int:
    """Where in a single file the voxels begin: behind the header, also where `vox_offset` leads into it (nifti1.h)."""
    said, least = float(header["vox_offset"]), header.single_vox_offset
    if 0 <= said < least and not extended:
        return least
    if not said.is_integer() or said < least:
        raise DataError(
            f"The header of {path.name} says that its voxels begin at byte {said:g}: expected a whole number from {least} on; "
            "it is damaged, copy or export it again."
        )
    return int(said)


def _claimed(header: nib.Nifti1Header) -> int:
    """How many bytes of voxels a header claims."""
    return int(header.get_data_dtype().itemsize) * math.prod(int(count) for count in header.get_data_shape())


def _voxels(path: Path, header: nib.Nifti1Header, stream: BinaryIO, *, colours: bool = False) -> NDArray:
    """The scaled values of a file in its own order; all of the file is read, so that its checksum is proven.

    With `colours`, those of red, green and blue are a last axis.
    """
    stored, shape, begin = header.get_data_dtype(), header.get_data_shape(), header.get_data_offset()
    coloured = stored.names in COLOURS
    if stored.kind not in "iuf" and not (colours and coloured):
        kind = "colours" if stored.names else f"{stored} voxels"
        raise DataError(f"{path.name} holds {kind}: expected one grey value per voxel; convert it to one channel.")
    claimed = _claimed(header)
    if isinstance(stream, gzip.GzipFile):
        stream.seek(begin)
        array: NDArray = np.ndarray(shape, stored, read_exactly(stream, claimed), order="F")
    else:
        array = np.memmap(stream, stored, "c", begin, shape, "F")  # read as it is used
        stream.seek(begin + claimed)
    check_end(path, stream)
    if coloured:
        return np.stack([array[name] for name in "RGB"], -1)
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise DataError(f"The intercept of {path.name} is no number: correct it, or export the scan again.") from error
    scaled = apply_read_scaling(array, 1.0 if slope is None else slope, 0.0 if intercept is None else intercept)
    return usable_values(path.name, scaled)
