"""The rows of a store's arrays, spread over memory-mapped files `images_000.npy`, `images_001.npy`, ..."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..archive import BROKEN_ARRAY
from ..errors import DataError
from .intact import is_intact
from .manifest import Kind, ShardEntry, shard_name

DTYPES: Mapping[Kind, tuple[str, ...]] = {
    "images": ("int16", "uint8", "float32"),
    "masks": ("uint8",),
    "probabilities": ("uint8",),
}


@dataclass(frozen=True)
class Shards:
    """The shards in `folder`: their entries in the manifest (rows, hashes), and the shape of one row of each kind."""

    folder: Path
    entries: Sequence[ShardEntry]
    shapes: Mapping[Kind, tuple[int, int, int]]

    def read(self, kind: Kind, rows: NDArray[np.intp]) -> NDArray[Any]:
        """The given rows of a kind [N, ...], in any order; DataError when a file is missing or damaged."""
        rows = np.asarray(rows, np.intp)
        shards = self._maps[kind]
        which = np.searchsorted(self._starts, rows, side="right") - 1
        result = np.empty((len(rows), *self.shapes[kind]), shards[0].dtype)
        for number in np.unique(which):
            self._check(kind, number)
            here = which == number
            result[here] = shards[number][rows[here] - self._starts[number]]
        return result

    def _check(self, kind: Kind, number: int) -> None:
        """Raise a DataError unless a shard is the file that was written. Each process reads its bytes for that once."""
        path = self.folder / shard_name(kind, number)
        if not is_intact(path, self.entries[number].sha256(kind)):
            raise DataError(
                f"{path} was changed since it was written, its SHA-256 is not the manifest's: restore it, or make the "
                "dataset again."
            )

    @cached_property
    def _starts(self) -> NDArray[np.intp]:
        return np.cumsum([0] + [entry.rows for entry in self.entries])

    @cached_property
    def _maps(self) -> dict[Kind, list[NDArray[Any]]]:
        return {kind: [self._map(kind, number) for number in range(len(self.entries))] for kind in self.shapes}

    def _map(self, kind: Kind, number: int) -> NDArray[Any]:
        path = self.folder / shard_name(kind, number)
        try:
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except BROKEN_ARRAY as error:
            raise DataError(
                f"{path} is missing or corrupt: `ambiseg data verify {self.folder}` says what is damaged."
            ) from error
        expected = (self.entries[number].rows, *self.shapes[kind])
        if array.shape != expected:
            raise DataError(
                f"{path} has shape {list(array.shape)}, its manifest says {list(expected)}: make the dataset again."
            )
        if array.dtype.name not in DTYPES[kind]:
            raise DataError(
                f"{path} holds {array.dtype.name}, expected {' or '.join(DTYPES[kind])}: make the dataset again."
            )
        return array
