"""The dataset store: a folder of image crops, one label map a reader, and where each crop came from.

    manifest.json     schema, source, intensity unit, classes, readers, size, spacing, shards' SHA-256, settings
    index.csv         a row a crop: `store_writer.COLUMNS`, then whatever the source knows of it (series, ratings, ...)
    images_000.npy    [rows, C, H, W]  int16 (HU), uint8 or float32
    masks_000.npy     [rows, R, H, W]  uint8 class labels, 0 background, 255 (`IGNORE`) where a pixel counts for nothing
    probabilities_000.npy  [rows, K, H, W]  uint8, in 255ths: another segmenter's class probabilities; in few stores
    bank.npz          what training images are dealt anew from; in few stores
    README.md         the dataset card

The masks of a row are those of readers, or, where the truth is known, all masks that can be drawn, with their odds: in the
index's column `odds`, or made of one label map by the manifest's `flips`.

The store is written aside and renamed: it is whole or absent. The same rows in the same order give the same bytes.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, InputError
from ..files import sha256
from .flips import Flip, flip_odds, flipped
from .intact import is_intact
from .manifest import read_manifest
from .shards import Shards
from .store_index import read_index

BANK = "bank.npz"
IGNORE = 255  # the label of pixels that count for nothing, in any loss or metric


@dataclass(frozen=True)
class Intensity:
    """What the image's numbers are: `unit` "HU" or "relative", and the `low` and `high` that they can take."""

    unit: str
    low: float
    high: float


HOUNSFIELD = Intensity("HU", -1024, 3071)
BYTES = Intensity("relative", 0, 255)
LUNG_WINDOW = (-1000.0, 400.0)  # HU: air to dense tissue, the usual range for lung nodules


