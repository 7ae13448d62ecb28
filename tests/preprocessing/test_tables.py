"""One reader for tables, whichever CSV dialect they use."""

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambiseg.preprocessing.errors import AmbisegError, DataError, InputError
from ambiseg.preprocessing.tables import as_meant, inert, parse_table, read_table, table_text, write_table

EXPECTED = "a CSV with the columns a,b"
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252")
CELL = st.text("abcxyzÄÖüß 0123456789.,;'\"-+_/\n", max_size=12).map(str.strip)


@given(
    rows=st.lists(st.tuples(CELL, CELL).filter(any), min_size=1, max_size=5),
    encoding=st.sampled_from(ENCODINGS),
    separator=st.sampled_from(",;\t"),
    line_end=st.sampled_from(["\n", "\r\n"]),
    blank_rows=st.booleans(),
    more_columns=st.integers(0, 3),
    says_separator=st.booleans(),
    blanks=st.booleans(),
)
def test_a_table_reads_the_same_however_it_was_written(
    rows: list[tuple[str, str]],
    encoding: str,
    separator: str,
    line_end: str,
    blank_rows: bool,
    more_columns: int,
    says_separator: bool,
    blanks: bool,
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=line_end)
    blank = [""] * (2 + more_columns)
    for row in [("a", "b"), *rows]:
        cells = [f"{cell} " if blanks and cell and '"' not in cell and "\n" not in cell else cell for cell in row]
        writer.writerow([*cells, *blank[2:]])
        if blank_rows:
            writer.writerow(blank)
    said = f"sep={separator}{line_end}" if says_separator else ""
    content = (said + text.getvalue()).encode(encoding)
    found = parse_table(content, Path("t.csv"), EXPECTED)
    assert found.columns == ("a", "b")
    assert [(row["a"], row["b"]) for row in found.rows] == rows


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_one_sentence(content: bytes) -> None:
    message = "t.csv is read."
    try:
        parse_table(content, Path("t.csv"), EXPECTED)
    except AmbisegError as error:
        message = str(error)
    assert message.startswith("t.csv")
    assert message.endswith(".")
    assert message.isprintable()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a,b\n1,2\n3\n", r"t\.csv, line 3: 1 cells, expected 2"),
        (b"a,b\n1,2,3\n", r"t\.csv, line 2: 3 cells, expected 2"),
        (b"a,a\n1,2\n", r"column given twice \(a,a\)"),
        (b"a,,b\n1,2,3\n", r"column without a name"),
        (b'a,b\n"1,2\n', r"no CSV from line 2"),
        (b"a,b\n1,\x002\n" + b"x,y\n" * 100, r"no table of text from line 2|no CSV"),
        (b"\xff\xfea", r"utf-16 text that breaks off"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_its_line(content: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        parse_table(content, Path("t.csv"), EXPECTED)


def test_lines_are_those_of_the_file() -> None:
    found = parse_table(b'\na,b\n\n"1\n2",3\n4,5\n', Path("t.csv"), EXPECTED)
    assert [row.line for row in found.rows] == [4, 6]
    assert found.where(found.rows[1], "b") == "t.csv, line 6, column 'b'"


def test_missing_and_empty_files_say_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No file .*t\.csv: expected a CSV with the columns a,b"):
        read_table(tmp_path / "t.csv", EXPECTED)
    (tmp_path / "t.csv").write_text("\n ,\n")
    with pytest.raises(InputError, match=r"t\.csv is empty: expected"):
        read_table(tmp_path / "t.csv", EXPECTED)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match=r"no column 'c': expected a,c, got a,b"):
        parse_table(b"a,b\n1,2\n", Path("t.csv"), EXPECTED).need("a", "c")


def test_compressed_tables_are_read_and_checked(tmp_path: Path) -> None:
    whole = gzip.compress(b"a,b\n1,2\n")
    (tmp_path / "t.csv.gz").write_bytes(whole)
    assert read_table(tmp_path / "t.csv.gz", EXPECTED).rows[0]["b"] == "2"
    (tmp_path / "t.csv.gz").write_bytes(whole[:-2])
    with pytest.raises(DataError, match=r"compressed data cannot be read"):
        read_table(tmp_path / "t.csv.gz", EXPECTED)


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ambiseg.preprocessing.tables.LARGEST", 2**20)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 2**19))
    with pytest.raises(DataError, match=r"holds more than 1 MiB: expected a table of less"):
        read_table(tmp_path / "t.csv.gz", EXPECTED)


@pytest.mark.parametrize("cell", ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "=cmd|' /C calc'!A0"])
def test_formulas_for_people_are_inert(tmp_path: Path, cell: str) -> None:
    assert inert(cell) == "'" + cell
    write_table(tmp_path / "t.csv", [{"a": cell, "b": -1.5}], ["a", "b"], for_people=True)
    written = read_table(tmp_path / "t.csv", EXPECTED).rows[0]
    assert written["a"].startswith("'")
    assert written["b"] == "-1.5"
    assert table_text([{"a": cell}], ["a"]).count("'" + cell[0]) == 0


