"""Crops in HDF5 files as PHiSeg and CCDM make them: groups train, val and test, each with

    images   [N, H, W]
    labels   [N, H, W, R], or [N, R, H, W]
    uids     [N], optional: series UIDs, or Python 2's hashes of them
    readers  [R] or [N, R] texts, optional: who drew each mask

The groups are the data's own split. Needs h5py, which comes with `pip install 'ambiseg[hdf5]'`.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, InputError, UsageError
from ...lidc.lidc_store import ATTRIBUTION
from ...store.splits import SPLITS
from ...store.store_crop import Crop
from .crop_values import image_values, mask_values
from .lidc_identity import lidc_identities
from .pack import Pack, PackSettings, check_values, name_within
from .seats import check_all_named, seated, seats_for

if TYPE_CHECKING:
    import h5py

BEGINNING = b"\x89HDF\r\n\x1a\n"
NAMES = ("images", "labels", "uids")
BLOCK = 2**26  # bytes that are read at once
LARGEST = 2**30  # bytes of a crop, or of what HDF5 unpacks at once
LONGEST = 256  # characters of a series UID
PACKING = 1000  # times that stored numbers may unpack to


@dataclass(frozen=True)
class _Group:
    """A group of a file: its split, its crops' series, whether readers come before height and width, and who drew the masks
    of each crop; [] where nobody is named.
    """

    path: Path
    split: str
    series: Sequence[str]
    readers_first: bool
    readers: Sequence[Sequence[str]]


def hdf5_pack(paths: Sequence[Path], settings: PackSettings, name: str) -> Pack:
    """The crops of all files, by groups train, val and test."""
    groups = [group for path in paths for group in _groups(path)]
    if settings.readers == "anonymous":
        groups = [replace(group, readers=()) for group in groups]
    series = [uid for group in groups for uid in group.series]
    names = [
        f"{name_within(group.path)}-{group.split}-{row:05d}" for group in groups for row in range(len(group.series))
    ]
    check_all_named([bool(group.readers) for group in groups], "groups")
    who = (
        (f"{group.path}: {group.split}, row {row}", one) for group in groups for row, one in enumerate(group.readers)
    )
    seats = seats_for(who)
    identities = lidc_identities(series, [""] * len(names) if all(series) else names, paths[0].name)

    def crops() -> Iterator[Crop]:
        patients = iter(zip(identities.patients, names, strict=True))
        for group in groups:
            for row, crop in enumerate(_crops(group, patients, settings)):
                yield seated(crop, group.readers[row], seats) if seats else crop

    return Pack(
        name=name,
        source="packed crops (HDF5)",
        patients=identities.patients,
        crops=crops,
        notes=identities.notes,
        attribution=ATTRIBUTION if identities.is_lidc else "",
        readers=seats,
        splits=[group.split for group in groups for _ in group.series],
    )


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does."""
    with path.open("rb") as file:
        return file.read(len(BEGINNING)) == BEGINNING


@contextmanager
def _opened(path: Path) -> Iterator["h5py.File"]:
    try:
        import h5py
    except ImportError as error:
        raise UsageError(f"{path} is HDF5, which needs h5py: run `pip install 'ambiseg[hdf5]'`.") from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path} is no whole HDF5 file (cut short or damaged): get it again.") from error


def _groups(path: Path) -> list[_Group]:
    with _opened(path) as file:
        found = [split for split in SPLITS if _holds(file, split, path)]
        if not found:
            held = ", ".join(list(file)[:8])[:200] or "nothing"
            raise InputError(
                f"{path} is sound HDF5 of another kind, with {held}: expected groups train, val and test with images, labels "
                "and uids."
            )
        return [_group(file, split, path) for split in found]


def _holds(file: "h5py.File", split: str, path: Path) -> bool:
    """Whether a group with what it needs is there."""
    if split not in file:
        return False
    group = _inside(file, split, path)
    lacking = [name for name in NAMES[:2] if not hasattr(group, "keys") or name not in group]
    if lacking:
        raise InputError(
            f"{path} has no {' and no '.join(lacking)} in its group {split}: expected images [N, H, W] and labels "
            "[N, H, W, R]."
        )
    return True


def _inside(parent: Any, name: str, path: Path) -> Any:
    """A part of the file that lies in this file, not in another."""
    import h5py

    found = None if isinstance(parent.get(name, getlink=True), h5py.ExternalLink) else parent[name]
    if found is None or found.file.filename != parent.file.filename:  # by a link to a link, too
        raise DataError(f"{path}: {name} leads to another file, which is not read; get the whole file.")
    return found


