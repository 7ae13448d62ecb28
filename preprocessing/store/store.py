"""The dataset store: a folder of image crops with the label maps of their readers, and where each crop came from.

    manifest.json     schema, source, intensity unit, classes, readers, size, spacing, shards' SHA-256, settings
    index.csv         one row per crop: `store_index.COLUMNS`, then what else the source knows of it (series, ratings, ...)
    images_000.npy    [rows, C, H, W]  int16 (HU), uint8 or float32
    masks_000.npy     [rows, R, H, W]  uint8 class labels, 0 background, 255 (`IGNORE`) where a pixel counts for nothing
    probabilities_000.npy  [rows, K, H, W]  uint8, in 255ths: another segmenter's class probabilities; in few stores
    bank.npz          the pool from which training images are drawn anew; in few stores
    README.md         the dataset card

The masks of a row are those of readers. Where the truth is known, they are all masks that can be drawn, with their
probabilities: in the index's column `odds`, or made from one label map by the manifest's `flips` (see `truth`).

The store is written aside and renamed: it is whole or absent. The same rows in the same order give the same bytes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..documents import shown
from ..errors import DataError, InputError
from ..files import sha256
from .intact import is_intact
from .intensity import Intensity
from .manifest import INDEX, POOL, Manifest, read_manifest
from .shards import Shards
from .splits import SPLITS
from .store_index import IndexRow, read_index
from .truth import FlippedTruth, KnownTruth, ReaderTruth, Truth

IGNORE = 255  # the label of pixels that count for nothing, in any loss or metric


@dataclass(frozen=True)
class Store:
    """An open dataset store: its manifest, its index, and its arrays, which are read from memory-mapped shards.

    What is read is checked against the hashes in the manifest: the index when it is first used, a shard when a crop of it
    is.

    Attributes:
        path: The store's folder.
        manifest: The content of manifest.json.
        seat: The only reader who counts as present, by the place of the masks; None: all who read a crop (see `read_by`).

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = write_known_truth(Path(folder, "made"), crops=10, size=16)
        ...     rows = store.rows("train")
        ...     store.images(rows[:2]).shape, store.masks(rows[:2]).shape
        ((2, 1, 16, 16), (2, 4, 16, 16))
    """

    path: Path
    manifest: Manifest
    seat: int | None = field(default=None, kw_only=True)

    def __getstate__(self) -> dict[str, object]:
        """What another process needs: where it is, not what was read of it."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def open(cls, path: Path | str) -> "Store":
        """Open a store; no crop is read yet.

        Args:
            path: The store's folder, as `ambiseg preprocess` or `write_store` makes it.

        Raises:
            InputError: There is no store at `path`.
            DataError: Its manifest is damaged, or of another version.
        """
        path = Path(path)
        return cls(path, read_manifest(path))

    def __len__(self) -> int:
        return self.manifest.rows

    @property
    def content_hash(self) -> str:
        """SHA-256 of all that the store holds: two stores with one hash hold the same crops."""
        return self.manifest.content_hash

    @property
    def channels(self) -> int:
        """Image channels C."""
        return self.manifest.image_shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every crop, in pixels."""
        _, height, width = self.manifest.image_shape
        return height, width

    @property
    def readers(self) -> int:
        """Masks R of every crop: one per reader, absent readers included, or all that can be drawn."""
        return self.manifest.masks_per_row

    @property
    def reader_names(self) -> tuple[str, ...]:
        """Who drew mask r of every crop [R], "" for a reader without a name; empty where the data do not say who drew."""
        return self.manifest.reader_names

    def read_by(self, name: str) -> Self:
        """The store as one reader read it: the others count as absent.

        Args:
            name: The reader's name.

        Raises:
            InputError: The store names no such reader.
        """
        known = [reader for reader in self.reader_names if reader]
        if name not in known:
            whom = f"expected one of {', '.join(known)}" if known else "it does not say who drew"
            raise InputError(f"{self.path} names no reader {shown(repr(name))}: {whom}.")
        return replace(self, seat=self.reader_names.index(name))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the K classes, background first."""
        return self.manifest.class_names

    @property
    def intensity(self) -> Intensity:
        """What the images' numbers are."""
        return self.manifest.intensity

    @property
    def spacing_mm(self) -> float | None:
        """The one pixel size of all crops in mm; None where crops keep that of their scans."""
        return self.manifest.spacing_mm

    @cached_property
    def index(self) -> list[IndexRow]:
        """The rows of the index, in order. Raises DataError where the file is damaged."""
        return read_index(self.path / INDEX, self.manifest)

    def column(self, name: str) -> NDArray[Any]:
        """One column of the index as an array of text, [rows]."""
        return np.array([row[name] for row in self.index])

    def rows(self, split: str) -> NDArray[np.intp]:
        """The rows of a split, ascending.

        Args:
            split: "train", "val", "test" or "all".

        Raises:
            InputError: There is no such split.
            DataError: The index is damaged.
        """
        if split == "all":
            return np.arange(len(self))
        if split not in SPLITS:
            raise InputError(f"No split {split!r}: expected train, val, test or all.")
        return np.flatnonzero(self.column("split") == split)

    @cached_property
    def truth(self) -> Truth:
        """What the masks stand for: readers, or all masks that can be drawn, with their probabilities."""
        if self.manifest.flips:
            return FlippedTruth(len(self), self.manifest.flips)
        if self.manifest.known_odds:
            return KnownTruth(lambda: self.index)
        return ReaderTruth(str(self.path), lambda: self.index, seat=self.seat)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which readers read which crop, [rows, R]; all True where the masks' probabilities are known."""
        return self.truth.present

    @cached_property
    def _shards(self) -> Shards:
        return Shards(self.path, self.manifest.shards, self.manifest.shapes)

    def images(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Images [N, C, H, W] of the given rows, in the stored unit.

        Args:
            rows: Row numbers [N], in any order.

        Raises:
            DataError: A file is missing or damaged.
        """
        return self._shards.read("images", rows)

    def labels(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """The label maps of the given rows as stored: [N, 1, H, W] where flips make masks from them, else the masks."""
        return self._shards.read("masks", rows)

    def masks(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Label maps [N, R, H, W] of the given rows.

        They are the readers' (see `present`), or all that can be drawn (see `truth`). Labels are 0 (background) to K - 1,
        and `IGNORE` where a pixel counts for nothing.

        Args:
            rows: Row numbers [N], in any order.

        Raises:
            DataError: A file is missing or damaged.
        """
        return self.truth.masks(self.labels(rows))

    def class_probabilities(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Another segmenter's class probabilities [N, K, H, W] of the given rows, in 255ths; DataError without any."""
        if not self.manifest.has_class_probabilities:
            raise DataError(
                f"{self.path} holds no class probabilities of another segmenter: make the dataset again with them."
            )
        return self._shards.read("probabilities", rows)

    def damaged(self, on_progress: Callable[[int, int], None] | None = None) -> Iterable[str]:
        """Names of the files that are missing or do not have the hash that the manifest gives.

        Args:
            on_progress: Called as `on_progress(done, files)` after each file.
        """
        files = self.manifest.hashes
        for done, (name, expected) in enumerate(files.items(), 1):
            path = self.path / name
            if not path.is_file() or sha256(path) != expected:
                yield name
            if on_progress is not None:
                on_progress(done, len(files))


def pool_file(store: Store) -> Path:
    """The pool from which the store's game draws training images, checked against its hash.

    Raises:
        DataError: The file is damaged or missing.
    """
    path, expected = store.path / POOL, store.manifest.bank_sha256
    if expected is None or not is_intact(path, expected):
        raise DataError(f"{path} is missing or was changed since it was written: make the dataset again.")
    return path


def default_store(root: Path = Path("data")) -> Path:
    """The data set that is meant when none is named: `data/lidc`, else the only store under `root`."""
    found = sorted(file.parent for file in root.glob("*/manifest.json"))
    if root / "lidc" in found:
        return root / "lidc"
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"Several data sets under {root}/: choose one with `data`: {', '.join(map(str, found))}.")
    raise InputError(f"No data set under {root}/: make one with `ambiseg preprocess lidc`, or name one with `data`.")
