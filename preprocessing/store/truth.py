"""What the masks of a crop stand for: the readers who drew them, or all masks that can be drawn and their probabilities."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .flips import Flip, flip_probabilities, flipped
from .store_index import IndexRow


class Truth(Protocol):
    """The reference against which a model is trained and judged; R masks per crop."""

    @property
    def known(self) -> bool:
        """Whether the masks are all that can be drawn, with known probabilities, instead of readers' masks."""

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which masks there are, [rows, R]: those of the readers who read the crop, or all where they are known."""

    def masks(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The label maps [N, R, H, W] that stored label maps [N, M, H, W] stand for."""

    def probabilities(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Known probabilities [N, R] of the masks of some rows. Raises DataError where they are not known."""

    def chances(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """How often training draws each mask of some rows, [N, R]: known probabilities, else 1 for a present reader."""


@dataclass(frozen=True)
class ReaderTruth:
    """One mask per reader. `name` is the store's name in messages; `index` reads its index; of all readers, the one in
    `seat` alone counts as present, where it is given.
    """

    name: str
    index: Callable[[], Sequence[IndexRow]]
    known: bool = False
    seat: int | None = None

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """Which readers read which crop, [rows, R], by the index."""
        present = np.array([row.present for row in self.index()])
        return present if self.seat is None else present & (np.arange(present.shape[1]) == self.seat)

    def masks(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The label maps as they are stored."""
        return labels

    def probabilities(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Not known of readers' masks."""
        raise DataError(f"{self.name} holds readers' masks: it does not say how probable each of them is.")

    def chances(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """1 for each reader who read the crop, else 0."""
        return self.present[rows].astype(np.float64)


@dataclass(frozen=True)
class KnownTruth:
    """All masks that can be drawn, with the probabilities that the `index` gives."""

    index: Callable[[], Sequence[IndexRow]]
    known: bool = True

    @cached_property
    def table(self) -> NDArray[np.float64]:
        """Probabilities of the masks of every row, [rows, R]."""
        return np.array([row.probabilities for row in self.index()])

    @property
    def present(self) -> NDArray[np.bool_]:
        """All of them, [rows, R]."""
        return np.ones(self.table.shape, bool)

    def masks(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The label maps as they are stored."""
        return labels

    def probabilities(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Probabilities [N, R]."""
        return self.table[rows]

    def chances(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Probabilities [N, R]."""
        return self.table[rows]


@dataclass(frozen=True)
class FlippedTruth:
    """The 2^F modes that `flips` make from the one label map of each of `count` rows."""

    count: int
    flips: tuple[Flip, ...]
    known: bool = True

    @property
    def present(self) -> NDArray[np.bool_]:
        """All of them, [rows, 2^F]."""
        return np.ones((self.count, 2 ** len(self.flips)), bool)

    def masks(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """All modes [N, 2^F, H, W] of label maps [N, 1, H, W]."""
        return flipped(labels[:, 0], self.flips)

    def probabilities(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Probabilities [N, 2^F]; the same for every row."""
        return np.tile(flip_probabilities(self.flips), (len(rows), 1))

    def chances(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Probabilities [N, 2^F]."""
        return self.probabilities(rows)
