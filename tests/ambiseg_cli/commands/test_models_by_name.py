"""Models by their names: evaluated, compared, drawn, exported and calibrated without a run, and found again by name."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ambiseg.models.runs.training_list import TrainingList
from ambiseg.preprocessing.store.store import Store

Command = Callable[..., tuple[int, str, str]]
FAST = ("--limit", "6", "--samples", "16")


@pytest.fixture(autouse=True)
def shared(
    ambiseg: Command,
    made_run: Callable[..., Path],
    known_truth: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """An installed model `shared`, an empty working folder, and no shipped model."""
    monkeypatch.setenv("AMBISEG_MODELS", str(tmp_path / "installed"))
    monkeypatch.setattr("ambiseg.models.bundle.installed.SHIPPED", tmp_path / "shipped")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    run = made_run(data=known_truth)
    TrainingList.of(known_truth).write(run)
    assert ambiseg("model", "export", run, "-o", "m.zip", "--licence", "MIT")[0] == 0
    assert ambiseg("model", "install", "m.zip", "--name", "shared")[0] == 0
    return run


@pytest.fixture
def data(known_truth: Store) -> tuple[str, str]:
    """The option that names the data."""
    return "-d", str(known_truth.path)


def test_a_name_is_evaluated_and_compared(ambiseg: Command, shared: Path, data: tuple[str, str]) -> None:
    code, _, err = ambiseg("compare", "shared", shared)
    assert (code, "shared has not been evaluated on 'test' here: run `ambiseg evaluate shared`" in err) == (3, True)
    code, out, err = ambiseg("evaluate", "shared", *data, *FAST, "--no-report", "--json")
    assert (code, "Warning" in err) == (0, False)
    assert json.loads(out)["seen"]["crops"] == 0
    assert Path("shared-evaluation-test/summary.json").is_file()
    assert ambiseg("evaluate", shared, *data, *FAST, "--no-report")[0] == 0
    code, out, err = ambiseg("compare", "shared", shared, "--json")
    assert code == 0, err
    assert json.loads(out)["cases"] == 6
    assert ambiseg("model", "verify", "shared")[0] == 0


def test_a_split_that_trained_the_model_is_told(ambiseg: Command, data: tuple[str, str]) -> None:
    code, out, err = ambiseg("evaluate", "shared", *data, *FAST, "--split", "train", "--no-report", "--json")
    assert code == 0
    assert "Warning: 6 of 6 crops of train were in the model's training, 6 of 6 patients by their identifiers" in err
    assert json.loads(out)["seen"] == {"crops": 6, "of_crops": 6, "patients": 6, "of_patients": 6}


def test_a_zip_without_patients_has_the_images_alone(ambiseg: Command, shared: Path, data: tuple[str, str]) -> None:
    assert ambiseg("model", "export", shared, "-o", "n.zip", "--no-patients")[0] == 0
    assert ambiseg("model", "install", "n.zip", "--name", "nameless")[0] == 0
    out = ambiseg("evaluate", "nameless", *data, *FAST, "--split", "train", "--no-report", "--json")[1]
    assert json.loads(out)["seen"] == {"crops": 6, "of_crops": 6, "patients": 0, "of_patients": 6}


def test_a_calibrated_copy_is_found_by_its_name(
    ambiseg: Command, shared: Path, data: tuple[str, str], tmp_path: Path
) -> None:
    code, _, err = ambiseg("calibrate", "shared", *data, *FAST)
    assert (code, "shared is an installed model and stays as it is: give --output" in err) == (2, True)
    for model, name in (("shared", "ours"), (shared, "of-a-run")):
        code, _, err = ambiseg("calibrate", model, *data, *FAST, "-o", name, "--even-if-worse")
        assert code == 0, err
        assert f"Use it: ambiseg predict SCAN --model {name}" in err
        assert ambiseg("model", "verify", name)[0] == 0
        out = ambiseg("evaluate", name, *data, *FAST, "--no-report", "--json")[1]
        fitted = json.loads((tmp_path / "installed" / name / "calibration.json").read_text())
        assert json.loads(out)["calibrated"]["slices"] == fitted["slices"]
        assert json.loads(out)["seen"]["of_crops"] == 6
    assert not (shared / "calibration.json").exists()
    assert "Calibrated again" in (tmp_path / "installed" / "ours" / "README.md").read_text()
    code, _, err = ambiseg("calibrate", "shared", *data, *FAST, "-o", "ours")
    assert (code, "exists already: choose another --output, or give --overwrite" in err) == (2, True)
    assert ambiseg("calibrate", "shared", *data, *FAST, "-o", "./here", "--even-if-worse")[0] == 0
    assert Path("here/calibration.json").is_file()


def test_what_got_worse_is_told_and_not_used(
    ambiseg: Command, shared: Path, data: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ambiseg("calibrate", shared, *data, *FAST, "--even-if-worse")[0] == 0
    before = (shared / "calibration.json").read_bytes()
    monkeypatch.setattr(
        "ambiseg.models.calibration.calibrate_run.Check.worse", lambda self: {"slices": ["top_ece", "nll"]}
    )
    code, _, err = ambiseg("calibrate", shared, *data, *FAST, "--seed", "3")
    assert code == 0
    assert "Warning: Calibration made this worse on test: ECE of the top hypothesis of slices" in err
    assert "The model does not use it; only its check is in" in err
    assert "all the same with --even-if-worse" in err
    assert (shared / "calibration.json").read_bytes() == before
    check = json.loads((shared / "calibration" / "check.json").read_text())
    assert (check["used"], check["worse"]) == (False, {"slices": ["top_ece", "nll"]})
    code, _, err = ambiseg("calibrate", "shared", *data, *FAST, "-o", "worse")
    assert (code, "nothing was saved" in err, (tmp_path / "installed" / "worse").exists()) == (0, True, False)
    assert ambiseg("calibrate", shared, *data, *FAST, "--seed", "3", "--even-if-worse")[0] == 0
    assert (shared / "calibration.json").read_bytes() != before


def test_a_gallery_of_a_name_lies_beside_it(ambiseg: Command, data: tuple[str, str]) -> None:
    code, _, err = ambiseg("gallery", "shared", *data, "--images", "1", "--kind", "latent")
    assert (code, "Written: shared-gallery.png" in err) == (0, True), err
