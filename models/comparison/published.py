"""Tables of published energy distances, read with the precision to which they were printed."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

from ambiseg.preprocessing.errors import DataError, InputError, UsageError

from .line import Rounded

GED = re.compile(r"ged_?(\d+)(?:_v)?", re.IGNORECASE)
NAMES = ("method", "name")
EMPTY = {"", "-", "–", "—"}
MOST = 2  # no squared energy distance of distances in 0..1 is greater


@dataclass(frozen=True)
class Published:
    """One row of a table: the GED (V-statistic) of a method by number of draws, and what else is known.

    reader_diversity: E d(y, y') of the `readers` readers, self-pairs included (as `ambiseg evaluate` prints it), None when
    not known; diversity: the published diversity of the model's masks, None without; rest: the row's other columns.
    """

    method: str
    ged: Mapping[int, Rounded]
    readers: int = 4
    reader_diversity: Rounded | None = None
    diversity: Rounded | None = None
    rest: Mapping[str, str] = field(default_factory=dict)


def read_published(
    path: Path, *, readers: int = 4, reader_diversity: str | None = None, decimals: int | None = None
) -> list[Published]:
    """The rows of a CSV with a column `method` (or `name`) and columns `ged<N>`, N the number of draws.

    Optional columns `readers`, `reader_diversity` and `diversity`; where a row has none of the first two, the arguments
    hold. decimals: to how many decimals figures were printed, where the table does not show it (None: as written).
    Raises InputError for a missing or empty file, DataError that names row and column for a cell that is no number.
    """
    if readers < 2:
        raise UsageError(f"Readers disagree from two on, came --readers {readers}.")
    header, lines = _lines(path)
    counts = _counts(header, path)
    method = next((name for name in NAMES if name in header), None)
    if method is None:
        raise DataError(f"{path} names no methods: expected a column 'method' or 'name', came {', '.join(header)}.")
    known = {method, "readers", "reader_diversity", "diversity", *counts}
    rows = []
    for number, line in enumerate(lines, 2):
        cells = _Cells(line, f"row {number} of {path}", decimals)
        rows.append(
            Published(
                method=line[method],
                ged={n: figure for column, n in counts.items() if (figure := cells.figure(column, MOST))},
                readers=cells.count("readers") or readers,
                reader_diversity=cells.figure("reader_diversity", 1)
                or (_Cells({"": reader_diversity or ""}, "--reader-diversity", None).figure("", 1)),
                diversity=cells.figure("diversity", 1),
                rest={name: text for name, text in line.items() if name not in known},
            )
        )
    return rows


class _Cells:
    """The cells of one row, read as numbers; `where` the row is, for errors."""

    def __init__(self, line: Mapping[str, str], where: str, decimals: int | None):
        self.line, self.where, self.decimals = line, where, decimals

    def figure(self, column: str, most: float) -> Rounded | None:
        """The number in a column; None where it is empty or there is no such column."""
        number = self._number(column)
        if number is None:
            return None
        if abs(number) > most:
            raise DataError(
                f"{self._place(column)} holds {number}, expected at most {most}: give shares of 1, not per cent."
            )
        exponent = number.as_tuple().exponent
        places = -int(exponent) if self.decimals is None else self.decimals
        return Rounded(float(number), 0.5 * 10.0**-places)

    def count(self, column: str) -> int | None:
        """The whole number, two at least, in a column."""
        number = self._number(column)
        if number is not None and (number != int(number) or number < 2):
            raise DataError(f"{self._place(column)} holds {number}, expected a whole number of two or more.")
        return None if number is None else int(number)

    def _number(self, column: str) -> Decimal | None:
        text = self.line.get(column, "").strip()
        if text in EMPTY:
            return None
        try:
            number = Decimal(text)
        except InvalidOperation:
            number = Decimal("nan")
        if not number.is_finite():
            raise DataError(f"{self._place(column)} holds {text!r}, expected a number such as 0.218, or nothing.")
        return number

    def _place(self, column: str) -> str:
        return f"Column {column!r} in {self.where}" if column else self.where


def _lines(path: Path) -> tuple[Sequence[str], list[dict[str, str]]]:
    """The column names, lower case and stripped, and the rows by them."""
    if not path.is_file():
        raise InputError(f"There is no file {path}: give a CSV with a column 'method' and columns ged16, ged100, ...")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = [row for row in csv.reader(file, strict=True) if any(cell.strip() for cell in row)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no CSV in UTF-8: save it as one.") from error
    if len(table) < 2:
        raise InputError(f"{path} holds no row of figures: give a line with column names and one for each method.")
    header = [name.strip().lower() for name in table[0]]
    for number, row in enumerate(table[1:], 2):
        if len(row) != len(header):
            raise DataError(
                f"Row {number} of {path} has {len(row)} cells, expected {len(header)} as in the first line."
            )
    return header, [dict(zip(header, row, strict=True)) for row in table[1:]]


def _counts(header: Sequence[str], path: Path) -> dict[str, int]:
    """The number of draws of each GED column."""
    counts = {name: int(match[1]) for name in header if (match := GED.fullmatch(name))}
    if not counts or 0 in counts.values():
        raise DataError(
            f"{path} has no column of energy distances: expected ged<N> with N draws, such as ged16 and ged100, came "
            f"{', '.join(header)}."
        )
    if len(set(header)) < len(header) or len(set(counts.values())) < len(counts):
        raise DataError(f"{path} has a column twice: {', '.join(header)}.")
    return counts
