"""A scan from a NIfTI, NRRD or MetaImage file, a DICOM folder, a picture, a zip of one of these, or an image in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..archive import unpacked
from ..errors import DataError, InputError, UsageError
from ..lfs import check_no_pointer, pointers_among
from ..names import ITK, NIFTI, PAIR, PICTURE, ZIP, has_suffix, scan_name
from ..volumes.grid import Grid, check_same_grid
from ..volumes.values import mask_labels
from ..volumes.volume import Volume
from .cases import check_pulled, find_studies, is_image
from .dicom.dicom_files import SeriesIndex, identify, index_files
from .dicom.dicom_scan import DicomScan, read_dicom
from .dicom.series_images import Image, read_image
from .formats.itk import read_itk
from .formats.nifti_volume import read_channels, read_grid, read_volume
from .formats.raster import read_picture

NAME = "the image"  # what messages call it
KINDS = ".nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd, DICOM, .png, .jpg, .tif, or a .zip of one of these"


@dataclass(frozen=True)
class Scan:
    """A scan in display orientation, with the grid of its own voxel order, on which results are written.

    Attributes:
        name: The name of its file or folder, without suffix.
        volume: The voxels [Z, Y, X], in HU for a CT.
        grid: The grid of the file's own voxel order.
        dicom: The slices and the series of a DICOM scan, else None. Their files exist as long as the block of `open_scan`.
        notes: Sentences on what was passed over beside the scan.
        channel_names: The channels' names, where something says them.
        picture: Whether it is a picture, whose pixels have no size and count as 1 mm.
    """

    name: str
    volume: Volume
    grid: Grid
    dicom: DicomScan | None = None
    notes: tuple[str, ...] = ()
    channel_names: tuple[str, ...] = ()
    picture: bool = False


@contextmanager
def open_scan(path: Path, *, series: str | None = None) -> Iterator[Scan]:
    """Read a scan: an image file, a DICOM folder, the series of one DICOM file, or a zip of any one of these.

    The files of a zip lie in a temporary folder until the block ends.

    Args:
        path: The file or folder.
        series: Names a DICOM series by its number, its UID or the UID's ending. Without it, only one series may be able to
            be a scan.

    Raises:
        InputError: There is no such file, or no scan in it.
        DataError: The scan is damaged, or its geometry cannot be used.
        UsageError: `series` is given for a scan that is not DICOM.

    Example:
        >>> import tempfile
        >>> from ambiseg.preprocessing.scans.formats.nifti_volume import write_volume
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "scan.nii")
        ...     write_volume(file, Volume(np.zeros((2, 3, 4), np.int16), np.diag([-0.7, -0.7, 1.5, 1.0])))
        ...     with open_scan(file) as scan:
        ...         scan.name, scan.volume.array.shape
        ('scan', (2, 3, 4))
    """
    check_no_pointer(path)
    if not has_suffix(path, ZIP) or path.is_dir():
        yield _read(path, scan_name(path), path.name or str(path), series)
        return
    with unpacked(path) as folder:
        yield _read(_only_case(path.name, folder), scan_name(path), path.name, series)


def read_mask(path: Path) -> Volume:
    """Read a mask in display orientation.

    Args:
        path: A NIfTI, NRRD or MetaImage file. Its labels are whole numbers (see `mask_labels`).

    Raises:
        InputError: There is no such file, or it is of another kind.
        DataError: It is damaged, or holds values between whole numbers.
    """
    if not has_suffix(path, (*NIFTI, *ITK)):
        raise InputError(f"{path.name} is not read as a mask: expected {', '.join((*NIFTI, *ITK))}; convert it first.")
    check_no_pointer(path)
    stored = _read_file(path)[0]
    labels = mask_labels(stored.array)
    between = labels[labels != np.rint(labels)] if labels.dtype.kind == "f" else labels[:0]
    if between.size:
        raise DataError(
            f"{path.name} holds values between whole numbers, as {between.flat[0]:.3g}: expected a mask, 0 outside and whole "
            "numbers inside; resample masks by nearest neighbour."
        )
    return Volume(labels, stored.affine)


def read_own_mask(path: Path, scan: Scan) -> Volume:
    """As `read_mask`, of a mask that must lie on the scan's own grid. Raises `DataError` if it does not."""
    mask = read_mask(path)
    check_same_grid(path.name, mask, "the scan", scan.volume)
    return mask


def _read(path: Path, name: str, called: str, series: str | None) -> Scan:
    """The scan at an unpacked `path`; `called` is its name in messages."""
    if path.is_dir():
        return _read_dicom(name, called, _index(path, called), series)
    if has_suffix(path, (*NIFTI, *ITK)):
        if series is not None:
            raise UsageError(f"`series` names a series of a DICOM folder, and {called} is none: leave it out.")
        return Scan(name, *_read_file(path, several=True))
    if has_suffix(path, PICTURE) and path.exists():
        volume, grid, names = read_picture(path)
        return Scan(name, volume, grid, channel_names=names, picture=True)
    if not path.exists():
        raise InputError(f"No file or folder {path}: expected a scan ({KINDS}); check the path.")
    uid = _series_of(path)
    return _read_dicom(name, called, _index(path.parent, path.absolute().parent.name, nested=False), series or uid)


def _read_file(path: Path, *, several: bool = False) -> tuple[Volume, Grid]:
    """The image of a file on its grid; only NIfTI may hold `several` channels."""
    if has_suffix(path, ITK):
        return read_itk(path)
    return read_channels(path) if several else (read_volume(path), read_grid(path))


def _series_of(path: Path) -> str:
    if has_suffix(path, PAIR):
        raise InputError(f"{path.name} is one of a pair (.hdr and .img), which is not read: save the scan as .nii.gz.")
    found = identify(path)
    if found is not None and found.error is not None:
        raise found.error
    if found is None or not found.series:
        raise InputError(f"{path.name} is no scan: expected {KINDS}; convert it first.")
    return found.series


def _index(folder: Path, called: str, *, nested: bool = True) -> SeriesIndex[Image]:
    index: SeriesIndex[Image] = index_files(folder, read_image, nested=nested)
    if index.pointers:
        raise pointers_among(called, index.pointers, index.total)
    return index


def _read_dicom(name: str, called: str, index: SeriesIndex[Image], wanted: str | None) -> Scan:
    volume, grid, dicom, notes = read_dicom(called, index, wanted)
    return Scan(name, volume, grid, dicom, notes)


def _only_case(called: str, folder: Path) -> Path:
    """The one scan in a folder that was unpacked from the zip `called`: an image file, or the folder with a study."""
    images = [path for path in folder.rglob("*") if is_image(path)]
    studies = find_studies(folder)
    if not images and not studies:
        images = [path for path in folder.rglob("*") if is_image(path, PICTURE)]
    scans = len(images) + len(set(studies.values()))
    if scans == 0:
        check_pulled(folder, studies)
        raise InputError(f"{called} holds no scan: expected one image file or the DICOM files of one study.")
    if scans > 1:
        raise InputError(f"{called} holds {scans} scans: expected one; unpack it and give the folder as a batch.")
    return images[0] if images else folder
