"""`ambiseg compare`: the table, the files, the refusals as exit codes."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.drawn


@pytest.fixture
def runs(stored_run, tmp_path, monkeypatch):
    """Three runs of 24 cases and 12 patients below the current folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    patients = [f"p{case // 2}" for case in range(24)]
    base = {name: rng.uniform(0.2, 0.6, 24) for name in ("ged16_v", "ged16_u", "hm_iou16", "top_dice", "best_dice")}
    return [
        stored_run(
            name,
            patients=patients,
            **{figure: (values + shift + rng.normal(0, 0.02, 24)).tolist() for figure, values in base.items()},
        )
        for name, shift in (("probunet", 0), ("modal", -0.05), ("generalized", 0.001))
    ]


def test_table_files_and_pictures(ambiseg, runs):
    code, printed, noted = ambiseg("compare", *runs)
    assert code == 0
    assert "blobs (dddddddddddd), test: 24 cases of 12 patients" in printed
    folder = Path("comparisons/probunet-vs-modal-vs-generalized")
    assert sorted(os.listdir(folder)) == [
        "comparison.csv", "comparison.json", "comparison.png", "comparison.svg", "distribution.png", "distribution.svg",
        "report.html",
    ]  # fmt: skip
    assert f"Written: {folder}/report.html" in noted
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    drawn = (folder / "comparison.svg").read_text(encoding="utf-8")
    assert "probunet → modal" in drawn
    assert "first: probunet, second: modal" in printed
    assert "against" not in printed + drawn
    assert "best_dice" in drawn


def test_json_is_what_is_written(ambiseg, runs, tmp_path):
    code, printed, _ = ambiseg("compare", *runs, "--json", "--all-pairs", "-f", "ged16_v", "-o", tmp_path / "here")
    assert code == 0
    found = json.loads(printed)
    assert found == json.loads((tmp_path / "here" / "comparison.json").read_text())
    assert [(row["first"], row["second"]) for row in found["differences"]] == [
        ("probunet", "modal"), ("probunet", "generalized"), ("modal", "generalized"),
    ]  # fmt: skip
    assert found["differences"][0]["significant"]
    assert found["differences"][0]["better"] == "modal"


def test_same_runs_same_files(ambiseg, runs, tmp_path):
    for name in ("a", "b"):
        assert ambiseg("-q", "compare", *runs[:2], "-o", tmp_path / name)[0] == 0
    for file in os.listdir(tmp_path / "a"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_a_place_that_cannot_be_written_is_told(ambiseg, runs, tmp_path):
    (tmp_path / "taken").write_text("mine")
    code, _, said = ambiseg("compare", *runs[:2], "-o", tmp_path / "taken" / "here")
    assert (code, "Cannot make the folder" in said) == (6, True)
    assert (tmp_path / "taken").read_text() == "mine"


def test_one_patient_draws_too(ambiseg, stored_run, tmp_path):
    pair = [stored_run(name, ged16_v=[value]) for name, value in (("a", 0.5), ("b", 0.5))]
    code, printed, _ = ambiseg("compare", *pair, "-f", "ged16_v", "-o", tmp_path / "out")
    assert code == 0
    assert "With 1 patient and one test no corrected p can go below 1" in printed


def test_refusals_have_exit_codes(ambiseg, stored_run, runs, tmp_path):
    other = stored_run("other", ged16_v=[0.5] * 24, about={"data_hash": "e" * 64})
    code, _, said = ambiseg("compare", runs[0], other, "-f", "ged16_v")
    assert (code, "differ in their data" in said) == (4, True)
    code, _, said = ambiseg("compare", runs[0])
    assert (code, "needs two runs or more, got 1" in said) == (2, True)
    code, _, said = ambiseg("compare", *runs[:2], "-f", "ged")
    assert (code, "There is no figure 'ged'" in said) == (2, True)
    code, _, said = ambiseg("compare", *runs[:2], "--split", "val")
    assert (code, "is neither a run nor an evaluation" in said) == (3, True)
