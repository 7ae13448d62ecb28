"""Writing a dataset store: crops are added one by one, and the store appears when all are in."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..documents import json_text
from ..errors import DataError, InputError
from ..files import sha256, whole_folder
from ..tables import table_text
from .manifest import SCHEMA
from .shards import shard_name
from .store import BANK, IGNORE, Store
from .store_card import dataset_card
from .store_crop import Crop, StoreInfo, check_crop, check_info, in_255ths
from .store_index import COLUMNS

SHARD_ROWS, SHARD_BYTES = 1024, 2**28  # a shard is written when either is reached


class StoreWriter:
    """Collects crops into the shards of a store that is being written; made by `write_store`."""

    def __init__(self, folder: Path, info: StoreInfo, splits: Mapping[str, str]):
        check_info(info)
        self.folder, self.info, self.splits = folder, info, splits
        self.rows: list[dict[str, Any]] = []
        self.shards: list[dict[str, Any]] = []
        self.shapes: dict[str, list[int]] = {}  # of every crop's image and masks
        self.parts: dict[str, bool] = {}  # which of the optional parts every crop has
        self._pending: list[Crop] = []

    def add(self, crop: Crop) -> None:
        """Append one crop as the next row."""
        self._check(crop)
        self._pending.append(crop)
        self.rows.append(self._row(crop))
        each = crop.image.nbytes + crop.masks.nbytes
        if len(self._pending) == SHARD_ROWS or len(self._pending) * each >= SHARD_BYTES:
            self._flush()

    def _check(self, crop: Crop) -> None:
        came = {"image": list(crop.image.shape), "masks": list(crop.masks.shape)}
        parts = {"odds": crop.odds is not None, "probabilities": crop.probabilities is not None}
        self.shapes, self.parts = self.shapes or came, self.parts or parts
        if came != self.shapes:
            raise DataError(
                f"Case {crop.case}: crops of one store have one shape; expected {self.shapes}, came {came}."
            )
        for part, given in parts.items():
            if given != self.parts[part]:
                raise DataError(
                    f"Case {crop.case} comes {'with' if given else 'without'} {part}, the crops before it "
                    f"{'without' if given else 'with'}: give {part} for all crops or for none."
                )
        check_crop(crop, self.info)
        if self.info.group is not None and self.info.group not in crop.provenance and self.info.group not in COLUMNS:
            raise DataError(
                f"Case {crop.case} has no value for {self.info.group!r}, by which modes are grouped: give one."
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
            "marked": int(((crop.masks != 0) & (crop.masks != IGNORE)).any((1, 2)).sum()),
            **({} if crop.odds is None else {"odds": " ".join(repr(float(value)) for value in crop.odds)}),
            **crop.provenance,
        }

    def _flush(self) -> None:
        number = len(self.shards)
        arrays = {
            "images": np.stack([crop.image for crop in self._pending]),
            "masks": np.stack([crop.masks for crop in self._pending]).astype(np.uint8),
        }
        if self.parts["probabilities"]:
            stored = (crop.probabilities for crop in self._pending)
            arrays["probabilities"] = np.stack([in_255ths(planes) for planes in stored if planes is not None])
        shard: dict[str, Any] = {"rows": len(self._pending)}
        for kind, array in arrays.items():
            path = self.folder / shard_name(kind, number)
            np.save(path, array, allow_pickle=False)
            shard[f"{kind}_sha256"] = sha256(path)
        self.shards.append(shard)
        self._pending = []

    def put_bank(self, **arrays: NDArray) -> None:
        """Write the named arrays as the store's `bank.npz`, from which `StoreInfo.deal` makes training images."""
        np.savez(self.folder / BANK, **arrays)  # type: ignore[arg-type]  # its stubs mistake the arrays for allow_pickle

    def _bank_hash(self) -> str | None:
        bank = self.folder / BANK
        if bank.is_file() != (self.info.deal is not None):
            raise DataError(
                f"{self.info.source}: a store that deals its training images needs a bank, and only such one."
            )
        return sha256(bank) if bank.is_file() else None

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
            "known_odds": self.parts["odds"] or bool(self.info.flips),
            "scored": None if self.info.scored is None else list(self.info.scored),
            "group": self.info.group,
            "flips": [vars(flip) for flip in self.info.flips],
            "deal": self.info.deal,
            "bank_sha256": self._bank_hash(),
            "index_sha256": sha256(self.folder / "index.csv"),
            "shards": self.shards,
        }
        (self.folder / "manifest.json").write_text(json_text(manifest), encoding="utf-8")
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
    return table_text(rows, list(COLUMNS) + sorted({name for row in rows for name in row} - set(COLUMNS)))
