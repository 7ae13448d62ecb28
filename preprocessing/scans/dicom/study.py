"""The image series of a DICOM folder, and which of them is the scan.

A study holds more than its scan: scouts, reports, segmentations, dose sheets. They are recognised by the headers of a
series' images; images that are no slices are passed over (`series_images`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...errors import AmbisegError, DataError, InputError
from ...volumes.grid import times
from .dicom_files import SeriesIndex
from .series_images import Image, Series, series_of
from .slices import alike

ENHANCED = ("CT", "MR", "PT")  # modalities of which one file may be a whole scan
SHORTEST = 4  # characters of a UID's ending that may name a series


def image_series(index: SeriesIndex[Image]) -> list[Series]:
    """The series under a folder that hold images, in the order of their numbers."""
    found = (series_of(uid, files) for uid, files in index.members.items())
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
        raise InputError(
            f"{name} holds {len(found)} series that can be the scan: choose one with `series`:", *_table(found)
        )
    if not found and series:
        raise InputError(f"{name} holds no series that looks like a scan: choose one with `series`:", *_table(series))
    if not found:
        raise InputError(f"{name} holds no DICOM images: expected the slices of a scan; check the path.")
    return found[0]


def check_classic(series: Series) -> None:
    """Raise a `DataError` for enhanced (multi-frame) images, which are not read."""
    if series.frames > 1:
        raise DataError(
            f"Series {series.number} is enhanced DICOM ({series.frames} frames per file): expected one slice per file; "
            "convert it to single-frame DICOM or NIfTI first."
        )


def _named(name: str, series: Sequence[Series], wanted: str) -> Series:
    chosen = [each for each in series if wanted in (str(each.number), each.uid)]
    if not chosen and len(wanted) >= SHORTEST:
        chosen = [each for each in series if each.uid.endswith(wanted)]
    if len(chosen) != 1:
        found = "several series" if chosen else "no image series"
        raise InputError(f"{name} holds {found} {wanted}: choose one with `series`:", *_table(series))
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
    return series.placed and len(series.images) > 1


def _parallel(series: Series) -> bool:
    """Whether the slices fit together as far as they can be read: a damaged slice does not make the scan another thing."""
    try:
        first, *others = series.sorted_out.slices
    except AmbisegError:
        return True
    return all(alike(first, other) for other in others)


def _table(series: Sequence[Series]) -> list[str]:
    """One line per series: number, modality, images, size, spacing, UID."""
    return [
        f"  {each.number}  {each.modality or 'no modality'}, {len(each.images)} image{'s' * (len(each.images) > 1)}, "
        f"{times(each.size)}, {_spacing(each)}{each.uid}"
        for each in series
    ]


def _spacing(series: Series) -> str:
    try:
        slices = series.sorted_out.slices
    except AmbisegError:
        return ""
    rows, columns = slices[0].spacing_mm
    gaps = np.diff([each.height_mm for each in slices])
    between = f" x {np.median(gaps):.2f}" if gaps.size else ""
    return f"{columns:.2f} x {rows:.2f}{between} mm, "
