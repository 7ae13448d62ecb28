"""`ambiseg growth`: from two predictions of one lesion to probabilities of change; what cannot be compared is named."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Command = Callable[..., tuple[int, str, str]]
HALVES = {0.0: 0.2, 100.0: 0.4, 200.0: 0.4}
GROWN = {0.0: 0.1, 150.0: 0.5, 180.0: 0.4}


def prediction(
    folder: Path, volumes: dict[float, float], *, weights: str = "a", lesions: int = 1, **lesion: object
) -> None:
    """A prediction's documents with the masks of these volumes and weights."""
    folder.mkdir()
    entry = {
        "folder": "", "name": "", "centre_mm": [0, 0, 0], "score": None, "no_lesion": volumes.get(0.0, 0.0), "ambiguity": 0.3,
        "residual": 0, "draws": None, "probability": "probability.nii.gz", "entropy": "entropy.nii.gz", "aleatoric": None,
        "preview": None, "hypotheses": [], "overlaps": [], "sizes": "sizes.csv",
    }  # fmt: skip
    document = {
        "schema": 4, "program": "ambiseg 0", "calibration": None, "warnings": [], "notes": [], "found_by": "given",
        "model": {"name": "m", "method": "gated", "weights_sha256": weights * 64, "data_sha256": "b" * 64},
        "settings": {"top": 8, "draws": 256, "depth_mm": None, "seed": 0}, "classes": ["background", "lesion"],
        "scan": {"voxels": [9, 9, 9], "spacing_mm": [1, 1, 1]},
        "lesions": [{**entry, "number": number + 1, **lesion} for number in range(lesions)],
    }  # fmt: skip
    (folder / "hypotheses.json").write_text(json.dumps(document))
    rows = "".join(f"{weight},{volume}\n" for volume, weight in volumes.items())
    (folder / "sizes.csv").write_text("weight,volume_mm3\n" + rows)


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prediction(Path("one"), HALVES)
    prediction(Path("two"), GROWN)


@pytest.mark.usefixtures("pair")
def test_the_change_is_stated_under_both_assumptions(ambiseg: Command) -> None:
    code, out, _ = ambiseg("growth", "one", "two", "--days", "90")
    assert code == 0
    content = json.loads(Path("growth/growth.json").read_text())
    (step,) = content["steps"]
    independent, ranked = step["changes"]
    assert [entry["assumption"] for entry in step["changes"]] == ["independent", "same rank"]
    assert independent["both"] == pytest.approx(0.8 * 0.9)
    assert independent["grown"] == pytest.approx(0.5)  # all masks of 100 mm3
    assert independent["shrunk"] == pytest.approx(0.5 * 0.5 / 0.9, abs=1e-6)  # 200 to 150
    assert ranked["both"] == pytest.approx(0.8)
    assert (ranked["vanished"], ranked["appeared"]) == (0, pytest.approx(0.1))
    assert ranked["grown"] == pytest.approx(0.5)
    assert ranked["doubling_days"]["high_90"] == pytest.approx(90 * np.log(2) / np.log(1.5), abs=0.1)
    assert ranked["doubling_days"]["low_90"] is None  # it shrinks
    assert "independent" in out
    assert "same rank" in out
    with Path("growth/growth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["grown"]) for row in rows] == [independent["grown"], ranked["grown"]]
    assert Path("growth/growth.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("pair")
def test_several_times_are_compared_with_the_first_and_with_the_one_before(ambiseg: Command) -> None:
    prediction(Path("three"), {300.0: 1.0})
    code, out, _ = ambiseg("growth", "one", "two", "three", "--days", "90", "--days", "200.5", "--json", "-o", "g")
    assert code == 0
    content = json.loads(out)
    assert [(step["earlier"], step["later"], step["days"]) for step in content["steps"]] == [
        (0, 1, 90), (0, 2, 200.5), (1, 2, 110.5),
    ]  # fmt: skip
    assert content == json.loads(Path("g/growth.json").read_text())


@pytest.mark.usefixtures("pair")
def test_the_same_predictions_give_the_same_bytes_in_any_order_of_their_masks(ambiseg: Command) -> None:
    ambiseg("growth", "one", "two", "--days", "90", "-o", "a")
    shutil.rmtree("two")
    prediction(Path("two"), dict(reversed(GROWN.items())))
    ambiseg("growth", "one", "two", "--days", "90", "-o", "b")
    for name in ("growth.json", "growth.csv"):
        assert (Path("a") / name).read_bytes() == (Path("b") / name).read_bytes()


@pytest.mark.usefixtures("pair")
def test_what_makes_a_change_doubtful_is_said(ambiseg: Command) -> None:
    prediction(Path("other"), GROWN, weights="c")
    _, _, err = ambiseg("growth", "one", "other", "--days", "90")
    assert "are of different models" in " ".join(err.split())
    assert "not calibrated" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["one", "two", "--days", "0"], "--days: expected ascending numbers above 0"),
        (["one", "two", "one", "--days", "90", "--days", "30"], "above 0, the earliest scan first, got 90, 30"),
        (["one", "two", "--days", "9", "--days", "30"], r"expected one number for each prediction after the first (1), got 2"),
        (["one", "--days", "9"], "Expected at least two predictions or scans, got 1"),
        (["one", "nowhere", "--days", "9"], "No file or folder nowhere"),
        (["one", "many", "--days", "9"], "many has lesions 1 to 2: give one --lesion for each prediction"),
        (["one", "many", "--days", "9", "--lesion", "1", "--lesion", "3"], "many has no lesion 3: expected one of 1, 2"),
        (["one", "many", "--days", "9", "--lesion", "1"], "expected one number for each prediction (2), got 1"),
        (["one", "old", "--days", "9"], "was written by an earlier version, without sizes.csv"),
        (["one", "flat", "--days", "9"], "has no column volume_mm3"),
        (["one", "broken", "--days", "9"], "is damaged: expected weights that sum to 1"),
        (["one", "two", "--days", "9", "--growth", "1.5"], "Expected a --growth between 0 and 1"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("pair")
def test_what_cannot_be_compared_is_named_and_nothing_is_written(
    ambiseg: Command, arguments: list[str], says: str
) -> None:
    prediction(Path("many"), GROWN, lesions=2)
    prediction(Path("old"), GROWN, sizes=None)
    prediction(Path("flat"), GROWN)
    (Path("flat") / "sizes.csv").write_text("weight,area_mm2\n1,10\n")
    prediction(Path("broken"), GROWN)
    (Path("broken") / "sizes.csv").write_text("weight,volume_mm3\n0.4,10\n")
    code, _, err = ambiseg("growth", *arguments)
    assert code != 0
    assert says in " ".join(err.split())
    assert not Path("growth").exists()