@pytest.mark.parametrize("cell", ["", "1", "-1", "+2.5", "-1e-3", "-0,5", "name", "a=b"])
def test_numbers_and_plain_names_stay_as_they_are(cell: str) -> None:
    assert inert(cell) == cell


@given(st.text("=+-@'\t\r\n＝1,.a ", max_size=6))
def test_what_was_made_inert_can_be_taken_back(cell: str) -> None:
    assert as_meant(inert(cell)) == cell


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_blanks_about_quotation_marks_are_passed_over(line_end: str) -> None:
    text = line_end.join(['"a" ; "b"', '"1;x" ;"2"  ', ' "3" ; 4'])
    found = parse_table(text.encode(), Path("t.csv"), EXPECTED)
    assert [(row["a"], row["b"]) for row in found.rows] == [("1;x", "2"), ("3", "4")]


def test_names_of_columns_in_capitals_are_the_same_columns() -> None:
    table = parse_table(b"Patient,SPLIT\na,b\n", Path("t.csv"), EXPECTED).lowered()
    assert (table.columns, dict(table.rows[0])) == (("patient", "split"), {"patient": "a", "split": "b"})
    with pytest.raises(DataError, match=r"column given twice \(a,A\)"):
        parse_table(b"a,A\n1,2\n", Path("t.csv"), EXPECTED).lowered()


@pytest.mark.parametrize(
    ("cell", "separator", "number"),
    [("1.5", ",", 1.5), ("1,5", ";", 1.5), (" -,5e1 ", "\t", -5.0), ("+2.", ",", 2.0), ("1e-3", ";", 0.001)],
)
def test_numbers_have_points_or_commas(cell: str, separator: str, number: float) -> None:
    table = parse_table(f"a{separator}b\n{cell}{separator}x\n".encode(), Path("t.csv"), EXPECTED)
    assert table.number(table.rows[0], "a") == number


@pytest.mark.parametrize("cell", ["", "x", "nan", "inf", "1e999", "1_000", "١", "1.234,5", "1 000", "0x10", "9" * 101])
def test_what_is_no_finite_number_is_named(cell: str) -> None:
    table = parse_table(f"a;b\n{cell};x\n".encode(), Path("t.csv"), EXPECTED)
    with pytest.raises(DataError, match=r"t\.csv, line 2, column 'a': expected a number such as 1\.5, got '"):
        table.number(table.rows[0], "a")


@pytest.mark.parametrize("cell", ["", "-1", "1.0", "1e3", "9" * 16])
def test_what_is_no_whole_number_is_named(cell: str) -> None:
    table = parse_table(f"a;b\n{cell};x\n".encode(), Path("t.csv"), EXPECTED)
    with pytest.raises(DataError, match=r"t\.csv, line 2, column 'a': expected a whole number, got '"):
        table.whole_number(table.rows[0], "a")
