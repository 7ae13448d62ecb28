"""The image series of a DICOM folder, and which of them is the scan.

A study holds more than its scan: scouts, reports, segmentations, dose sheets. They are told by the header of a series'
first image; only where that leaves several series are all headers read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .dicom import SeriesIndex, read_header, read_slices, readable
from .errors import AmbisegError, DataError, InputError
from .nifti_grid import times
from .series import check_alike

TAGS = ("Modality", "SeriesNumber", "ImageType", "Rows", "Columns", "ImagePositionPatient", "NumberOfFrames")
DERIVED = ("SEG", "RTDOSE", "RTIMAGE")  # modalities that hold pixels and are no scan
ENHANCED = ("CT", "MR", "PT")  # modalities of which one file may be a whole scan
SHORTEST = 4  # characters of a UID's ending that may name a series


@dataclass(frozen=True)
class Series:
    """A series of images: its files, SeriesInstanceUID and Modality; the rest is of its first image.

    `number` is the SeriesNumber, or the place in the list (from 1) where several series have one number or one has none.
    `size` is (columns, rows); `placed` whether the image says where in the patient it lies.
    """

    number: int
    uid: str
    modality: str
    files: Sequence[Path]
    size: tuple[int, int]
    frames: int
    placed: bool
    scout: bool


def image_series(index: SeriesIndex) -> list[Series]:
    """The series under a folder that hold images, in the order of their numbers."""
    images = [each for each in (_describe(uid, files) for uid, files in index.files.items()) if each is not None]
    images.sort(key=lambda each: (each.number, each.uid))
    numbers = {each.number for each in images}
    if len(numbers) == len(images) and 0 not in numbers:
        return images
    return [replace(each, number=place) for place, each in enumerate(images, start=1)]


def choose_series(name: str, series: Sequence[Series], wanted: str | None = None) -> Series:
    """The series `wanted`, by its number, its UID or a UID's ending; with None the only one that can be a scan.

    Raises `InputError`, with the folder's `name` and the list of the series, where none or several are left.
    """
    if wanted is not None:
        return _named(name, series, wanted)
    found = _scans(series)
    if len(found) > 1:
        raise InputError(f"{name} holds {len(found)} series that can be the scan: choose by --series:\n{_table(found)}")
    if not found and series:
        raise InputError(f"{name} holds no series that looks like a scan: choose by --series:\n{_table(series)}")
    if not found:
        raise InputError(f"{name} holds no DICOM images: expected the slices of a scan; check the path.")
    return found[0]


def check_classic(series: Series) -> None:
    """Raise a `DataError` for enhanced (multi-frame) images, which are not read."""
    if series.frames > 1:
        raise DataError(
            f"Series {series.number} is enhanced DICOM ({series.frames} frames a file): expected one slice a file; "
            "convert it to single-frame DICOM or NIfTI first."
        )


def _describe(uid: str, files: Sequence[Path]) -> Series | None:
    header = read_header(files[0], TAGS)
    with readable(files[0]):
        modality = str(header.get("Modality") or "")
        if not header.get("Rows") or modality in DERIVED:
            return None
        return Series(
            int(header.get("SeriesNumber") or 0),
            uid,
            modality,
            files,
            (int(header.get("Columns") or 0), int(header.Rows)),
            int(header.get("NumberOfFrames") or 1),
            bool(header.get("ImagePositionPatient")),
            "LOCALIZER" in (header.get("ImageType") or ()),
        )


def _named(name: str, series: Sequence[Series], wanted: str) -> Series:
    chosen = [each for each in series if wanted in (str(each.number), each.uid)]
    if not chosen and len(wanted) >= SHORTEST:
        chosen = [each for each in series if each.uid.endswith(wanted)]
    if len(chosen) != 1:
        found = "several series" if chosen else "no image series"
        raise InputError(f"{name} holds {found} {wanted}: choose by --series:\n{_table(series)}")
    return chosen[0]


def _scans(series: Sequence[Series]) -> Sequence[Series]:
    """Series that can be the scan: of several images if there are any, of one slice only without those."""
    images = [each for each in series if not each.scout]
    found = [each for each in images if _is_volume(each)] or [each for each in images if each.placed] or images
    if len(found) < 2:
        return found
    return [each for each in found if each.frames > 1 or _parallel(each)] or found


def _is_volume(series: Series) -> bool:
    if series.frames > 1:
        return series.modality in ENHANCED
    return series.placed and len(series.files) > 1


def _parallel(series: Series) -> bool:
    try:
        check_alike(read_slices(series.files))
    except AmbisegError:
        return False
    return True


def _table(series: Sequence[Series]) -> str:
    """A line a series: number, modality, images, size, spacing, UID."""
    return "\n".join(
        f"  {each.number}  {each.modality or 'no modality'}, {len(each.files)} image{'s' * (len(each.files) > 1)}, "
        f"{times(each.size)}, {_spacing(each)}{each.uid}"
        for each in series
    )


def _spacing(series: Series) -> str:
    try:
        slices = read_slices(series.files)
    except AmbisegError:
        return ""
    rows, columns = slices[0].spacing_mm
    gaps = np.diff([each.height_mm for each in slices])
    between = f" x {np.median(gaps):.2f}" if gaps.size else ""
    return f"{columns:.2f} x {rows:.2f}{between} mm, "
