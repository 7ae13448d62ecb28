"""`ambiseg calibrate` from a run on disk to the probabilities that predict and evaluate give; wrong uses in one sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ambiseg.preprocessing.store.store import Store

Command = Callable[..., tuple[int, str, str]]
TRAINING = (
    "--method", "probunet", "--preset", "known-truth", "--steps", "2", "--batch", "2", "--set", "validation.limit=4",
    "--set", "data.crop=16", "--set", "options.widths=[4,6]", "--set", "options.convs=1",
)  # fmt: skip


@pytest.fixture
def run(ambiseg: Command, known_truth: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run trained for two steps, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    code, _, err = ambiseg("train", "-d", str(known_truth.path), *TRAINING, "-o", "runs/toy")
    assert code == 0, err
    return tmp_path / "runs" / "toy"


@pytest.mark.drawn
def test_what_is_fitted_is_stored_shown_and_used(ambiseg: Command, run: Path) -> None:
    code, out, err = ambiseg("calibrate", "--limit", "8", "--samples", "16")
    assert code == 0, err
    for words in (
        "Fitted on val: 8 slices",
        "patients left out",
        "On test: 8 slices",
        "ECE of hypotheses",
        "Credible sets",
    ):
        assert words in out
    assert "Note: the fit is on only" in err
    stored = json.loads((run / "calibration.json").read_text())
    check = json.loads((run / "calibration" / "check.json").read_text())
    assert check["fitted"] == stored
    assert (run / "calibration" / "reliability.png").read_bytes().startswith(b"\x89PNG")
    code, out, _ = ambiseg("evaluate", str(run), "--limit", "4", "--samples", "16", "--no-report", "--json")
    assert code == 0
    assert json.loads(out)["calibrated"]["slices"] == stored["slices"]


def test_json_is_what_the_file_holds(ambiseg: Command, run: Path) -> None:
    code, out, _ = ambiseg("calibrate", str(run), "--limit", "6", "--samples", "16", "--json", "--seed", "3")
    assert code == 0
    assert json.loads(out) == json.loads((run / "calibration" / "check.json").read_text())
    assert json.loads(out)["slices"]["before"]["figures"]["nll"]["cases"] == 6


def test_a_second_fit_starts_from_the_models_own_probabilities(ambiseg: Command, run: Path) -> None:
    """A stale or damaged calibration does not stand in the way of a new one, and changes nothing of it."""
    ambiseg("calibrate", str(run), "--limit", "6", "--samples", "16")
    first = (run / "calibration.json").read_bytes()
    ambiseg("calibrate", str(run), "--limit", "6", "--samples", "16")
    assert (run / "calibration.json").read_bytes() == first
    (run / "calibration.json").write_text("{}")
    code, _, err = ambiseg("evaluate", str(run), "--limit", "4", "--samples", "16", "--no-report")
    assert code == 4
    assert "run `ambiseg calibrate" in err
    assert ambiseg("calibrate", str(run), "--limit", "6", "--samples", "16")[0] == 0
    assert (run / "calibration.json").read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--check", "val"), 2, "so a check on 'val' shows nothing"),
        (("--check", "tset"), 3, "No split 'tset'"),
        (("--limit", "0"), 2, "--limit must be at least 1"),
        (("--limit", "1"), 4, "at least two patients, got 1"),
        (("--samples", "0"), 2, "samples"),
        (("-d", "nowhere"), 3, "nowhere"),
    ],
)
def test_wrong_uses_are_named_and_leave_nothing(
    ambiseg: Command, run: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    found, _, err = ambiseg("calibrate", str(run), "--samples", "16", *arguments)
    assert found == code
    assert words in err
    assert not (run / "calibration.json").exists()
    assert not (run / "calibration").exists()
