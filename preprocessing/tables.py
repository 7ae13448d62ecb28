"""Tables of text: one reader for every CSV that a user or another program made, one writer for those that we make.

Spreadsheets write CSV in many ways: in UTF-8 with or without a mark, in UTF-16, in Windows' own code page; with commas,
semicolons or tabs; with blanks about names, with a last row of separators alone. All of these are read alike.
"""

import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from .documents import shown
from .errors import DataError, InputError
from .files import whole_file

SEPARATORS = ",;\t"
MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))
LARGEST = 2**28  # bytes of a table, unpacked
LONGEST, LONGEST_NUMBER = 1_000_000, 100  # characters of a cell and of a number in it: more is no table of ours
FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")  # what begins a formula in a spreadsheet, inert already or not
NUMBER = re.compile(r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]+)?")
WHOLE = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True)
class Row(Mapping[str, str]):
    """The cells of a row by their columns' names, without blanks at their ends; `line`: where it begins in its file, from 1."""

    cells: Mapping[str, str]
    line: int

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)


@dataclass(frozen=True)
class Table:
    """A table as it stands in the file `path`: the names of its columns, in order, and its rows.

    decimal_comma: whether a comma may stand in a number for the point, as it may where something else separates the cells.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    decimal_comma: bool = False

    def lowered(self) -> "Table":
        """The table with its columns' names in lower case: people write Patient and patient alike."""
        columns = tuple(column.lower() for column in self.columns)
        if len(set(columns)) < len(columns):
            raise DataError(
                f"{self.path} has a column given twice ({shown(','.join(self.columns))}): keep one of them."
            )
        rows = tuple(Row(dict(zip(columns, row.values(), strict=True)), row.line) for row in self.rows)
        return replace(self, columns=columns, rows=rows)

    def need(self, *columns: str) -> None:
        """Raise DataError unless there are these columns."""
        if missing := [column for column in columns if column not in self.columns]:
            raise DataError(
                f"{self.path} has no column {missing[0]!r}: expected {','.join(columns)}, got "
                f"{shown(','.join(self.columns))}."
            )

    def where(self, row: Row, column: str) -> str:
        """A cell's place in words, to begin a message with: "points.csv, line 3, column 'x'"."""
        return f"{self.path}, line {row.line}, column {column!r}"

    def number(self, row: Row, column: str) -> float:
        """The finite number in a cell; DataError where there is none."""
        text = number_text(row[column], decimal_comma=self.decimal_comma)
        number = math.nan if text is None else float(text)
        if not math.isfinite(number):
            raise DataError(
                f"{self.where(row, column)}: expected a number such as 1.5, got {shown(repr(row[column]))}."
            )
        return number

    def whole_number(self, row: Row, column: str) -> int:
        """The whole number in a cell, 0 or more; DataError where there is none."""
        if not WHOLE.fullmatch(row[column]):
            raise DataError(f"{self.where(row, column)}: expected a whole number, got {shown(repr(row[column]))}.")
        return int(row[column])


def read_table(path: Path, expected: str) -> Table:
    """The table in a CSV file, or in one compressed by gzip (.gz).

    Blank rows, rows and columns of separators alone, and blanks about cells are passed over. `expected` says, for messages,
    what the table should hold: "a CSV with the columns patient,split". Raises InputError where there is no such file or no
    column, DataError with the line where a row does not fit the columns.
    """
    if not path.is_file():
        raise InputError(f"No file {path}: expected {expected}; check the path.")
    return parse_table(_unpacked(path), path, expected)


def parse_table(content: bytes, path: Path, expected: str) -> Table:
    """As `read_table`, of bytes that are in memory already; messages call them `path`."""
    text = _text(content, path)
    separator, skipped = _separator(text)
    lines = list(_lines(text, path, separator, skipped))
    if not lines:
        raise InputError(f"{path} is empty: expected {expected}.")
    (_, header), *rest = lines
    while header and not header[-1]:
        header.pop()
    if not all(header) or len(set(header)) < len(header):
        wrong = "without a name" if not all(header) else "given twice"
        raise DataError(f"{path} has a column {wrong} ({shown(','.join(header))}): expected {expected}.")
    rows = tuple(_row(path, header, cells, line) for line, cells in rest)
    return Table(path, tuple(header), rows, decimal_comma=separator != ",")


def write_table(
    path: Path, rows: Iterable[Mapping[str, object]], columns: Sequence[str], *, for_people: bool = False
) -> None:
    """Write a CSV file, whole or not at all: `columns` of `rows`, blank where a row lacks one.

    for_people: cells of text that a spreadsheet would take for a formula are made inert (see `inert`).
    """
    with table_writer(path, columns, for_people=for_people) as write:
        for row in rows:
            write(row)


