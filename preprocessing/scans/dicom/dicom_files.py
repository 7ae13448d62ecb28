"""DICOM files: which series they belong to, and how their headers are read.

The folder's layout and the files' names mean nothing here; a file belongs to the series that its header names.
"""

import os
import struct
import sys
import warnings
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar, cast

import pydicom
from pydicom.config import IGNORE
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, MediaStorageDirectoryStorage

from ...errors import AmbisegError, DataError, InputError, ResourceError
from ...lfs import is_pointer
from ...names import DICOM, has_suffix, is_hidden
from .dicom_elements import text_of

PREAMBLE = 128  # bytes before the letters DICM; zeros, or anything
BARE = (b"\x02\0", b"\x08\0", b"\0\x08")  # how a file begins that has no preamble: group 2 or 8
SUFFIXES = (*DICOM, ".ima", ".dicom")
IDENTITY = ["SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID"]
SERIES, PIXELS = Tag("SeriesInstanceUID"), (Tag("FloatPixelData"), Tag("DoubleFloatPixelData"), Tag("PixelData"))
DAMAGE = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, RuntimeError, TypeError, ValueError),
    *(struct.error, zlib.error, BytesLengthException),
)  # what pydicom raises on files that are not whole DICOM files


@dataclass(frozen=True)
class FileIdentity:
    """Where a file that is DICOM, or is named so, belongs: its UIDs, "" where they are not given.

    `error` is why nothing at all could be read; `cut` is whether the file begins as DICOM and ends too early.
    """

    path: Path
    sop_class: str = ""
    study: str = ""
    series: str = ""
    cut: bool = False
    error: AmbisegError | None = None


File = TypeVar("File", bound=FileIdentity)


@dataclass(frozen=True)
class SeriesIndex(Generic[File]):
    """All files of a folder by what they are.

    `members` are the files of each series by its SeriesInstanceUID, in the order of their paths. `strangers` are no DICOM
    at all. `nameless` counts DICOM objects of no series that are no images. `broken` may be images: files named .dcm, or
    beginning as DICOM does, whose series cannot be read. `pointers` counts Git LFS pointers that are named as DICOM files,
    and `total` all files.
    """

    members: Mapping[str, Sequence[File]]
    broken: Sequence[FileIdentity]
    strangers: Sequence[Path] = ()
    nameless: int = 0
    pointers: int = 0
    total: int = 0

    @cached_property
    def files(self) -> dict[str, list[Path]]:
        """The paths of the files of each series."""
        return {uid: [each.path for each in members] for uid, members in self.members.items()}

    @property
    def other(self) -> int:
        """How many files are not DICOM images."""
        return self.nameless + len(self.strangers)


def find_series(root: Path, *, nested: bool = True) -> SeriesIndex[FileIdentity]:
    """Index all DICOM files anywhere under a folder by their series.

    Hidden files and folders are passed over: some systems leave a ._NAME.dcm beside every file.

    Args:
        root: The folder.
        nested: Whether to look below the folder too.

    Raises:
        InputError: There is no such folder.
    """
    return index_files(root, identify, nested=nested)


def index_files(
    root: Path, read: Callable[[Path], File | FileIdentity | None], *, nested: bool = True
) -> SeriesIndex[File]:
    """As `find_series`, with what `read` gives for each file: a `File` where it names its series, None for no DICOM."""
    return series_of((path, read(path)) for path in files_of(root, nested))


def files_of(root: Path, nested: bool = True) -> list[Path]:
    """As `files_under`; InputError where there is no such folder."""
    if not root.is_dir():
        raise InputError(f"No folder {root}: expected one with DICOM files; check the path.")
    return list(files_under(root, nested))


def series_of(files: Iterable[tuple[Path, File | FileIdentity | None]]) -> SeriesIndex[File]:
    """The index of files of which it is known what they are, None for no DICOM."""
    members: dict[str, list[File]] = defaultdict(list)
    broken: list[FileIdentity] = []
    strangers: list[Path] = []
    nameless = pointers = total = 0
    for path, found in files:
        total += 1
        if found is None:
            if named_as_dicom(path) and is_pointer(path):
                pointers += 1
            else:
                strangers.append(path)
        elif found.series:
            members[found.series].append(cast(File, found))
        elif is_other(found.sop_class):
            nameless += 1
        else:
            broken.append(found)
    return SeriesIndex(members, broken, strangers, nameless, pointers, total)


def files_under(root: Path, nested: bool = True) -> Iterator[Path]:
    """All files under a folder, or directly in it, that are not hidden."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_hidden(Path(name))) if nested else []
        paths = (Path(folder, name) for name in sorted(names) if not is_hidden(Path(name)))
        yield from (path for path in paths if path.is_file())


def named_as_dicom(path: Path) -> bool:
    """Whether a file may be DICOM by its name: .dcm or .ima, or none of letters (IM000001, 1.2.840.113)."""
    return path.suffix.lower() in SUFFIXES or not path.suffix[1:].isalpha()


def identify(path: Path) -> FileIdentity | None:
    """Where a DICOM file belongs; None of a file that is not DICOM, and of a DICOMDIR."""
    try:
        header, whole = _read_until(path, IDENTITY, lambda tag: tag > SERIES)
        if whole and not _complete(header, "SeriesInstanceUID"):  # perhaps its elements are out of their order
            header, whole = _read_until(path, IDENTITY, PIXELS.__contains__)
    except (InvalidDicomError, AmbisegError) as error:
        return _nothing_known(path, error)
    return identity_of(path, header)


def identity_of(path: Path, header: FileDataset) -> FileIdentity | None:
    """Where a file with this header belongs; None of a DICOMDIR."""
    sop_class, study, series = (sys.intern(_complete(header, name)) for name in IDENTITY)
    sop_class = sop_class or _complete(header.file_meta, "MediaStorageSOPClassUID")
    if sop_class == MediaStorageDirectoryStorage:
        return None
    if not sop_class and not series:
        return _nothing_known(path, DataError(f"{path.name} is cut short or damaged: get it again."))
    return FileIdentity(path, sop_class, study, series)


def is_image(sop_class: str) -> bool:
    """Whether objects of a class are images by their name: CT Image Storage, Secondary Capture Image Storage, ..."""
    return "ImageStorage" in class_keyword(sop_class)


def is_other(sop_class: str) -> bool:
    """Whether objects of a class are known to be no images: reports, segmentations, palettes, ..."""
    return class_keyword(sop_class) != "" and not is_image(sop_class)


def class_keyword(sop_class: str) -> str:
    """DICOM's keyword for a class of objects ("CTImageStorage"), "" of an unknown one."""
    return UID(sop_class, validation_mode=IGNORE).keyword


