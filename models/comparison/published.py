"""Tables of published energy distances, read with the precision to which they were printed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from ambiseg.preprocessing.documents import shown
from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.tables import number_text, read_table

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
    table = read_table(path, "a CSV with a column 'method' and columns ged16, ged100, ...").lowered()
    if not table.rows:
        raise InputError(f"{path} holds no row of figures: give a line with column names and one for each method.")
    counts = _counts(table.columns, path)
    method = next((name for name in NAMES if name in table.columns), None)
    if method is None:
        raise DataError(
            f"{path} names no methods: expected a column 'method' or 'name', came {shown(', '.join(table.columns))}."
        )
    known = {method, "readers", "reader_diversity", "diversity", *counts}
    rows = []
    for line in table.rows:
        cells = _Cells(line, f"line {line.line} of {path}", decimals, decimal_comma=table.decimal_comma)
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

    def __init__(
        self, line: Mapping[str, str], where: str, decimals: int | None, *, decimal_comma: bool = False
    ) -> None:
        self.line, self.where, self.decimals, self.decimal_comma = line, where, decimals, decimal_comma

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
        number = number_text(text, decimal_comma=self.decimal_comma)
        if number is None:
            raise DataError(
                f"{self._place(column)} holds {shown(repr(text))}, expected a number such as 0.218, or nothing."
            )
        return Decimal(number)

    def _place(self, column: str) -> str:
        return f"Column {column!r} in {self.where}" if column else self.where


def _counts(header: Sequence[str], path: Path) -> dict[str, int]:
    """The number of draws of each GED column."""
    counts = {name: int(match[1]) for name in header if (match := GED.fullmatch(name))}
    if not counts or 0 in counts.values():
        raise DataError(
            f"{path} has no column of energy distances: expected ged<N> with N draws, such as ged16 and ged100, came "
            f"{shown(', '.join(header))}."
        )
    if len(set(counts.values())) < len(counts):
        raise DataError(f"{path} has a column twice: {shown(', '.join(header))}.")
    return counts
