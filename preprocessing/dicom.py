"""DICOM files: find the series under a folder, and read their headers. `series` makes volumes of them.

The folder's layout and the files' names mean nothing here; a file belongs to the series that its header names.
"""

import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import MediaStorageDirectoryStorage

from .errors import AmbisegError, DataError, InputError
from .scan_names import is_hidden

SAME_PLACE = 0.01  # mm; slices closer than this lie at one place
BARE = (b"\x02\0", b"\x08\0", b"\0\x08")  # how a file begins that has no preamble: group 2 or 8
GEOMETRY = ["SOPInstanceUID", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]
GEOMETRY += ["Rows", "Columns", "ImageComments"]


@dataclass(frozen=True)
class SeriesIndex:
    """The files of every series under a folder, by SeriesInstanceUID, in the order of their paths.

    `other` counts the files that are not DICOM images; `broken` are DICOM files, or files named .dcm, of which not even the
    header can be read.
    """

    files: Mapping[str, Sequence[Path]]
    other: int
    broken: Sequence[Path]


@dataclass(frozen=True)
class Slice:
    """The header of one image. `position_mm` (x, y, z) and `orientation` [6] are DICOM's, in LPS.

    `orientation` holds the directions of a row (along the columns) and of a column (along the rows); `spacing_mm` and
    `shape` are (rows, columns). `number` is the InstanceNumber, `comments` the ImageComments.
    """

    path: Path
    sop_uid: str
    number: int
    position_mm: tuple[float, float, float]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]
    comments: str

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector [3] (LPS) perpendicular to the slice."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def height_mm(self) -> float:
        """Place of the slice along its normal, in mm."""
        return float(self.normal @ self.position_mm)


def find_series(root: Path, on_file: Callable[[int, int], None] | None = None, *, nested: bool = True) -> SeriesIndex:
    """Index all DICOM files anywhere under `root`, or directly in it; `on_file(done, total)` is called after every file.

    Hidden files and folders are passed over: some systems leave a ._NAME.dcm beside every file.
    """
    if not root.is_dir():
        raise InputError(f"No folder {root}: expected one with DICOM files; check the path.")
    files: dict[str, list[Path]] = defaultdict(list)
    other, broken = 0, []
    paths = list(_walk(root, nested))
    for count, path in enumerate(paths, 1):
        try:
            uid = _series_uid(path)
        except InvalidDicomError:
            other += 1
        except DataError:
            broken.append(path)
        else:
            files[uid].append(path)
        if on_file is not None:
            on_file(count, len(paths))
    return SeriesIndex(files, other, broken)


def _walk(root: Path, nested: bool) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_hidden(Path(name))) if nested else []
        paths = (Path(folder, name) for name in sorted(names) if not is_hidden(Path(name)))
        yield from (path for path in paths if path.is_file())


def _series_uid(path: Path) -> str:
    try:
        header = read_header(path, ["SeriesInstanceUID"])
    except InvalidDicomError as error:
        if path.suffix.lower() != ".dcm":
            raise
        raise DataError(f"{path.name} is empty, cut short or damaged: get it again.") from error
    if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise InvalidDicomError
    return str(value_of(header, "SeriesInstanceUID", path))


def read_slices(paths: Iterable[Path]) -> list[Slice]:
    """The headers of a series' images, from the lowest along their normal to the highest, then by InstanceNumber."""
    slices = []
    for path in paths:
        with readable(path):
            slices.append(_slice(path))
    return sorted(slices, key=lambda each: (round(each.height_mm / SAME_PLACE), each.number, each.sop_uid))


def _slice(path: Path) -> Slice:
    header = read_header(path, GEOMETRY)
    position, orientation, spacing = (
        tuple(float(value) for value in value_of(header, name, path))
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    )
    if len(position) != 3 or len(orientation) != 6 or len(spacing) != 2 or min(spacing) <= 0:
        raise DataError(f"{path.name} has no usable position, orientation or pixel spacing: get the series again.")
    return Slice(
        path,
        str(value_of(header, "SOPInstanceUID", path)),
        int(header.get("InstanceNumber") or 0),
        position,
        orientation,
        spacing,
        (int(value_of(header, "Rows", path)), int(value_of(header, "Columns", path))),
        str(header.get("ImageComments", "")),
    )


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever pydicom raises on a damaged file into a `DataError`, and keep its warnings from the user."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # values that break DICOM's rules but can be read, all over the archives
            yield
    except (AmbisegError, InvalidDicomError):
        raise
    except OSError as error:
        raise DataError(
            f"{path.name} cannot be read ({error.strerror}): check its permissions and the disk."
        ) from error
    except (ArithmeticError, AttributeError, EOFError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"{path.name} is cut short or damaged: get it again.") from error


def read_dataset(path: Path, **choice: Any) -> FileDataset:
    """A file as pydicom reads it, with the same keywords; files without the preamble of 128 bytes too.

    Raises `InvalidDicomError` when it is no DICOM file.
    """
    try:
        return pydicom.dcmread(path, **choice)
    except InvalidDicomError:
        with path.open("rb") as file:
            if file.read(2) not in BARE:
                raise
        return pydicom.dcmread(path, force=True, **choice)


def read_header(path: Path, tags: Sequence[str]) -> FileDataset:
    """The elements `tags` of a file. Raises `InvalidDicomError` as `read_dataset`, `DataError` when it is damaged."""
    with readable(path):
        return read_dataset(path, stop_before_pixels=True, specific_tags=list(tags))


def value_of(dataset: Dataset, name: str, path: Path) -> Any:
    """A data set's element. Raises `DataError`, with the name of its file, when it is absent or empty."""
    value = dataset.get(name)
    if value is None or value == "":
        raise DataError(f"{path.name} has no {name}: the file is cut short or no slice of a scan; get it again.")
    return value
