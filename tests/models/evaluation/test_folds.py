"""The folds of a cross-validation: each patient is judged once, by a model that has not seen them."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ambiseg.models.calibration import calibrate_run
from ambiseg.models.calibration.calibrate_run import calibrate_folds
from ambiseg.models.calibration.fitting import fit
from ambiseg.models.calibration.stated import Stated, Work
from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.evaluation.folds import Fold, evaluate_folds, open_folds, runs_in
from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.run_record import DataRecord, RunRecord
from ambiseg.models.runs.trained import Trained, load_trained
from ambiseg.models.training.loop import train
from ambiseg.preprocessing.errors import InputError
from ambiseg.preprocessing.sources.resplit import write_folds, write_split
from ambiseg.preprocessing.store.intensity import HOUNSFIELD
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store

CPU = torch.device("cpu")
TINY = ["data.crop=16", "options.widths=[6,8]", "options.convs=1", "steps=12", "batch=4", "validation.every=6"]
SIXTEEN = {"samples": 16, "seed": 3}


def train_on(store: Store, path: Path, *settings: str) -> Trained:
    config = make_config("gated", "small", None, [*TINY, "optimiser.warmup=0", *settings])
    record = RunRecord(version="test", torch=torch.__version__, device="cpu", config=config, data=DataRecord.of(store))
    train(Run.create(path, record), store, CPU)
    return load_trained(path, CPU)


def balls(path: Path) -> Store:
    """24 patients with a ball each on four slices, of which three readers mark discs of their own size; one marks few."""
    rng = np.random.default_rng(0)
    names = [f"p{number}" for number in range(24)]
    y, x = np.mgrid[:16, :16]
    with write_store(
        path, StoreInfo("balls", "made", HOUNSFIELD, same_readers=True), dict.fromkeys(names, "train")
    ) as writer:
        for patient in names:
            for z in range(4):
                disc = np.hypot(y - 8, x - 8)
                radii = rng.uniform(0, 5, 3) * (rng.random(3) < (0.9, 0.8, 0.3))
                image = np.where(disc < 4, -300, -900) + rng.integers(0, 50, disc.shape)
                masks = np.stack([disc < radius for radius in radii]).astype(np.uint8)
                place = {"lesion": "1", "slice": z, "z_mm": 2.0 * z, "spacing_mm": (0.7, 0.7)}
                writer.add(Crop(image[None].astype(np.int16), masks, patient, patient, **place))
    return Store.open(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of three folds, and one on all patients."""
    folder = tmp_path_factory.mktemp("cross-validation")
    store = balls(folder / "store")
    for fold in write_folds(store, folder / "data", 3):
        train_on(fold, folder / "runs" / fold.path.name)
    everybody = write_split(store, folder / "everybody", (1, 0, 0))
    train_on(everybody, folder / "whole", "validation.monitor=none", "seed=5")
    return folder


@pytest.fixture
def whole(made: Path) -> Trained:
    return load_trained(made / "whole", CPU, calibrated=False)


@pytest.fixture
def folds(made: Path, whole: Trained) -> list[Fold]:
    return open_folds(runs_in(made / "runs"), whole, CPU)


def test_every_patient_is_judged_once_by_the_run_that_did_not_see_them(whole: Trained, folds: list[Fold]) -> None:
    found = evaluate_folds(whole, folds, **SIXTEEN)
    apart = [evaluate(fold.trained, fold.store, "test", **SIXTEEN) for fold in folds]
    assert {case.index["patient"] for case in found.cases} == {row.patient for row in folds[0].store.index}
    assert sorted(int(case.index["row"]) for case in found.cases) == sorted(
        int(case.index["row"]) for one in apart for case in one.cases
    )
    assert len({case.index["row"] for case in found.cases}) == len(found.cases) == found.about.cases
    expected = np.nanmean([case.scores["ged16_v"] for one in apart for case in one.cases])
    assert found.figures["ged16_v"].mean == pytest.approx(expected)
    assert found.lesions is not None
    assert len(found.lesions.cases) == sum(len(one.lesions.cases) for one in apart if one.lesions)
    about = found.about
    assert (about.split, about.weights_hash, about.seen) == ("folds", whole.weights_hash, None)
    assert about.data_hash == whole.record.data.content_hash
    assert about.notes[0].startswith("Out of fold: these are figures of 3 models of the same settings")


