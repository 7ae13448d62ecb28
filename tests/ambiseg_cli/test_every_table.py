"""Every table that a user may provide is read alike, whichever CSV dialect the program that saved it uses."""

import csv
import gzip
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ambiseg.models.audit.published_figures import read_published
from ambiseg.models.evaluation.stored import read_evaluation
from ambiseg.preprocessing.scans.point_files import read_points
from ambiseg.preprocessing.sources.nifti.nifti_cases import find_cases
from ambiseg.preprocessing.sources.packed.packed_png import _table as read_patients
from ambiseg.preprocessing.sources.packed.packed_shards import _facts as read_facts
from ambiseg.preprocessing.store.splits import assign_splits, read_splits


@dataclass(frozen=True)
class Way:
    """How a program writes a table."""

    encoding: str
    separator: str
    line_end: str
    decimal_comma: bool
    says_separator: bool
    quoted: bool
    blanks: bool
    blank_rows: bool
    more_columns: int
    capitals: bool
    cut_end: bool

    def written(self, rows: Sequence[Sequence[str | float]]) -> bytes:
        """The table's bytes, its first row the names of the columns."""
        text = io.StringIO()
        quoting = csv.QUOTE_ALL if self.quoted else csv.QUOTE_MINIMAL
        writer = csv.writer(text, delimiter=self.separator, lineterminator=self.line_end, quoting=quoting)
        for number, row in enumerate(rows):
            writer.writerow([*(self._cell(cell, header=not number) for cell in row), *[""] * self.more_columns])
            if self.blank_rows:
                writer.writerow([""] * (len(row) + self.more_columns))
        said = f"sep={self.separator}{self.line_end}" if self.says_separator else ""
        whole = said + text.getvalue()
        return (whole.removesuffix(self.line_end) if self.cut_end else whole).encode(self.encoding)

    def _cell(self, cell: str | float, header: bool) -> str:
        text = str(cell)
        if isinstance(cell, float) and self.decimal_comma and self.separator != ",":
            text = text.replace(".", ",")
        if header and self.capitals:
            text = text.title() if text.islower() else text
        return f" {text} " if self.blanks and text else text


PLAIN = Way("utf-8", ",", "\n", *[False] * 5, 0, capitals=False, cut_end=False)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252")
FLAG = st.booleans()
WAYS = st.builds(
    Way,
    encoding=st.sampled_from(ENCODINGS),
    separator=st.sampled_from(",;\t"),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    decimal_comma=FLAG,
    says_separator=FLAG,
    quoted=FLAG,
    blanks=FLAG,
    blank_rows=FLAG,
    more_columns=st.integers(0, 2),
    capitals=FLAG,
    cut_end=FLAG,
)

SUMMARY = """{"ambiseg": "1", "run": "r", "method": "m", "weights_hash": "w", "calibrated": null, "trained_on": "d",
"data": "d", "data_hash": "d", "split": "test", "cases": 2, "crop": [8, 8], "spacing_mm": null, "known_odds": false,
"scored": null, "samples": 16, "seed": 0, "estimators": {}, "weights": "draws"}"""


def stored(path: Path) -> Any:
    """What is read of an evaluation's cases."""
    (path.parent / "summary.json").write_text(SUMMARY)
    found = read_evaluation(path.parent, "test")
    return found.rows, found.patients, {name: values.tolist() for name, values in found.scores.items()}


