"""Files that are not in a scan and may be damaged slices of it, recognised by all that is left of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import AmbisegError, DataError, ResourceError
from .dicom_files import FileIdentity, SeriesIndex, begins_as_dicom, class_keyword, named_as_dicom
from .series_images import Image, Series
from .slices import Slice, continues, may_lie_beside

AS_LARGE = 0.1  # how far a file may differ in size from the slices and be as large as they are, as a share
LEAST = 132  # bytes; a shorter file cannot be recognised as DICOM


def check_unread(called: str, index: SeriesIndex[Image], scan: Series) -> None:
    """Raise a `DataError` where files whose series cannot be read may be slices of the `scan`."""
    suspects = list(_suspects(index, scan.images))
    if suspects:
        raise cannot_be_read(called, suspects)


def cannot_be_read(called: str, files: Sequence[FileIdentity]) -> AmbisegError:
    """The error of a folder with DICOM files that cannot be read: the system's refusal if there is one, else their count."""
    for each in files:
        if isinstance(each.error, ResourceError):
            return each.error
    return DataError(
        f"{called} holds DICOM files that cannot be read ({len(files)}, {files[0].path.name} is the first), "
        "cut short or damaged: get them again, or take them out if they are no part of the scan."
    )


def check_other_series(series: Sequence[Series], scan: Series, slices: Sequence[Slice]) -> None:
    """Raise a `DataError` where the one image of another series is a slice of the scan whose UID is damaged."""
    for other in series:
        if other is not scan and len(other.images) == 1 and _belongs(other, scan, slices):
            raise DataError(
                f"{other.images[0].path.name} is like the slices of the scan but names a series of its own: "
                "get it again if it belongs to the scan, else take it out."
            )


def _belongs(other: Series, scan: Series, slices: Sequence[Slice]) -> bool:
    """Whether the lone image of a series lies where the next slice would, or cannot be read and is of their class and size."""
    try:
        return continues(other.sorted_out.slices[0], slices)
    except AmbisegError:
        image = other.images[0]
        if image.sop_class not in {each.sop_class for each in scan.images} or not _is_as_large(image.path, scan.images):
            return False
        return image.damage is not None or may_lie_beside(image.elements, slices[0])


def _suspects(index: SeriesIndex[Image], images: Sequence[Image]) -> Iterator[FileIdentity]:
    for found in index.broken:
        if _may_be_slice(found, images):
            yield found
    for path in index.strangers:
        if _may_have_been_slice(path, images):
            yield FileIdentity(path)


def _may_be_slice(file: FileIdentity, images: Sequence[Image]) -> bool:
    """By its class, its size, its study, and whether it is cut short."""
    classes = {each.sop_class for each in images}
    if class_keyword(file.sop_class) and file.sop_class not in classes:
        return False
    if _is_as_large(file.path, images):
        return True
    if file.study and file.study not in {each.elements.text("StudyInstanceUID") for each in images}:
        return False
    return file.sop_class in classes or file.cut


def _may_have_been_slice(path: Path, images: Sequence[Image]) -> bool:
    """Whether a file that is no DICOM lies among the slices, named as they may be, and is as large, or all but empty."""
    if path.parent not in {each.path.parent for each in images} or not named_as_dicom(path):
        return False
    return _is_as_large(path, images) or (path.stat().st_size < LEAST and begins_as_dicom(path.read_bytes()))


def _is_as_large(path: Path, images: Sequence[Image]) -> bool:
    sizes = [each.path.stat().st_size for each in images]
    return (1 - AS_LARGE) * min(sizes) <= path.stat().st_size <= (1 + AS_LARGE) * max(sizes)
