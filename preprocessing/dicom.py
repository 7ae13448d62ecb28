"""DICOM files: find the series under a folder, and read CT slices in HU. `series` makes volumes of them.

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

AIR = -1024  # HU; nothing is less dense, lower values are padding
SAME_PLACE = 0.01  # mm; slices closer than this lie at one place
GEOMETRY = ["SOPInstanceUID", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]
GEOMETRY += ["Rows", "Columns", "ImageComments"]


@dataclass(frozen=True)
class SeriesIndex:
    """The files of every series under a folder, by SeriesInstanceUID, in the order of their paths.

    `other` counts the files that are not DICOM images; `broken` are DICOM files of which not even the header can be read.
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


def find_series(root: Path, on_file: Callable[[int, int], None] | None = None) -> SeriesIndex:
    """Index all DICOM files anywhere under `root`; `on_file(done, total)` is called after every file."""
    if not root.is_dir():
        raise InputError(f"No folder {root}: expected one with DICOM files; check the path.")
    files: dict[str, list[Path]] = defaultdict(list)
    other, broken = 0, []
    paths = list(_walk(root))
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


def _walk(root: Path) -> Iterable[Path]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names))


def _series_uid(path: Path) -> str:
    header = _header(path, ["SeriesInstanceUID"])
    if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise InvalidDicomError
    return str(_value(header, "SeriesInstanceUID", path))


def read_slices(paths: Iterable[Path]) -> list[Slice]:
    """The headers of a series' images, from the lowest along their normal to the highest, then by InstanceNumber."""
    slices = [_slice(path) for path in paths]
    return sorted(slices, key=lambda each: (round(each.height_mm / SAME_PLACE), each.number, each.sop_uid))


def _slice(path: Path) -> Slice:
    header = _header(path, GEOMETRY)
    position, orientation, spacing = (
        tuple(float(value) for value in _value(header, name, path))
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    )
    if len(position) != 3 or len(orientation) != 6 or len(spacing) != 2 or min(spacing) <= 0:
        raise DataError(f"{path.name} has no usable position, orientation or pixel spacing: get the series again.")
    return Slice(
        path,
        str(_value(header, "SOPInstanceUID", path)),
        int(header.get("InstanceNumber") or 0),
        position,
        orientation,
        spacing,
        (int(_value(header, "Rows", path)), int(_value(header, "Columns", path))),
        str(header.get("ImageComments", "")),
    )


def read_hounsfield(path: Path) -> NDArray[np.int16]:
    """One image in HU [rows, columns], rounded to integers; padding, and whatever is below, is -1024."""
    with _readable(path):
        dataset = pydicom.dcmread(path)
        stored = _stored(dataset, path)
        slope, intercept = (float(_value(dataset, name, path)) for name in ("RescaleSlope", "RescaleIntercept"))
        low, high = _padding(dataset)
    hounsfield = np.rint(stored.astype(np.float64) * slope + intercept)
    hounsfield[(low <= stored) & (stored <= high)] = AIR
    return hounsfield.clip(AIR, np.iinfo(np.int16).max).astype(np.int16)


def _stored(dataset: FileDataset, path: Path) -> NDArray:
    if "PixelData" not in dataset:
        raise DataError(f"{path.name} holds no pixels: the file is cut short or no image; get it again.")
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is not None and syntax.is_compressed and not _decodable(dataset):
        raise DataError(
            f"{path.name} is compressed ({syntax.name}) and no decoder for it is installed: "
            "`pip install ambiseg[dicom-codecs]`, or decompress the series."
        )
    pixels = dataset.pixel_array
    if pixels.ndim != 2:
        raise DataError(f"{path.name} is no single grey image (shape {pixels.shape}): expected one CT slice a file.")
    return pixels


def _decodable(dataset: FileDataset) -> bool:
    from pydicom.pixels import get_decoder

    try:
        return get_decoder(dataset.file_meta.TransferSyntaxUID).is_available
    except NotImplementedError:
        return False


def _padding(dataset: Dataset) -> tuple[float, float]:
    """The range of stored values that are padding; empty when none is.

    Real files give the value as unsigned where pixels are signed, and the reverse: its bits are read as the pixels' are.
    """
    value = dataset.get("PixelPaddingValue")
    if value is None or value == "":
        return np.inf, -np.inf
    limits = (value, dataset.get("PixelPaddingRangeLimit", value))
    kind = np.dtype(f"{'iu'[dataset.PixelRepresentation == 0]}{dataset.BitsAllocated // 8}")
    raw = (each if isinstance(each, bytes) else int(each).to_bytes(8, "little", signed=each < 0) for each in limits)
    low, high = sorted(int(np.frombuffer(each[: kind.itemsize], kind)[0]) for each in raw)
    return low, high


@contextmanager
def _readable(path: Path) -> Iterator[None]:
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


def _header(path: Path, tags: list[str]) -> FileDataset:
    with _readable(path):
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)


def _value(dataset: Dataset, name: str, path: Path) -> Any:
    value = dataset.get(name)
    if value is None or value == "":
        raise DataError(f"{path.name} has no {name}: the file is cut short or not a CT image; get it again.")
    return value
