"""index.csv of a dataset store: a row a crop, and how it is read."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..documents import shown
from ..errors import DataError
from ..tables import Row, Table, parse_table
from .manifest import AGAIN
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
ODDS_TOLERANCE = 1e-6


def read_index(path: Path, manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    """The rows of the index of a store with this manifest, all values as text.

    Raises DataError: for what no store's index can hold with line and column, else where the file is not the one whose
    hash the manifest gives.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: {AGAIN}.")
    content = path.read_bytes()
    if not content.strip():
        raise DataError(f"{path} is empty: {AGAIN}.")
    table = parse_table(content, path, "a row a crop")
    table.need(*COLUMNS)
    if len(table.rows) != manifest["rows"]:
        raise DataError(f"{path} has {len(table.rows)} rows, its manifest says {manifest['rows']}: {AGAIN}.")
    for number, row in enumerate(table.rows):
        _check(table, row, number, manifest)
    if hashlib.sha256(content).hexdigest() != manifest["index_sha256"]:
        raise DataError(f"{path} was changed since it was written, its SHA-256 is not the manifest's: {AGAIN}.")
    return [dict(row.cells) for row in table.rows]


def _check(table: Table, row: Row, number: int, manifest: Mapping[str, Any]) -> None:
    """Raise a DataError that names line and column unless a row holds what it should."""
    masks, group = manifest["masks_shape"][0], manifest.get("group")
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
    if manifest.get("known_odds") and not manifest.get("flips"):
        checks.append(("odds", _are_odds(row.get("odds", ""), masks), f"{masks} numbers that sum to 1"))
    if group is not None:
        checks.append((group, group in row, "the groups of the manifest"))
    for column, sound, expected in checks:
        if not sound:
            got = shown(repr(row.get(column, "no such column")))
            raise DataError(f"{table.where(row, column)}: expected {expected}, got {got}: {AGAIN}.")


def _are_odds(text: str, masks: int) -> bool:
    """Whether a cell holds the probabilities of so many masks."""
    try:
        odds = [float(value) for value in text.split()]
    except ValueError:
        return False
    return len(odds) == masks and min(odds) >= 0 and abs(sum(odds) - 1) <= ODDS_TOLERANCE
