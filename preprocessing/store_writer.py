"""Writing a dataset store: crops are added one by one, and the store appears when all are in."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .card import dataset_card
from .errors import DataError, InputError
from .files import sha256, whole_folder
from .store import SCHEMA, Intensity, Store

SHARD_ROWS = 1024
COLUMNS = (
    "row",
    "split",
    "patient",
    "case",
    "lesion",
    "slice",
    "z_mm",
    "spacing_y_mm",
    "spacing_x_mm",
    "readers",
    "marked",
)


@dataclass(frozen=True)
class Crop:
    """One image with the masks of its readers, on its way into a store.

    image [C, H, W]; masks [R, H, W] class labels; present [R]: which readers read this image (an empty mask of a
    present reader says "no lesion"; an absent reader's mask says nothing). `spacing_mm` (y, x) is None where unknown.
    """

    image: NDArray
    masks: NDArray[np.uint8]
    patient: str
    case: str
    present: NDArray[np.bool_] | None = None
    lesion: str = ""
    slice: int = 0
    z_mm: float | None = None
    spacing_mm: tuple[float, float] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StoreInfo:
    """What a store is, apart from its rows.

    `spacing_mm` is the one pixel size of all crops, None where crops keep their scanner's (see the index).
    `class_names` include the background. `settings` repeat the command; `counts` are the source's (scans read, ...).
    """

    name: str
    source: str
    intensity: Intensity
    class_names: tuple[str, ...] = ("background", "lesion")
    spacing_mm: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)
    attribution: str = ""


class StoreWriter:
    """Collects crops into the shards of a store that is being written; made by `write_store`."""

    def __init__(self, folder: Path, info: StoreInfo, splits: Mapping[str, str]):
        self.folder, self.info, self.splits = folder, info, splits
        self.rows: list[dict[str, Any]] = []
        self.shards: list[dict[str, Any]] = []
        self.shapes: dict[str, list[int]] = {}  # of every crop's image and masks
        self._pending: list[Crop] = []

    def add(self, crop: Crop) -> None:
        """Append one crop as the next row."""
        self._check(crop)
        self._pending.append(crop)
        self.rows.append(self._row(crop))
        if len(self._pending) == SHARD_ROWS:
            self._flush()

    def _check(self, crop: Crop) -> None:
        came = {"image": list(crop.image.shape), "masks": list(crop.masks.shape)}
        self.shapes = self.shapes or came
        if came != self.shapes:
            raise DataError(
                f"Case {crop.case}: crops of one store have one shape; expected {self.shapes}, came {came}."
            )
        if crop.masks.max(initial=0) >= len(self.info.class_names):
            raise DataError(
                f"Case {crop.case}: mask label {crop.masks.max()} is outside the {len(self.info.class_names)} classes "
                f"0..{len(self.info.class_names) - 1}; name more classes or correct the mask."
            )
        if crop.patient not in self.splits:
            raise DataError(f"Patient of case {crop.case} has no split; add it to the split file.")

    def _row(self, crop: Crop) -> dict[str, Any]:
        present = np.ones(len(crop.masks), bool) if crop.present is None else crop.present
        spacing = crop.spacing_mm or ("", "")
        return {
            "row": len(self.rows),
            "split": self.splits[crop.patient],
            "patient": crop.patient,
            "case": crop.case,
            "lesion": crop.lesion,
            "slice": crop.slice,
            "z_mm": "" if crop.z_mm is None else crop.z_mm,
            "spacing_y_mm": spacing[0],
            "spacing_x_mm": spacing[1],
            "readers": "".join("1" if here else "0" for here in present),
            "marked": int(crop.masks.any((1, 2)).sum()),
            **crop.provenance,
        }

    def _flush(self) -> None:
        number = len(self.shards)
        arrays = {
            "images": np.stack([crop.image for crop in self._pending]),
            "masks": np.stack([crop.masks for crop in self._pending]).astype(np.uint8),
        }
        shard: dict[str, Any] = {"rows": len(self._pending)}
        for kind, array in arrays.items():
            path = self.folder / f"{kind}_{number:03d}.npy"
            np.save(path, array, allow_pickle=False)
            shard[f"{kind}_sha256"] = sha256(path)
        self.shards.append(shard)
        self._pending = []

    def close(self) -> None:
        """Write what is pending, the index, the manifest and the dataset card."""
        if self._pending:
            self._flush()
        if not self.rows:
            raise InputError(f"{self.info.source}: no crop to write, so no dataset was made.")
        (self.folder / "index.csv").write_text(_csv_text(self.rows), encoding="utf-8", newline="")
        manifest = {
            "schema": SCHEMA,
            "name": self.info.name,
            "source": self.info.source,
            "rows": len(self.rows),
            "image_shape": self.shapes["image"],
            "masks_shape": self.shapes["masks"],
            "class_names": list(self.info.class_names),
            "intensity": vars(self.info.intensity),
            "spacing_mm": self.info.spacing_mm,
            "settings": dict(self.info.settings),
            "counts": dict(self.info.counts),
            "attribution": self.info.attribution,
            "index_sha256": sha256(self.folder / "index.csv"),
            "shards": self.shards,
        }
        (self.folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        (self.folder / "README.md").write_text(dataset_card(Store.open(self.folder)), encoding="utf-8")


@contextmanager
def write_store(path: Path, info: StoreInfo, splits: Mapping[str, str]) -> Iterator[StoreWriter]:
    """Yield a writer; when the block ends well, the store stands at `path`, in place of any earlier one."""
    check_place(path)
    with whole_folder(path) as folder:
        writer = StoreWriter(folder, info, splits)
        yield writer
        writer.close()


def check_place(path: Path) -> None:
    """Raise an `InputError` when something else than a store stands at `path`; worth asking before long work."""
    if path.exists() and not (path / "manifest.json").is_file():
        raise InputError(f"{path} exists and is no dataset store: choose another place with -o, or remove it.")


def _csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(COLUMNS) + sorted({name for row in rows for name in row} - set(COLUMNS))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