READERS: dict[str, tuple[str, Callable[[Path], Any], list[list[str | float]], bool]] = {
    # the file's name, its reader, its rows, whether the columns' names may be in capitals
    "splits": (
        "s.csv", read_splits, [["patient", "split"], ["Müller; Å", "train"], ["b, c", "val"], ['"d"', "test"]], True,
    ),
    "cases": (
        "c.csv",
        find_cases,
        [["case", "patient", "image", "mask_1", "mask_2"], ["é", "Müller", "a b/i.nii", "m.nii", ""], ["2", "", "j", "", "m,"]],
        True,
    ),
    "patients": ("patients.csv", read_patients, [["file", "patient"], ["a/b.png", "Å, b"], ["ü.png", "c;d"]], True),
    "slices": (
        "slices.csv",
        lambda path: read_facts(path.parent),
        [
            [
                *("patient_id", "nodule", "slice", "series_instance_uid", "pixel_spacing_mm", "slice_thickness_mm"),
                *("z_position_mm", "crop_row0", "crop_col0", "pylidc_ann_0", "malignancy_0"),
            ],
            ["LIDC-IDRI-0001", "0", "1", "1.2.3", 0.703125, "2", -122.5, "302", "252", "84", "5"],
            ["LIDC-IDRI-0002", "0", "1", "", "", "", "", "", "", "", ""],
        ],
        False,
    ),
    "points": (
        "p.csv",
        lambda path: read_points(path, ["scan ä"]),
        [["x", "y", "z", "name", "scan"], [1.5, -2.25, 3.0, "links, oben", "scan ä"], [-4.0, 5.0, 1e-3, "", "other"]],
        True,
    ),
    "LUNA16": (
        "p.csv",
        lambda path: read_points(path, ["1.2"]),
        [["seriesuid", "coordX", "coordY", "coordZ", "class"], ["1.2", 1.5, -2.25, 3.0, "1"], ["1.3", 1.0, 2.0, 3.0, "0"]],
        False,
    ),
    "published": (
        "t.csv",
        lambda path: read_published(path),
        [["method", "ged16", "ged100", "readers", "note"], ["A; b", 0.25, 0.125, "4", "ü"], ["B", 0.5, "-", "", "a, b"]],
        True,
    ),
    "evaluated cases": (
        "cases.csv", stored, [["row", "patient", "ged16_v"], ["0", "Müller", 0.25], ["1", "'=1+1", 0.5]], False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", READERS)
@given(way=WAYS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_table_reads_the_same_however_it_was_written(kind: str, way: Way, tmp_path: Path) -> None:
    name, read, rows, any_case = READERS[kind]
    way = way if any_case else Way(**{**vars(way), "capitals": False})
    (tmp_path / name).write_bytes(PLAIN.written(rows))
    expected = read(tmp_path / name)
    (tmp_path / name).write_bytes(way.written(rows))
    assert read(tmp_path / name) == expected


def test_what_is_read_is_what_was_meant(tmp_path: Path) -> None:
    found = {}
    for kind, (name, read, rows, _) in READERS.items():
        folder = tmp_path / kind
        folder.mkdir()
        (folder / name).write_bytes(PLAIN.written(rows))
        found[kind] = read(folder / name)
    assert found["splits"] == {"Müller; Å": "train", "b, c": "val", '"d"': "test"}
    assert [(case.name, case.patient) for case in found["cases"]] == [("2", "2"), ("é", "Müller")][::-1]
    assert found["cases"][0].masks[1] is None
    assert found["patients"] == {"a/b.png": "Å, b", "ü.png": "c;d"}
    (key, fact), *none = found["slices"].items()
    assert key == ("LIDC-IDRI-0001", 0, 1)
    assert (fact.z_mm, fact.spacing_mm, fact.provenance["marks"]) == (-122.5, (0.703125, 0.703125), "84")
    assert none == []
    assert found["points"] == [((1.5, -2.25, 3.0), "links, oben")]
    assert found["LUNA16"] == [((-1.5, 2.25, 3.0), "")]
    first, second = found["published"]
    assert (first.method, first.ged[16].value, second.readers, second.rest) == ("A; b", 0.25, 4, {"note": "a, b"})
    assert found["evaluated cases"] == (("0", "1"), ("Müller", "=1+1"), {"ged16_v": [0.25, 0.5]})


def test_a_compressed_table_of_shards_is_read(tmp_path: Path) -> None:
    name, read, rows, _ = READERS["slices"]
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(PLAIN.written(rows)))
    assert list(read(tmp_path / name)) == [("LIDC-IDRI-0001", 0, 1)]


def test_patients_compare_without_blanks_at_their_ends(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("patient,split\n a ,train\nb,val\n")
    assert assign_splits(["a", " b"], 0, split_file=tmp_path / "s.csv") == {"a": "train", " b": "val"}


def test_a_comma_in_a_number_among_commas_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text('x,y,z\n"1,5",2,3\n')
    with pytest.raises(Exception, match=r"p\.csv, line 2, column 'x': expected a number such as 1\.5, got '1,5'"):
        read_points(tmp_path / "p.csv", ["scan"])
    assert np.isfinite(read_points_of(tmp_path, "x;y;z\n1,5;2;3\n")).all()


def read_points_of(folder: Path, text: str) -> list[float]:
    (folder / "p.csv").write_text(text)
    (((x, y, z), _),) = read_points(folder / "p.csv", ["scan"])
    return [x, y, z]
