"""No cell written for people is a formula, and reading back gives what was written."""

import csv
from pathlib import Path

import pytest

from ambiseg.models.audit.audit_published import audit, write_audits
from ambiseg.models.audit.published_figures import read_published
from ambiseg.models.evaluation.case_table import write_csv
from ambiseg.models.evaluation.stored import _cases as read_cases
from ambiseg.models.prediction.content import table
from ambiseg.models.prediction.document import Document, HypothesisEntry, LesionEntry
from ambiseg.preprocessing.failures import CaseFailure, write_failures
from ambiseg.preprocessing.tables import as_meant, write_table

FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "'=1", "=1\n2", "＝1")


def cells(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def document(name: str) -> Document:
    """A document of which the table needs the lesions alone: one, with a hypothesis."""
    size = {"volume_mm3": 0.5, "long_axis_mm": 0.5, "short_axis_mm": 0.5, "slices": 1}
    told = {
        "probability": 0.5,
        "interval": None,
        "agreement": 0.5,
        "empty": False,
        "cut_off": False,
        "at_border": False,
    }
    files = {"probability": "probability.nii.gz", "entropy": "entropy.nii.gz", "aleatoric": None, "preview": None}
    lesion = LesionEntry(
        **{"number": 1, "folder": "", "name": name, "centre_mm": (-35.0, 1.0, 2.0), "overlaps": [], **files},
        score=None,
        no_lesion=0.1,
        ambiguity=None,
        residual=0.0,
        draws=None,
        hypotheses=[HypothesisEntry(**{"rank": 1, "file": "hyp_01.nii.gz", **size, **told})],
    )
    return Document.model_construct(lesions=[lesion])


@pytest.mark.parametrize("name", FORMULAS)
def test_names_are_inert_in_every_table(name: str, tmp_path: Path) -> None:
    write_failures(tmp_path / "failures.csv", [CaseFailure(name, name)])
    (tmp_path / "hypotheses.csv").write_text(table(document(name)), newline="")
    write_csv({"row": [0], "patient": [name], "case": [name], "ged": [-0.5]}, tmp_path / "cases.csv")
    write_table(tmp_path / "rows.csv", [{"entry": name, "figure": -0.5}], ["entry", "figure"], for_people=True)
    for path in tmp_path.glob("*.csv"):
        found = [cell for row in cells(path)[1:] for cell in row]
        assert "'" + name in found, path.name
        assert not [cell for cell in found if cell[:1] in "=+@\t＝" and cell], path.name
    assert "-35.0" in (tmp_path / "hypotheses.csv").read_text()
    assert "-0.5" in (tmp_path / "cases.csv").read_text()


@pytest.mark.parametrize("name", [one for one in FORMULAS if one == one.strip()])
def test_cases_are_read_back_as_they_were(name: str, tmp_path: Path) -> None:
    write_csv({"row": [0], "patient": [name]}, tmp_path / "cases.csv")
    assert as_meant(read_cases(tmp_path / "cases.csv").rows[0]["patient"]) == name


@pytest.mark.parametrize("name", [one for one in FORMULAS if one == one.strip()])
def test_an_audit_names_methods_inertly(name: str, tmp_path: Path) -> None:
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["method", "ged16", "ged100", "note"], [name, "0.25", "0.2", name]])
    write_audits(tmp_path / "audit.csv", [audit(row) for row in read_published(tmp_path / "t.csv")])
    (row,) = cells(tmp_path / "audit.csv")[1:]
    assert row.count("'" + name) == 2
