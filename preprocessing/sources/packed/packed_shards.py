"""Shards of the repackaged LIDC-IDRI crops: npz files whose images and masks are compressed with bz2.

    images                  bz2 of uint8 [N, S, S], each the differences along rows, then columns, modulo 256
    masks                   bz2 of bits [N, R, S * S]
    patient, nodule, slice  [N] numbers

`slices.csv` or `slices.csv.gz` beside them has one row per crop, with its entries in LIDC's database.
"""

import bz2
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from math import isqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...archive import BROKEN_ARRAY
from ...counted import counted
from ...errors import DataError, UsageError
from ...lidc.lidc_store import ATTRIBUTION
from ...store.store_crop import Crop
from ...tables import Row, Table, read_table
from .pack import Pack, PackSettings, broken_npz, load_npz

NAME = "lidc-128-repack"
READERS = 4
KEYS = ("patient", "nodule", "slice")
NUMBERS = ("pixel_spacing_mm", "z_position_mm")  # of the table, and the texts that are kept, by our names
TEXTS = {
    "series_uid": "series_instance_uid",
    "slice_thickness_mm": "slice_thickness_mm",
    "crop_row0": "crop_row0",
    "crop_col0": "crop_col0",
}

Key = tuple[str, int, int]


@dataclass(frozen=True)
class _Facts:
    """The facts of a crop in the table: its place, its scan's pixel size, and further columns of the index."""

    z_mm: float | None = None
    spacing_mm: tuple[float, float] | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)


Facts = Mapping[Key, _Facts]


def shard_pack(paths: Sequence[Path], settings: PackSettings, name: str = NAME) -> Pack:
    """The crops of all shards, in their order; they are named `NAME` whatever the files are called."""
    if settings.intensity == "hu":
        raise UsageError(
            "These crops are scaled to 0..255 one by one, so that no HU are left: leave out the `intensity` hu."
        )
    if len(settings.class_names) != 2:
        raise UsageError("These crops have the classes background and lesion: give two names with `class_names`.")
    keys = {path: _keys(path) for path in paths}
    facts = {folder: _facts(folder) for folder in {path.parent for path in paths}}
    missing = sum(key not in facts[path.parent] for path in paths for key in keys[path])
    count = sum(map(len, keys.values()))

    def crops() -> Iterator[Crop]:
        for path in paths:
            yield from _crops(path, keys[path], facts[path.parent])

    return Pack(
        name=NAME,
        source="LIDC-IDRI, lesion-centred crops with four readers' masks, repackaged",
        patients=[patient for path in paths for patient, _, _ in keys[path]],
        crops=crops,
        notes=[
            f"No table slices.csv(.gz) says where {missing} of {counted(count, 'crop')} come from: no spacing, z or ratings."
        ]
        * bool(missing),
        attribution=f"{ATTRIBUTION} These crops are a repackaging of it: each is min-max scaled to 0..255 by itself, at the "
        "scan's own pixel spacing; the order of the masks does not identify readers, those missing are empty.",
        same_readers=True,  # within a nodule; across nodules the order says nothing
    )


def _keys(path: Path) -> list[Key]:
    """Patient, nodule and slice of each crop of a shard."""
    with load_npz(path) as shard:
        try:
            columns = [shard[key].tolist() for key in KEYS]
        except BROKEN_ARRAY as error:
            raise broken_npz(path) from error
    if len({len(column) for column in columns}) > 1:
        raise DataError(f"{path}: patient, nodule and slice have different lengths; get it again.")
    return [(f"LIDC-IDRI-{patient:04d}", nodule, number) for patient, nodule, number in zip(*columns, strict=True)]


def _facts(folder: Path) -> Facts:
    """The facts of each crop in the CSV beside the shards (see `_place`), by patient, nodule and slice; none without a CSV."""
    found = {path.name.lower(): path for path in folder.iterdir() if path.is_file()}
    path = next((found[name] for name in ("slices.csv.gz", "slices.csv") if name in found), None)
    if path is None:
        return {}
    table = read_table(path, "the table of these shards, one row per crop")
    table.need("patient_id", "nodule", "slice", *NUMBERS, *TEXTS.values())
    return {
        (row["patient_id"], table.whole_number(row, "nodule"), table.whole_number(row, "slice")): _place(table, row)
        for row in table.rows
        if row["series_instance_uid"]
    }


def _crops(path: Path, keys: Sequence[Key], facts: Facts) -> Iterator[Crop]:
    images, masks = _arrays(path, len(keys))
    shape = (READERS, *images.shape[1:])
    for (patient, nodule, number), image, bits in zip(keys, images, masks, strict=True):
        about = facts.get((patient, nodule, number), _Facts())
        yield Crop(
            image=image[None],
            masks=np.unpackbits(bits).reshape(shape),
            patient=patient,
            case=patient,
            lesion=str(nodule),
            slice=number,
            z_mm=about.z_mm,
            spacing_mm=about.spacing_mm,
            provenance=about.provenance,
        )


def _arrays(path: Path, count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images [N, S, S] and packed masks [N, R * S * S / 8] of a shard."""
    with load_npz(path) as shard:
        try:
            differences, masks = (
                np.frombuffer(bz2.decompress(shard[key].tobytes()), np.uint8) for key in ("images", "masks")
            )
        except BROKEN_ARRAY as error:
            raise broken_npz(path) from error
    side = isqrt(len(differences) // count)
    if len(differences) != count * side**2 or len(masks) * 8 != count * READERS * side**2:
        raise DataError(f"{path}: images and masks do not fit {count} crops with {READERS} masks; get it again.")
    images = np.cumsum(np.cumsum(differences.reshape(count, side, side), 1, np.uint8), 2, np.uint8)
    return images, masks.reshape(count, -1)


def _place(table: Table, row: Row) -> _Facts:
    """The facts of a crop in the table, under the names that `preprocess lidc` uses too."""
    spacing = table.number(row, "pixel_spacing_mm")
    texts = {ours: row[theirs] for ours, theirs in TEXTS.items()}
    marks = {"marks": _by_mask(row, "pylidc_ann"), "malignancy": _by_mask(row, "malignancy")}
    return _Facts(table.number(row, "z_position_mm"), (spacing, spacing), {**texts, **marks})


def _by_mask(row: Row, name: str) -> str:
    """The values of the existing masks, separated by `;`."""
    return ";".join(takewhile(bool, (row.get(f"{name}_{number}", "") for number in range(READERS))))
