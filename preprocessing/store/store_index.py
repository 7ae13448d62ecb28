"""index.csv of a dataset store: one row per crop, and how it is read."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..documents import shown
from ..errors import DataError
from ..tables import Row, Table, parse_table
from .manifest import AGAIN, Manifest
from .splits import SPLITS

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
PROBABILITIES = "odds"  # the column of the masks' known probabilities
PROBABILITIES_TOLERANCE = 1e-6  # of their sum


@dataclass(frozen=True)
class IndexRow(Mapping[str, str]):
    """One crop's row of the index: its cells as text by column name, and the usual ones as values.

    Every index has the columns `COLUMNS`. A source adds what else it knows: series, ratings, ...
    """

    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def split(self) -> str:
        """The crop's split: "train", "val" or "test"."""
        return self.cells["split"]

    @property
    def patient(self) -> str:
        """The crop's patient. All crops of a patient have one split, unless a split that came with the data divides them."""
        return self.cells["patient"]

    @property
    def lesion(self) -> tuple[str, str, str]:
        """What tells lesions apart: patient, case and the lesion's name in its case."""
        return self.cells["patient"], self.cells["case"], self.cells["lesion"]

    @property
    def z_mm(self) -> float | None:
        """Position of the slice in its scan, in mm; None where it is not known."""
        return float(self.cells["z_mm"]) if self.cells["z_mm"] else None

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """Pixel size (y, x) of the scan, in mm; None where it is not known."""
        y, x = self.cells["spacing_y_mm"], self.cells["spacing_x_mm"]
        return (float(y), float(x)) if y and x else None

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which readers read the crop, [R]."""
        return np.array([flag == "1" for flag in self.cells["readers"]])

    @property
    def marked(self) -> int:
        """How many of the masks mark something."""
        return int(self.cells["marked"])

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Known probabilities of the masks, [R]; empty where they are not known."""
        return np.array([float(value) for value in self.cells.get(PROBABILITIES, "").split()])


def read_index(path: Path, manifest: Manifest) -> list[IndexRow]:
    """The rows of the index of a store with this manifest.

    Raises:
        DataError: A cell holds what no index can hold (the message names line and column), or the file is missing, or it
            does not have the SHA-256 that the manifest gives.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: {AGAIN}.")
    content = path.read_bytes()
    if not content.strip():
        raise DataError(f"{path} is empty: {AGAIN}.")
    table = parse_table(content, path, "one row per crop")
    table.need(*COLUMNS)
    if len(table.rows) != manifest.rows:
        raise DataError(f"{path} has {len(table.rows)} rows, its manifest says {manifest.rows}: {AGAIN}.")
    for number, row in enumerate(table.rows):
        _check(table, row, number, manifest)
    if hashlib.sha256(content).hexdigest() != manifest.index_sha256:
        raise DataError(f"{path} was changed since it was written, its SHA-256 is not the manifest's: {AGAIN}.")
    return [IndexRow(dict(row.cells)) for row in table.rows]


def _check(table: Table, row: Row, number: int, manifest: Manifest) -> None:
    """Raise a DataError that names line and column unless a row holds what it should."""
    masks, group = manifest.masks_shape[0], manifest.group
    for column in ("z_mm", "spacing_y_mm", "spacing_x_mm"):
        if row[column]:
            table.number(row, column)
    flags = row["readers"]
    checks = [
        ("row", row["row"] == str(number), str(number)),
        ("split", row["split"] in SPLITS, " or ".join(SPLITS)),
        ("slice", row["slice"].removeprefix("-").isdecimal(), "a whole number"),
        ("readers", len(flags) == masks and set(flags) <= set("01"), f"{masks} digits 0 or 1"),
        ("marked", table.whole_number(row, "marked") <= masks, f"{masks} at most"),
    ]
    if manifest.known_odds and not manifest.flips:
        sound = _are_probabilities(row.get(PROBABILITIES, ""), masks)
        checks.append((PROBABILITIES, sound, f"{masks} numbers that sum to 1"))
    if group is not None:
        checks.append((group, group in row, "the groups of the manifest"))
    for column, sound, expected in checks:
        if not sound:
            got = shown(repr(row.get(column, "no such column")))
            raise DataError(f"{table.where(row, column)}: expected {expected}, got {got}: {AGAIN}.")


def _are_probabilities(text: str, masks: int) -> bool:
    """Whether a cell holds the probabilities of the given number of masks."""
    try:
        found = [float(value) for value in text.split()]
    except ValueError:
        return False
    return len(found) == masks and min(found) >= 0 and abs(sum(found) - 1) <= PROBABILITIES_TOLERANCE