@contextmanager
def table_writer(
    path: Path, columns: Sequence[str], *, for_people: bool = False
) -> Iterator[Callable[[Mapping[str, object]], None]]:
    """A function that writes a row, for as long as the block lasts: as `write_table`, for rows that come one by one."""
    with whole_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        yield _row_writer(file, columns, for_people)


def table_text(rows: Iterable[Mapping[str, object]], columns: Sequence[str], *, for_people: bool = False) -> str:
    """The text of a table, as `write_table` writes it."""
    text = io.StringIO()
    write = _row_writer(text, columns, for_people)
    for row in rows:
        write(row)
    return text.getvalue()


def _row_writer(file: TextIO, columns: Sequence[str], for_people: bool) -> Callable[[Mapping[str, object]], None]:
    """A function that writes a row to a file, after the columns' names."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)

    def write(row: Mapping[str, object]) -> None:
        cells = (row.get(column, "") for column in columns)
        writer.writerow(inert(cell) if for_people and isinstance(cell, str) else cell for cell in cells)

    return write


def number_text(text: str, *, decimal_comma: bool = False) -> str | None:
    """A number as Python writes it, of a cell's text; None where the text is no number.

    >>> number_text("2,5", decimal_comma=True), number_text("2,5"), number_text("1.234,5", decimal_comma=True)
    ('2.5', None, None)
    """
    if len(text) > LONGEST_NUMBER or not NUMBER.fullmatch(text) or ("," in text and not decimal_comma):
        return None
    return text.replace(",", ".")


def inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe goes before =, +, -, @, a tab or a line's end.

    Numbers stay as they are. `as_meant` takes it back.

    >>> inert("=1+1"), inert("-2.5")
    ("'=1+1", '-2.5')

    >>> inert("=1+1"), inert("lesion 2"), inert("-0.5")
    ("'=1+1", 'lesion 2', '-0.5')
    """
    return f"'{cell}" if FORMULA.match(cell) and not NUMBER.fullmatch(cell) else cell


def as_meant(cell: str) -> str:
    """The text of a cell before it was made `inert`."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def _unpacked(path: Path) -> bytes:
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            content = (gzip.GzipFile(fileobj=file) if compressed else file).read(LARGEST + 1)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{path} is damaged (its compressed data cannot be read): get it again.") from error
    if len(content) > LARGEST:
        raise DataError(f"{path} holds more than {LARGEST >> 20} MiB: expected a table of less.")
    return content


def _text(content: bytes, path: Path) -> str:
    """The text of a file, whatever program wrote it: by its mark, else UTF-8, else Windows' code page 1252."""
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and 3 * content[:200].count(0) > len(content[:200]):  # in UTF-16 every other byte is 0
        encoding = "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise DataError(f"{path} is damaged ({encoding} text that breaks off): save it again as CSV.") from error
        text = content.decode("cp1252", errors="replace")
    if bad := next((letter for letter in text if letter in "\0\ufffd"), None):
        line = text[: text.index(bad)].count("\n") + 1
        raise DataError(f"{path} is no table of text from line {line} on: save it again as CSV in UTF-8.")
    return text


def _lines(text: str, path: Path, separator: str, skipped: int) -> Iterable[tuple[int, list[str]]]:
    """The rows that hold anything, trimmed, each with the number of the line that it begins on."""
    lines = list(io.StringIO(text, newline=""))
    reader = csv.reader([*lines, "\n"], delimiter=separator, skipinitialspace=True)  # a row of its own, if all is whole
    begun = 1
    try:
        for cells in reader:
            trimmed = [cell.strip() for cell in cells]
            if begun > skipped and any(trimmed):
                if max(map(len, trimmed)) > LONGEST:
                    raise csv.Error("a cell too long")
                if reader.line_num > len(lines):
                    raise csv.Error("a quotation mark without its second")
                yield begun, trimmed
            begun = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path} is no CSV from line {begun} on ({error}): save it again as CSV.") from error


def _separator(text: str) -> tuple[str, int]:
    """The separator of cells, by the first line that is not blank; and how many lines only name it (Excel's sep=;)."""
    number, first = next(((i, line) for i, line in enumerate(text.splitlines()) if line.strip()), (0, ""))
    if (said := re.fullmatch(r'"?sep=([,;\t])"?', first.strip(" "))) is not None:
        return said[1], number + 1
    bare = re.sub(r'"[^"]*"', "", first)  # a separator in quotation marks is text
    return max(SEPARATORS, key=bare.count), 0


def _row(path: Path, header: Sequence[str], cells: list[str], line: int) -> Row:
    if len(cells) > len(header) and not any(cells[len(header) :]):
        cells = cells[: len(header)]
    if len(cells) != len(header):
        raise DataError(f"{path}, line {line}: {len(cells)} cells, expected {len(header)} as in the first line.")
    return Row(dict(zip(header, cells, strict=True)), line)
