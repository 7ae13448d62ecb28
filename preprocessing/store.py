"""The dataset store: a folder of image crops, one label map a reader, and where each crop came from.

    manifest.json     schema, source, intensity unit, classes, readers, size, spacing, shards' SHA-256, settings
    index.csv         a row a crop: `store_writer.COLUMNS`, then whatever the source knows of it (series, ratings, ...)
    images_000.npy    [rows, C, H, W]  int16 (HU), uint8 or float32
    masks_000.npy     [rows, R, H, W]  uint8 class labels, 0 background
    README.md         the dataset card

The store is written aside and renamed: it is whole or absent. The same rows in the same order give the same bytes.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, InputError
from .files import sha256

SCHEMA = 1


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
    """An open dataset store. `manifest` is the file's content; crops are read from memory-mapped shards."""

    path: Path
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> "Store":
        """Open the store at `path`; reads no crop yet."""
        path = Path(path)
        file = path / "manifest.json"
        if not file.is_file():
            raise InputError(
                f"No dataset store at {path}: expected a folder with manifest.json, as `ambiseg preprocess` writes it."
            )
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
            schema = manifest["schema"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{file} is not a dataset manifest: make the dataset again with `ambiseg preprocess`."
            ) from error
        if schema != SCHEMA:
            raise DataError(f"{path} has dataset schema {schema}; this version reads {SCHEMA}: make the dataset again.")
        return cls(path, manifest)

    def __len__(self) -> int:
        return int(self.manifest["rows"])

    @property
    def content_hash(self) -> str:
        """SHA-256 over the hashes of index and shards: two stores with the same hash hold the same crops."""
        parts = [self.manifest["index_sha256"]]
        parts += [shard[f"{kind}_sha256"] for shard in self.manifest["shards"] for kind in ("images", "masks")]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

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
        """Masks R stored with every crop (absent readers included)."""
        return int(self.manifest["masks_shape"][0])

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

    @cached_property
    def index(self) -> list[dict[str, str]]:
        """The index's rows, in order, all values as text."""
        with (self.path / "index.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if len(rows) != len(self):
            raise DataError(
                f"{self.path}/index.csv has {len(rows)} rows, its manifest says {len(self)}: make the dataset again."
            )
        return rows

    def column(self, name: str) -> NDArray:
        """One column of the index as an array of text [rows]."""
        return np.array([row[name] for row in self.index])

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """Which readers read which crop, [rows, R]."""
        return np.array([[flag == "1" for flag in row["readers"]] for row in self.index])

    def rows(self, split: str) -> NDArray[np.intp]:
        """The rows of a split ("train", "val", "test" or "all"), ascending."""
        if split == "all":
            return np.arange(len(self))
        if split not in ("train", "val", "test"):
            raise InputError(f"No split {split!r}: expected train, val, test or all.")
        return np.flatnonzero(self.column("split") == split)

    @cached_property
    def _starts(self) -> NDArray[np.intp]:
        return np.cumsum([0] + [shard["rows"] for shard in self.manifest["shards"]])

    @cached_property
    def _shards(self) -> dict[str, list[NDArray]]:
        return {
            kind: [self._map(kind, number) for number in range(len(self._starts) - 1)] for kind in ("images", "masks")
        }

    def _map(self, kind: str, number: int) -> NDArray:
        path = self.path / f"{kind}_{number:03d}.npy"
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path} is missing or corrupt: `ambiseg data verify {self.path}` says what is damaged."
            ) from error
        shape = "image_shape" if kind == "images" else "masks_shape"
        expected = [self.manifest["shards"][number]["rows"], *self.manifest[shape]]
        if list(array.shape) != expected:
            raise DataError(
                f"{path} has shape {list(array.shape)}, its manifest says {expected}: make the dataset again."
            )
        return array

    def _read(self, kind: str, rows: NDArray[np.intp]) -> NDArray:
        rows = np.asarray(rows, np.intp)
        shards = self._shards[kind]
        which = np.searchsorted(self._starts, rows, side="right") - 1
        result = np.empty((len(rows), *shards[0].shape[1:]), shards[0].dtype)
        for number in np.unique(which):
            here = which == number
            result[here] = shards[number][rows[here] - self._starts[number]]
        return result

    def images(self, rows: NDArray[np.intp]) -> NDArray:
        """Images [N, C, H, W] of the given rows, in the stored unit."""
        return self._read("images", rows)

    def masks(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Readers' label maps [N, R, H, W] of the given rows; see `present`."""
        return self._read("masks", rows)

    def damaged(self, on_progress: Callable[[int, int], None] | None = None) -> Iterable[str]:
        """Names of the files that are missing or do not have the hash that the manifest gives.

        `on_progress(done, files)` is called after each file.
        """
        files = {"index.csv": self.manifest["index_sha256"]}
        for number, shard in enumerate(self.manifest["shards"]):
            files |= {f"{kind}_{number:03d}.npy": shard[f"{kind}_sha256"] for kind in ("images", "masks")}
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
