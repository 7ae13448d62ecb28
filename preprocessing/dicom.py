"""DICOM: find the series under a folder, and read CT slices in HU.

The folder's layout and the files' names mean nothing here; a file belongs to the series that its header names.
"""

import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import MediaStorageDirectoryStorage

from .errors import AmbisegError, DataError, InputError
from .volume import Volume

AIR = -1024  # HU; nothing is less dense, lower values are padding
SHEAR = 0.01  # largest sine of the angle between the slices' normal and the way from slice to slice
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


def one_a_place(slices: Sequence[Slice]) -> list[Slice]:
    """Drop repeated images from slices sorted by place.

    Images at one place that show the same are one image, of which the lowest InstanceNumber is kept. When they
    differ nobody can say which one was read, and a `DataError` is raised.
    """
    kept = []
    for _, group in groupby(slices, key=lambda each: round(each.height_mm / SAME_PLACE)):
        first, *others = group
        for other in others:
            if not np.array_equal(read_hounsfield(first.path), read_hounsfield(other.path)):
                raise DataError(
                    f"Two different images lie at one place, z = {first.position_mm[2]:g} mm ({first.path.name} and "
                    f"{other.path.name}): remove the one that does not belong to the scan."
                )
        kept.append(first)
    return kept


def check_alike(slices: Sequence[Slice]) -> None:
    """Raise a `DataError` unless all slices have the same shape, pixel spacing and orientation."""
    first = slices[0]
    for other in slices[1:]:
        same = np.allclose(first.orientation, other.orientation, atol=1e-3)
        same = same and np.allclose(first.spacing_mm, other.spacing_mm, rtol=1e-3)
        if first.shape != other.shape or not same:
            raise DataError(
                f"{other.path.name} has another size, spacing or orientation than {first.path.name}: "
                "the series holds images of more than one scan."
            )


def read_series(paths: Iterable[Path]) -> Volume:
    """All images of one series as a volume in HU. Slices must be equally spaced along their normal (gantry not tilted)."""
    slices = read_slices(paths)
    if not slices:
        raise InputError("The series has no image: expected at least one DICOM file.")
    check_alike(slices)
    slices = one_a_place(slices)
    affine = _affine(slices)
    return _display(np.stack([read_hounsfield(each.path) for each in slices]), affine)


def _affine(slices: Sequence[Slice]) -> NDArray[np.float64]:
    """Voxel indices (column, row, slice, 1) to mm in RAS."""
    first = slices[0]
    positions = np.array([each.position_mm for each in slices])
    gaps = np.diff(positions, axis=0)
    if len(slices) == 1:
        step = first.normal
    else:
        step = gaps.mean(0)
        length = np.linalg.norm(step)
        if np.linalg.norm(np.cross(step, first.normal)) > SHEAR * length:
            raise DataError("The slices are sheared (a tilted gantry): expected each straight above the last.")
        if np.abs(gaps - step).max() > 0.05 * length:
            steps = gaps @ first.normal
            raise DataError(
                f"The slices lie {steps.min():.2f} to {steps.max():.2f} mm apart: expected equal distances; "
                "some are missing, get the series again."
            )
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * first.spacing_mm[1]
    affine[:3, 1] = np.array(first.orientation[3:]) * first.spacing_mm[0]
    affine[:3, 2], affine[:3, 3] = step, first.position_mm
    return np.diag([-1.0, -1, 1, 1]) @ affine  # LPS to RAS


def _display(array: NDArray, affine: NDArray[np.float64]) -> Volume:
    """Turn an array [slice, row, column] to the orientation of a `Volume`."""
    from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

    turn = ornt_transform(io_orientation(affine), axcodes2ornt("LPS"))
    turned = apply_orientation(array.transpose(2, 1, 0), turn).transpose(2, 1, 0)
    return Volume(np.ascontiguousarray(turned), affine @ inv_ornt_aff(turn, array.shape[::-1]))


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
        raise DataError(f"{path.name} cannot be read ({error.strerror}): check its permissions and the disk.") from error
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