def _complete(dataset: Dataset, name: str) -> str:
    """An element's text, "" when the file ends in the midst of it."""
    element = dataset.get_item(name, keep_deferred=True)
    whole = element is not None and len(element.value or b"") >= getattr(element, "length", 0)
    return text_of(dataset, name) if whole else ""


def _nothing_known(path: Path, error: InvalidDicomError | AmbisegError) -> FileIdentity | None:
    """The identity of a file that cannot be read; None of one that neither is named .dcm nor begins as DICOM."""
    if is_pointer(path):
        return None
    try:
        with path.open("rb") as file:
            head = file.read(PREAMBLE + 6)
    except OSError:
        return FileIdentity(path, error=error if isinstance(error, AmbisegError) else None)
    if head[PREAMBLE : PREAMBLE + 4] != b"DICM" and not has_suffix(path, DICOM):
        return None
    if not isinstance(error, AmbisegError):
        error = DataError(f"{path.name} is empty, cut short or damaged: get it again.")
    return FileIdentity(path, cut=begins_as_dicom(head), error=error)


def begins_as_dicom(head: bytes) -> bool:
    """Whether a file of which nothing can be read begins as DICOM does, if only because it ends so early."""
    letters, begun = head[PREAMBLE : PREAMBLE + 4], head[PREAMBLE + 4 : PREAMBLE + 6]
    if letters == b"DICM":
        return any(start.startswith(begun) for start in BARE)
    return not head[:PREAMBLE].strip(b"\0") and b"DICM".startswith(letters)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever pydicom raises on a damaged file into a `DataError`, and keep its warnings from the user.

    A file that the system refuses to read becomes a `ResourceError`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # values that break DICOM's rules but can be read, all over the archives
            yield
    except (AmbisegError, InvalidDicomError):
        raise
    except OSError as error:
        if error.errno is None:  # pydicom's own, of a sequence that ends too early
            raise DataError(f"{path.name} is cut short or damaged: get it again.") from error
        raise ResourceError(
            f"{path.name} cannot be read ({error.strerror}): check its permissions and the disk."
        ) from error
    except DAMAGE as error:
        raise DataError(f"{path.name} is cut short or damaged: get it again.") from error


def read_dataset(path: Path) -> FileDataset:
    """A whole file as pydicom reads it; files without the preamble of 128 bytes too.

    Raises `InvalidDicomError` when it is no DICOM file.
    """
    file = BytesIO(path.read_bytes())  # of which no element gets more than there is, whatever length it claims
    return pydicom.dcmread(file, force=_is_bare(file))


def read_header(path: Path, names: Sequence[str]) -> FileDataset:
    """The elements `names` of a file. Raises `InvalidDicomError` as `read_dataset`, `DataError` when it is damaged."""
    return read_to_pixels(path, names)[0]


def read_to_pixels(path: Path, names: Sequence[str]) -> tuple[FileDataset, bool]:
    """As `read_header`; and whether the file goes on to its pixels, or ends before."""
    return _read_until(path, names, PIXELS.__contains__)


def _read_until(path: Path, names: Sequence[str], last: Callable[[BaseTag], bool]) -> tuple[FileDataset, bool]:
    """The elements `names` that come before the first tag of which `last` is true, and whether there is one.

    No value is read that would lie beyond the file's end.
    """
    reached = False

    with readable(path), path.open("rb") as file:
        size = path.stat().st_size

        def stop(tag: BaseTag, _: str | None, length: int) -> bool:
            nonlocal reached
            reached = last(tag)
            place = file.tell()
            return reached or (length != 0xFFFFFFFF and place < size < place + length)

        tags: list[BaseTag | int] = [Tag(name) for name in names]
        return read_partial(file, stop, force=_is_bare(file), specific_tags=tags), reached


def check_whole(path: Path) -> None:
    """Raise `DataError` where a file ends within the value of an element, which pydicom passes over."""
    with readable(path), path.open("rb") as file:
        size = path.stat().st_size

        def ends_early(tag: BaseTag, _: str | None, length: int) -> bool:
            if length != 0xFFFFFFFF and file.tell() + length > size:
                raise DataError(f"{path.name} is cut short or damaged: get it again.")
            return False

        read_partial(file, ends_early, force=_is_bare(file))


def _is_bare(file: BinaryIO) -> bool:
    """Whether an open file, at its beginning, is DICOM without the preamble."""
    head = file.read(PREAMBLE + 4)
    file.seek(0)
    return head[PREAMBLE:] != b"DICM" and head.startswith(BARE)
