"""The image series of a DICOM folder, and which of them is the scan.

A study holds more than its scan: scouts, reports, segmentations, dose sheets. They are told by the headers of a series'
images, of which those that are no slices are passed over (`series_images`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ...errors import AmbisegError, DataError, InputError
from ...volumes.grid import times
from .dicom_elements import order_of, text_of
from .dicom_files import SeriesIndex
from .series_images import LOCALIZER, Image, alike, plain_images, read_images, sort_out

ENHANCED = ("CT", "MR", "PT")  # modalities of which one file may be a whole scan
Value = TypeVar("Value")
SHORTEST = 4  # characters of a UID's ending that may name a series


@dataclass(frozen=True)
class Series:
    """A series with images: all its files, SeriesInstanceUID and Modality, and how many of the files can be slices.

    `number` is the SeriesNumber, or the place in the list (from 1) where several series have one number or one has none.
    Modality, number and `size` (columns, rows) are what most images have; `placed` is whether any says where it lies.
    """

    number: int
    uid: str
    modality: str
    files: Sequence[Image]
    count: int
    size: tuple[int, int]
    frames: int
    placed: bool
    scout: bool


def image_series(index: SeriesIndex) -> list[Series]:
    """The series under a folder that hold images, in the order of their numbers."""
    found = (_describe(uid, read_images(files)) for uid, files in index.files.items())
    images = [each for each in found if each is not None]
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
        raise InputError(f"{name} holds {len(found)} series that can be the scan: choose by --series:", *_table(found))
    if not found and series:
        raise InputError(f"{name} holds no series that looks like a scan: choose by --series:", *_table(series))
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


def _describe(uid: str, files: Sequence[Image]) -> Series | None:
    images = plain_images(files)
    if not images:
        return None
    headers = [each.header for each in images]
    return Series(
        _commonest(order_of(header, "SeriesNumber") for header in headers),
        uid,
        _commonest(text_of(header, "Modality").upper() for header in headers),
        files,
        len(images),
        _commonest((order_of(header, "Columns"), order_of(header, "Rows")) for header in headers),
        min(each.frames for each in images),
        any(text_of(header, "ImagePositionPatient") for header in headers),
        all(each.kind == LOCALIZER for each in images),
    )


def _commonest(values: Iterable[Value]) -> Value:
    return Counter(values).most_common(1)[0][0]


def _named(name: str, series: Sequence[Series], wanted: str) -> Series:
    chosen = [each for each in series if wanted in (str(each.number), each.uid)]
    if not chosen and len(wanted) >= SHORTEST:
        chosen = [each for each in series if each.uid.endswith(wanted)]
    if len(chosen) != 1:
        found = "several series" if chosen else "no image series"
        raise InputError(f"{name} holds {found} {wanted}: choose by --series:", *_table(series))
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
    return series.placed and series.count > 1


def _parallel(series: Series) -> bool:
    """Whether the slices fit together as far as they can be read: one that is damaged makes a scan no other thing."""
    try:
        first, *others = sort_out(series.files).slices
    except AmbisegError:
        return True
    return all(alike(first, other) for other in others)


def _table(series: Sequence[Series]) -> list[str]:
    """A line a series: number, modality, images, size, spacing, UID."""
    return [
        f"  {each.number}  {each.modality or 'no modality'}, {each.count} image{'s' * (each.count > 1)}, "
        f"{times(each.size)}, {_spacing(each)}{each.uid}"
        for each in series
    ]


def _spacing(series: Series) -> str:
    try:
        slices = sort_out(series.files).slices
    except AmbisegError:
        return ""
    rows, columns = slices[0].spacing_mm
    gaps = np.diff([each.height_mm for each in slices])
    between = f" x {np.median(gaps):.2f}" if gaps.size else ""
    return f"{columns:.2f} x {rows:.2f}{between} mm, "
