"""Writing a dataset store: crops are added one by one, and the store appears when all are in."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, InputError
from ..files import sha256, whole_folder
from ..tables import table_text
from .manifest import FILE, INDEX, POOL, SCHEMA, Kind, Manifest, ShardEntry, shard_name
from .store import IGNORE, Store
from .store_card import dataset_card
from .store_crop import Crop, StoreInfo, check_crop, check_info, in_255ths
from .store_index import COLUMNS, PROBABILITIES

SHARD_ROWS, SHARD_BYTES = 1024, 2**28  # a shard is written when either is reached


class StoreWriter:
    """Collects crops into the shards of a store that is being written. `write_store` makes it.

    Attributes:
        info: The description of the store; it may be replaced until the store is closed.
        rows: The rows of the index so far.
    """

    def __init__(self, folder: Path, info: StoreInfo, splits: Mapping[str, str]):
        check_info(info)
        self.info = info
        self.rows: list[dict[str, object]] = []
        self._folder, self._splits = folder, splits
        self._shards: list[ShardEntry] = []
        self._pending: list[Crop] = []
        self._first: Crop | None = None

    def add(self, crop: Crop) -> None:
        """Append one crop as the next row.

        Args:
            crop: All crops of a store have one shape, and all or none have probabilities.

        Raises:
            DataError: The crop does not fit the crops before it, the classes or the splits.
        """
        self._first = self._first or crop
        self._check(crop, self._first)
        self._pending.append(crop)
        self.rows.append(self._row(crop))
        each = crop.image.nbytes + crop.masks.nbytes
        if len(self._pending) == SHARD_ROWS or len(self._pending) * each >= SHARD_BYTES:
            self._flush()

    def _check(self, crop: Crop, first: Crop) -> None:
        got, expected = _shapes(crop), _shapes(first)
        if got != expected:
            raise DataError(f"Case {crop.case}: crops of one store have one shape; expected {expected}, got {got}.")
        for part in ("mask_probabilities", "class_probabilities"):
            given = getattr(crop, part) is not None
            if given != (getattr(first, part) is not None):
                raise DataError(
                    f"Case {crop.case} has {'' if given else 'no '}`{part}`, the crops before it have "
                    f"{'none' if given else 'them'}: give them for all crops or for none."
                )
        check_crop(crop, self.info)
        if self.info.group is not None and self.info.group not in crop.provenance and self.info.group not in COLUMNS:
            raise DataError(
                f"Case {crop.case} has no value for {self.info.group!r}, by which modes are grouped: give one."
            )
        if crop.split is None and crop.patient not in self._splits:
            raise DataError(f"Patient of case {crop.case} has no split; add it to the split file.")

    def _row(self, crop: Crop) -> dict[str, object]:
        spacing = crop.spacing_mm or ("", "")
        known = crop.mask_probabilities
        return {
            "row": len(self.rows),
            "split": crop.split or self._splits[crop.patient],
            "patient": crop.patient,
            "case": crop.case,
            "lesion": crop.lesion,
            "slice": crop.slice,
            "z_mm": "" if crop.z_mm is None else crop.z_mm,
            "spacing_y_mm": spacing[0],
            "spacing_x_mm": spacing[1],
            "readers": "".join("1" if here else "0" for here in crop.readers),
            "marked": int(((crop.masks != 0) & (crop.masks != IGNORE)).any((1, 2)).sum()),
            **({} if known is None else {PROBABILITIES: " ".join(repr(float(value)) for value in known)}),
            **crop.provenance,
        }

    def _flush(self) -> None:
        number = len(self._shards)
        arrays: dict[Kind, NDArray[Any]] = {
            "images": np.stack([crop.image for crop in self._pending]),
            "masks": np.stack([crop.masks for crop in self._pending]).astype(np.uint8),
        }
        stored = [each.class_probabilities for each in self._pending if each.class_probabilities is not None]
        if stored:
            arrays["probabilities"] = np.stack([in_255ths(planes) for planes in stored])
        hashes = {}
        for kind, array in arrays.items():
            path = self._folder / shard_name(kind, number)
            np.save(path, array, allow_pickle=False)
            hashes[f"{kind}_sha256"] = sha256(path)
        self._shards.append(ShardEntry(rows=len(self._pending), **hashes))
        self._pending = []

    def put_pool(self, **arrays: NDArray[Any]) -> None:
        """Write the named arrays as the store's pool, from which `StoreInfo.game` draws training images."""
        np.savez(self._folder / POOL, **arrays)  # type: ignore[arg-type]  # its stubs mistake the arrays for allow_pickle

    def _pool_hash(self) -> str | None:
        pool = self._folder / POOL
        if pool.is_file() != (self.info.game is not None):
            raise DataError(
                f"{self.info.source}: a store whose training images a game draws needs a pool, and only such a store."
            )
        return sha256(pool) if pool.is_file() else None

    def close(self) -> None:
        """Write the pending crops, the index, the manifest and the dataset card.

        Raises:
            InputError: No crop was added.
            DataError: The store has a game and no pool, or the reverse.
        """
        if self._pending:
            self._flush()
        if self._first is None:
            raise InputError(f"{self.info.source}: no crop to write, so no dataset was made.")
        (self._folder / INDEX).write_text(_csv_text(self.rows), encoding="utf-8", newline="")
        (self._folder / FILE).write_text(self._manifest(self._first).text(), encoding="utf-8")
        (self._folder / "README.md").write_text(dataset_card(Store.open(self._folder)), encoding="utf-8")

    def _manifest(self, first: Crop) -> Manifest:
        channels, height, width = first.image.shape
        info = self.info
        return Manifest(
            schema=SCHEMA,
            name=info.name,
            source=info.source,
            rows=len(self.rows),
            image_shape=(channels, height, width),
            masks_shape=(len(first.masks), height, width),
            class_names=info.class_names,
            intensity=info.intensity,
            spacing_mm=info.spacing_mm,
            settings=dict(info.settings),
            counts=dict(info.counts),
            attribution=info.attribution,
            known_odds=first.mask_probabilities is not None or bool(info.flips),
            scored=info.scored,
            group=info.group,
            flips=info.flips,
            same_readers=info.same_readers,
            reader_names=info.reader_names,
            channels=info.channels,
            fit=info.fit,
            deal=info.game,
            bank_sha256=self._pool_hash(),
            index_sha256=sha256(self._folder / INDEX),
            shards=tuple(self._shards),
        )