@dataclass(frozen=True)
class Store:
    """An open dataset store. `manifest` is the file's content; crops are read from memory-mapped shards.

    What is read is held against the hashes that the manifest gives: index and bank when they are first used, a shard when
    a crop of it is.
    """

    path: Path
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> "Store":
        """Open the store at `path`; reads no crop yet."""
        path = Path(path)
        return cls(path, read_manifest(path))

    def __len__(self) -> int:
        return int(self.manifest["rows"])

    @property
    def content_hash(self) -> str:
        """SHA-256 over the hashes of index, shards and bank, and what else makes the masks: two stores with the same hash
        hold the same crops.
        """
        parts = list(self._hashes.values())
        parts += [
            json.dumps({key: self.manifest[key]}) for key in ("scored", "flips", "deal") if self.manifest.get(key)
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def _hashes(self) -> dict[str, str]:
        """The hashes that the manifest gives, by file."""
        files = {"index.csv": self.manifest["index_sha256"], **self._shards.hashes}
        return files if self.deal is None else files | {BANK: self.manifest["bank_sha256"]}

    @property
    def channels(self) -> int:
        """Image channels C."""
        return int(self.manifest["image_shape"][0])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every crop, in pixels."""
        _, height, width = self.manifest["image_shape"]
        return height, width

    @property
    def readers(self) -> int:
        """Masks R of every crop (absent readers included); with flips, the 2^F modes."""
        return 2 ** len(self.flips) if self.flips else int(self.manifest["masks_shape"][0])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the K classes, background first."""
        return tuple(self.manifest["class_names"])

    @property
    def intensity(self) -> Intensity:
        """What the image's numbers are."""
        return Intensity(**self.manifest["intensity"])

    @property
    def spacing_mm(self) -> float | None:
        """The one pixel size of all crops in mm, or None."""
        return self.manifest["spacing_mm"]

    @property
    def known_odds(self) -> bool:
        """Whether the masks are all that can be drawn, with known probabilities (see `odds`), instead of readers'."""
        return bool(self.manifest.get("known_odds", False))

    @property
    def has_probabilities(self) -> bool:
        """Whether another segmenter's class probabilities come with every crop."""
        return "probabilities_sha256" in self.manifest["shards"][0]

    @property
    def scored(self) -> tuple[int, ...] | None:
        """The classes over which distances are computed; None: all but the background."""
        names = self.manifest.get("scored")
        return None if names is None else tuple(self.class_names.index(name) for name in names)

    @property
    def group(self) -> str | None:
        """The index column by which mode probabilities are reported, or None."""
        return self.manifest.get("group")

    @property
    def flips(self) -> tuple[Flip, ...]:
        """The flips that make each row's masks of its one label map; none in most stores."""
        return tuple(Flip(**flip) for flip in self.manifest.get("flips", ()))

    @property
    def deal(self) -> str | None:
        """How training images are dealt anew from `bank`; None: training sees the stored crops."""
        return self.manifest.get("deal")

    @property
    def bank(self) -> Path:
        """The file that training images are dealt from, of stores with a `deal`."""
        return self.path / BANK

    @property
    def whole_bank(self) -> Path:
        """The `bank`, held against its hash. Raises DataError where it is damaged or missing."""
        if not is_intact(self.bank, self.manifest["bank_sha256"]):
            raise DataError(f"{self.bank} is missing or was changed since it was written: make the dataset again.")
        return self.bank

    @cached_property
    def index(self) -> list[dict[str, str]]:
        """The index's rows, in order, all values as text. Raises DataError where the file is damaged."""
        return read_index(self.path / "index.csv", self.manifest)

    def column(self, name: str) -> NDArray:
        """One column of the index as an array of text [rows]."""
        return np.array([row[name] for row in self.index])

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """Which readers read which crop, [rows, R]; all True where the odds are known."""
        if self.known_odds:
            return np.ones((len(self), self.readers), bool)
        return np.array([[flag == "1" for flag in row["readers"]] for row in self.index])

    def rows(self, split: str) -> NDArray[np.intp]:
        """The rows of a split ("train", "val", "test" or "all"), ascending."""
        if split == "all":
            return np.arange(len(self))
        if split not in ("train", "val", "test"):
            raise InputError(f"No split {split!r}: expected train, val, test or all.")
        return np.flatnonzero(self.column("split") == split)

    @cached_property
    def _shards(self) -> Shards:
        shapes = {"images": tuple(self.manifest["image_shape"]), "masks": tuple(self.manifest["masks_shape"])}
        if self.has_probabilities:
            shapes["probabilities"] = (len(self.class_names), *self.size)
        return Shards(self.path, tuple(self.manifest["shards"]), shapes)

    def images(self, rows: NDArray[np.intp]) -> NDArray:
        """Images [N, C, H, W] of the given rows, in the stored unit."""
        return self._shards.read("images", rows)

    def labels(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """The label maps as stored: [N, 1, H, W] where flips make the masks of them, else the masks."""
        return self._shards.read("masks", rows)

    def masks(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Label maps [N, R, H, W] of the given rows: readers' (see `present`), or all modes (see `odds`)."""
        labels = self.labels(rows)
        return flipped(labels[:, 0], self.flips) if self.flips else labels

    def odds(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Known probabilities [N, R] of the masks of the given rows; DataError where they are not known."""
        if not self.known_odds:
            raise DataError(f"{self.path} holds readers' masks: it does not say how probable each of them is.")
        if self.flips:
            return np.tile(flip_odds(self.flips), (len(rows), 1))
        return self._odds[rows]

    @cached_property
    def _odds(self) -> NDArray[np.float64]:
        return np.array([[float(value) for value in row["odds"].split()] for row in self.index])

    def probabilities(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Another segmenter's class probabilities [N, K, H, W] of the given rows, in 255ths; DataError without any."""
        if not self.has_probabilities:
            raise DataError(
                f"{self.path} holds no class probabilities of another segmenter: make the dataset again with them."
            )
        return self._shards.read("probabilities", rows)

    def damaged(self, on_progress: Callable[[int, int], None] | None = None) -> Iterable[str]:
        """Names of the files that are missing or do not have the hash that the manifest gives.

        `on_progress(done, files)` is called after each file.
        """
        files = self._hashes
        for done, (name, expected) in enumerate(files.items(), 1):
            path = self.path / name
            if not path.is_file() or sha256(path) != expected:
                yield name
            if on_progress is not None:
                on_progress(done, len(files))


def default_store(root: Path = Path("data")) -> Path:
    """The data set meant when none is named: `data/lidc`, else the only store under `root`."""
    found = sorted(file.parent for file in root.glob("*/manifest.json"))
    if root / "lidc" in found:
        return root / "lidc"
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"Several data sets under {root}/: choose one with --data: {', '.join(map(str, found))}.")
    raise InputError(f"No data set under {root}/: make one with `ambiseg preprocess lidc`, or name one with --data.")
