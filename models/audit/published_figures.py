"""Tables of published energy distances, read with the precision to which they were printed."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from ambiseg.preprocessing.documents import shown
from ambiseg.preprocessing.errors import AmbisegError, DataError, InputError, UsageError
from ambiseg.preprocessing.tables import number_text, read_table

from .rounded_line import Rounded

GED = re.compile(r"ged_?(\d+)(?:_v)?", re.IGNORECASE | re.ASCII)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,2})?", re.IGNORECASE | re.ASCII)
NAMES = ("method", "name")
EMPTY = {"", "-", "–", "—"}
MOST = 2  # no squared energy distance of distances in 0..1 is greater
MOST_READERS = 10_000
MOST_DRAWS = 100_000  # per image
MOST_COUNTS = 100  # columns of figures
LONGEST = 24  # characters of a number, far more than any measurement is worth


@dataclass(frozen=True)
class Published:
    """One row of a table: the published figures of a method.

    Attributes:
        method: Name of the method.
        ged: GED (V-statistic) by number of draws.
        readers: Number of readers (R) per image.
        reader_diversity: E d(y, y') of the readers, self-pairs included, as `ambiseg evaluate` prints it; None if unknown.
        diversity: Published diversity of the model's masks; None if there is none.
        rest: The row's other columns.
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
    """Read a table of published figures: a CSV with a column `method` (or `name`) and columns `ged<N>` for N draws.

    The columns `readers`, `reader_diversity` and `diversity` are optional.

    Args:
        path: The CSV file.
        readers: Number of readers in rows that do not give it.
        reader_diversity: Diversity of the readers in rows that do not give it, as text, since its decimals count.
        decimals: Number of decimals to which figures were printed; None to take them from the table.

    Returns:
        The rows in the order of the file.

    Raises:
        InputError: The file is missing or has no rows.
        DataError: A cell is not a number or out of range; the error names row and column.
        UsageError: An argument is out of range.
    """
    if not 2 <= readers <= MOST_READERS:
        raise UsageError(f"`readers` must be from 2 to {MOST_READERS:,}, got {readers}.")
    known_diversity = _option("`reader_diversity`", reader_diversity)
    table = read_table(path, "a CSV with a column 'method' and columns ged16, ged100, ...").lowered()
    if not table.rows:
        raise InputError(f"{path} holds no row of figures: give one line with column names and one line per method.")
    counts = _counts(table.columns, path)
    method = next((name for name in NAMES if name in table.columns), None)
    if method is None:
        raise DataError(
            f"{path} names no methods: expected a column 'method' or 'name', got {shown(', '.join(table.columns))}."
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
                reader_diversity=cells.figure("reader_diversity", 1) or known_diversity,
                diversity=cells.figure("diversity", 1),
                rest={name: text for name, text in line.items() if name not in known},
            )
        )
    return rows


@dataclass(frozen=True)
class _Cells:
    """The cells of one row, read as numbers; `where` the row is, for errors."""

    line: Mapping[str, str]
    where: str
    decimals: int | None
    decimal_comma: bool

    def figure(self, column: str, most: int) -> Rounded | None:
        """The number in a column; None where it is empty or there is no such column."""
        return _figure(self._text(column), most, self.decimals, self._place(column), DataError)

    def count(self, column: str) -> int | None:
        """The number of readers in a column; None where it is empty or there is no such column."""
        number = _number(self._text(column), self._place(column), DataError)
        if number is not None and not (2 <= number <= MOST_READERS and number == int(number)):
            raise DataError(
                f"{self._place(column)} holds {number}, expected a whole number of two or more, {MOST_READERS:,} at most."
            )
        return None if number is None else int(number)

    def _text(self, column: str) -> str:
        text = self.line.get(column, "")
        return number_text(text, decimal_comma=self.decimal_comma) or text

    def _place(self, column: str) -> str:
        return f"Column {column!r} in {self.where}"


def _option(name: str, text: str | None) -> Rounded | None:
    """The share that an argument gives; None where it is not given."""
    return _figure(text or "", 1, None, name, UsageError)


def _figure(
    text: str, most: int, decimals: int | None, place: str, error: Callable[[str], AmbisegError]
) -> Rounded | None:
    """A figure of at most `most` in either direction, with the rounding that its decimals imply."""
    number = _number(text, place, error)
    if number is None:
        return None
    if abs(number) > most:
        raise error(f"{place} holds {number}, expected at most {most}: give shares of 1, not per cent.")
    places = -int(number.as_tuple().exponent) if decimals is None else decimals
    return Rounded(float(number), 0.5 * 10.0**-places)


def _number(text: str, place: str, error: Callable[[str], AmbisegError]) -> Decimal | None:
    """A number that is written out and short enough to be a measurement; None for an empty text."""
    text = text.strip()
    if text in EMPTY:
        return None
    if len(text) > LONGEST or not NUMBER.fullmatch(text):
        raise error(
            f"{place} holds {shown(repr(text))}, expected a number such as 0.218, of {LONGEST} characters at most, or "
            "nothing."
        )
    return Decimal(text)


def _counts(header: Sequence[str], path: Path) -> dict[str, int]:
    """The number of draws of each GED column."""
    digits = {name: match[1].lstrip("0") for name in header if (match := GED.fullmatch(name))}
    if not digits or "" in digits.values():
        raise DataError(
            f"{path} has no column of energy distances: expected ged<N> with N draws, such as ged16 and ged100, got "
            f"{shown(', '.join(header))}."
        )
    for name, number in digits.items():
        if len(number) > len(str(MOST_DRAWS)) or int(number) > MOST_DRAWS:
            raise DataError(
                f"Column {shown(repr(name))} of {path} is for more than {MOST_DRAWS:,} draws per image: correct its name."
            )
    if len(digits) > MOST_COUNTS:
        raise DataError(f"{path} has {len(digits)} columns of energy distances, expected {MOST_COUNTS} at most.")
    counts = {name: int(number) for name, number in digits.items()}
    if len(set(counts.values())) < len(counts):
        raise DataError(f"{path} has a column twice: {shown(', '.join(header))}.")
    return counts