@contextmanager
def write_store(path: Path, info: StoreInfo, splits: Mapping[str, str]) -> Iterator[StoreWriter]:
    """Yield a writer; when the block ends well, the store stands at `path`, in place of any earlier one.

    Args:
        path: The store's folder. When the block raises, an earlier store there stays as it was.
        info: What the store is.
        splits: Each patient's split: "train", "val" or "test" (see `splits.assign_splits`).

    Raises:
        InputError: Something other than a store stands at `path`, or no crop was added.
        DataError: A crop does not fit the others, the classes or the splits.
        ResourceError: The disk has no room.

    Example:
        >>> import tempfile
        >>> from ambiseg.preprocessing.store.intensity import BYTES
        >>> image, masks = np.zeros((1, 8, 8), np.uint8), np.zeros((2, 8, 8), np.uint8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with write_store(Path(folder, "mine"), StoreInfo("mine", "an example", BYTES), {"p": "train"}) as writer:
        ...         writer.add(Crop(image, masks, patient="p", case="c"))
        ...     len(Store.open(Path(folder, "mine")))
        1
    """
    check_place(path)
    with whole_folder(path) as folder:
        writer = StoreWriter(folder, info, splits)
        yield writer
        writer.close()


def check_place(path: Path) -> None:
    """Raise an `InputError` when something other than a store stands at `path`; worth asking before long work."""
    if path.exists() and not (path / FILE).is_file():
        raise InputError(f"{path} exists and is no dataset store: choose another `output`, or remove it.")


def _shapes(crop: Crop) -> dict[str, list[int]]:
    return {"image": list(crop.image.shape), "masks": list(crop.masks.shape)}


def _csv_text(rows: Sequence[Mapping[str, object]]) -> str:
    return table_text(rows, list(COLUMNS) + sorted({name for row in rows for name in row} - set(COLUMNS)))