def _dataset(file: "h5py.File", split: str, name: str, path: Path) -> Any:
    """A dataset of plain numbers that its file can hold."""
    found = _inside(_inside(file, split, path), name, path)
    where = f"{path}: {split}/{name}"
    if not hasattr(found, "shape") or found.shape is None:
        raise DataError(f"{where} is no array; expected numbers.")
    if found.is_virtual or found.external:
        raise DataError(f"{where} leads to another file, which is not read; get the whole file.")
    if name not in ("uids", "readers") and found.dtype.kind not in "biuf":
        raise DataError(f"{where} holds {found.dtype} values; expected numbers.")
    whole, stored = math.prod(found.shape) * found.dtype.itemsize, path.stat().st_size
    at_once = math.prod(found.chunks or found.shape[1:]) * found.dtype.itemsize
    if whole > PACKING * stored or at_once > LARGEST:
        raise DataError(
            f"{where} claims {whole / 1e9:,.1f} GB, which {stored:,} bytes cannot hold: the file is damaged."
        )
    return found


def _group(file: "h5py.File", split: str, path: Path) -> _Group:
    images, labels = (_dataset(file, split, name, path).shape for name in NAMES[:2])
    size = images[1:]
    last = len(labels) == 4 and (labels[0], *labels[1:3]) == images[:3]
    first = len(labels) == 4 and (labels[0], *labels[2:]) == images[:3]
    if len(size) != 2 or not (last or first):
        raise DataError(
            f"{path}: {split}/images {list(images)} and {split}/labels {list(labels)} do not fit; expected [N, H, W] and "
            "[N, H, W, R]."
        )
    masks = (labels[0], labels[3] if last else labels[1])
    return _Group(
        path,
        split,
        _series(file, split, path, images[0]),
        readers_first=not last,
        readers=_readers(file, split, path, masks),
    )


def _readers(file: "h5py.File", split: str, path: Path, masks: tuple[int, int]) -> list[list[str]]:
    """Who drew each of [N, R] masks; [] where nobody is named."""
    if "readers" not in file[split]:
        return []
    found = _dataset(file, split, "readers", path)
    if found.shape not in (masks, masks[1:]):
        raise DataError(
            f"{path}: {split}/readers {list(found.shape)} does not fit; expected [R] or [N, R], one for each mask of "
            f"{list(masks)}."
        )
    names = [[_text(name).strip() for name in row] for row in np.atleast_2d(found[()])]
    return names * masks[0] if len(found.shape) == 1 else names


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _series(file: "h5py.File", split: str, path: Path, count: int) -> list[str]:
    if "uids" not in file[split]:
        return [""] * count
    found = _dataset(file, split, "uids", path)
    if found.shape != (count,):
        raise DataError(f"{path}: {split}/uids {list(found.shape)} does not fit; expected [{count}].")
    texts = []
    for uid in (found[row] for row in range(count)) if found.dtype.kind == "O" else found[()].tolist():
        texts.append(uid.decode("latin-1") if isinstance(uid, bytes) else str(uid))
        if len(texts[-1]) > LONGEST:
            raise DataError(f"{path}: {split}/uids holds a text of over {LONGEST} characters; expected series UIDs.")
    return texts


def _crops(group: _Group, who: Iterator[tuple[str, str]], settings: PackSettings) -> Iterator[Crop]:
    where = f"{group.path}: {group.split}"
    with _opened(group.path) as file:
        images, labels = (_dataset(file, group.split, name, group.path) for name in NAMES[:2])
        step = _rows_at_once(images, labels)
        for start in range(0, len(group.series), step):
            several = zip(images[start : start + step], labels[start : start + step], strict=True)
            for row, (image, planes) in enumerate(several, start):
                patient, case = next(who)
                yield _crop(group, image, planes, f"{where}, row {row}", patient, case, group.series[row], settings)


def _rows_at_once(*arrays: Any) -> int:
    each = max(math.prod(array.shape[1:]) * array.dtype.itemsize for array in arrays)
    return max(1, BLOCK // max(each, 1))


def _crop(
    group: _Group,
    image: NDArray[Any],
    planes: NDArray[Any],
    where: str,
    patient: str,
    case: str,
    series: str,
    settings: PackSettings,
) -> Crop:
    check_values(image, where, settings)
    readers = planes if group.readers_first else planes.transpose(2, 0, 1)
    masks, present = mask_values(readers, len(settings.class_names), f"A mask of {where}")
    return Crop(
        image=image_values(image, settings.intensity)[None],
        masks=masks,
        patient=patient,
        case=case,
        present=present,
        provenance={"series_uid": series} if "." in series else {},
    )