def test_a_calibration_is_fitted_on_all_folds_and_checked_on_each_with_the_others(
    whole: Trained, folds: list[Fold], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted_on = []

    def watched(events):
        fitted_on.append({event.patient for event in events})
        return fit(events)

    monkeypatch.setattr(calibrate_run, "fit", watched)
    found, check = calibrate_folds(whole, folds, samples=16)
    patients = [{fold.store.index[row].patient for row in fold.store.rows("test")} for fold in folds]
    everybody = set().union(*patients)
    assert fitted_on[0] == everybody
    assert fitted_on[2::2] == [everybody - own for own in patients]  # slices; the lesions of each come next
    stated = Stated.of(
        [Work(fold.trained, fold.store, "test", 16, 0, None, lambda done, total: None) for fold in folds]
    )
    assert found.calibration.slices == fit([one for events in stated.slices for one in events]).numbers
    assert (found.calibration.split, found.calibration.weights_hash) == ("folds", whole.weights_hash)
    assert check.slices.patients == len(everybody)
    assert check.slices.cases == sum(map(len, stated.slices))
    assert check.lesions is not None
    assert check.lesions.cases == sum(map(len, stated.lesions))


def test_what_is_no_cross_validation_of_the_model_is_refused(
    made: Path, whole: Trained, folds: list[Fold], tmp_path: Path
) -> None:
    def refused(words: str, folder: Path = made / "runs", model: Trained = whole) -> None:
        with pytest.raises(InputError, match=words):
            open_folds(runs_in(folder), model, CPU)

    refused("Got 1 run of a cross-validation, expected two or more", made)
    refused("is the model itself", model=folds[1].trained)
    other = whole.record.model_copy(update={"config": whole.record.config.model_copy(update={"steps": 99})})
    refused(r"was trained with other settings \(steps\) than whole", model=replace(whole, record=other))
    twice = tmp_path / "twice"
    for name in ("one", "two"):
        shutil.copytree(made / "runs" / "fold-1", twice / name)
    refused("patients in the test split of .* are in that of another fold, too", twice)
    leaked = tmp_path / "leaked"
    shutil.copytree(made / "runs", leaked)
    shutil.copy(made / "whole" / "trained_on.json", leaked / "fold-2" / "trained_on.json")
    refused("fold-2 is no fold of a cross-validation: .* were in the model's training", leaked)


def test_the_commands_and_the_card_say_what_the_figures_are(
    made: Path, ambiseg: Callable[..., tuple[int, str, str]]
) -> None:
    model = made / "whole"
    assert ambiseg("evaluate", model, "--fold-runs", made / "runs", "--samples", 16)[0] == 0
    assert ambiseg("calibrate", model, "--fold-runs", made / "runs", "--samples", 16, "--even-if-worse")[0] == 0
    assert ambiseg("model", "export", model, "-o", made / "whole.zip", "--overwrite")[0] == 0
    card = made / "card"
    shutil.unpack_archive(made / "whole.zip", card)
    text = next(card.rglob("README.md")).read_text(encoding="utf-8")
    assert "Out of fold: these are figures of 3 models of the same settings" in text
    assert "Fitted out of fold, on patients that the models of a cross-validation did not see, 16 masks each" in text
    assert "trained on every patient of its data: none is left on which it could be judged itself" in text
    code, _, error = ambiseg("evaluate", model, "--fold-runs", made / "runs", "--split", "val", "--whole")
    assert code
    assert "With --fold-runs, which are judged on their own test splits, leave out --split, --whole." in error
    code, _, error = ambiseg("calibrate", model, "--fold-runs", made / "runs", "--check", "val")
    assert code
    assert "leave out --check" in error
