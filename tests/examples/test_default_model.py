"""examples/studies/default_model: the search keeps the better recipes, folds judge every patient once, and again is quick."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import against
import numpy as np
import pytest
import study
import torch
from out_of_fold import FIGURES, JUDGED
from recipes import RECIPES, recipe

from ambiseg.models.benchmarks.trials.entries import Entry
from ambiseg.models.benchmarks.trials.notes import read_notes
from ambiseg.models.benchmarks.trials.trials import Trial
from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.evaluation.stored import read_evaluation
from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.trained import load_trained
from ambiseg.models.training.loop import train
from ambiseg.preprocessing.errors import InputError
from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
from ambiseg.preprocessing.store.intensity import HOUNSFIELD
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store
from ambiseg.preprocessing.tables import read_table
from ambiseg.preprocessing.work.engine import InProcess

PATIENCE = 240.0
SMALL = {"data.crop": 16, "batch": 4, "validation.limit": 2}


def tiny(name: str, heads: int) -> Entry:
    return Entry(name, "mheads", {"widths": [2, 4], "convs": 1, "heads": heads}, SMALL)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_known_truth(tmp_path_factory.mktemp("made") / "store", crops=120, size=16)


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Forty lesions of two slices each, two per patient; a reader marks nothing, or a square of some size."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("made") / "lesions"
    splits = {f"p{number:02d}": ("train", "val", "test")[number % 3] for number in range(20)}
    with write_store(path, StoreInfo("lesions", "test", HOUNSFIELD, same_readers=True), splits) as writer:
        for number in range(40):
            sides = rng.integers(0, 5, 4)
            for z in range(2):
                masks = np.zeros((4, 16, 16), np.uint8)
                for mask, side in zip(masks, sides, strict=True):
                    mask[8 - side : 8 + side, 8 - side : 8 + side] = 1
                image = rng.normal(0, 100, (1, 16, 16)).astype(np.int16)
                patient, place = f"p{number // 2:02d}", {"slice": z, "z_mm": 2.5 * z, "spacing_mm": (0.5, 0.5)}
                writer.add(Crop(image, masks, patient, patient, lesion=str(number), **place))
    return Store.open(path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials are done in this process: another takes seconds to start."""
    monkeypatch.setattr(study, "LocalProcesses", lambda workers: InProcess())


@pytest.mark.parametrize("entry", RECIPES, ids=lambda entry: entry.name)
def test_recipes_are_settings_that_exist(entry: Entry) -> None:
    entry.config("small", 0, [], {"steps": 10})
    if entry.name != "base":
        assert entry.config("small", 0, [], {}) != recipe("base").config("small", 0, [], {})


def test_the_base_is_the_model_that_comes_with_ambiseg() -> None:
    from ambiseg.models.bundle.find import find_model
    from ambiseg.models.runs.run_folder import Run

    shipped = Run.open(find_model("lidc-gated")).record.config
    ours = recipe("base").config(
        "small", 0, [], {"steps": shipped.steps, "validation.every": 500, "validation.limit": 400}
    )
    assert ours.method == shipped.method == make_config("gated", "small").method
    for part in ("options", "data", "augment", "optimiser"):
        mine, theirs = (getattr(one, part) for one in (ours, shipped))
        held = theirs if part == "options" else dict(theirs)
        assert {name: dict(mine)[name] for name in held} == held, part


def test_a_search_keeps_the_better_recipes_and_the_first(store: Store, tmp_path: Path) -> None:
    entries = [tiny("two", 2), tiny("three", 3), tiny("four", 4)]
    rounds = [study.Round(2, seeds=1, kept=1), study.Round(4, seeds=2, kept=1)]
    asked = study.Study(store, tmp_path, workers=1, limit=2)
    for _ in range(2):
        study.search(asked, entries, rounds)
        rows = read_table(tmp_path / "search.csv", "one row per recipe and round").rows
        one, two = ([row for row in rows if row["round"] == number] for number in "12")
        assert {row["recipe"] for row in one if row["kept"] == "1"} == {one[0]["recipe"], "two"}
        assert {row["recipe"] for row in two} == {one[0]["recipe"], "two"}
        assert {row["seeds"] for row in one} == {"1"}
        assert {row["seeds"] for row in two} == {"2"}
        for some in (one, two):
            scores = [float(row["score"]) for row in some]
            assert scores == sorted(scores)
        runs = list(tmp_path.rglob("run.json"))
        weights = sorted(file.stat().st_mtime_ns for file in tmp_path.rglob("model.safetensors"))
    assert len(runs) == 3 + 2 * len(two)
    assert weights == sorted(file.stat().st_mtime_ns for file in tmp_path.rglob("model.safetensors"))


@pytest.mark.usefixtures("quick")
def test_a_search_keeps_what_it_is_told_to_keep(store: Store, tmp_path: Path) -> None:
    entries = [tiny("two", 2), tiny("three", 3), tiny("four", 4)]
    rounds = [study.Round(2, seeds=1, kept=1), study.Round(4, seeds=1, kept=1)]
    asked = study.Study(store, tmp_path, workers=1, limit=2)
    study.search(asked, entries, rounds, keep=["three", "four"])
    rows = read_table(tmp_path / "search.csv", "one row per recipe and round").rows
    assert {row["recipe"] for row in rows if row["round"] == "2"} == {"two", "three", "four"}
    with pytest.raises(SystemExit, match="No recipe 'five' is searched: expected two, three, four"):
        study.search(asked, entries, rounds, keep=["five"])


@pytest.mark.usefixtures("quick")
def test_recipes_from_several_seeds_use_the_first_rounds_runs(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "ROUNDS", [study.Round(2, seeds=1, kept=1)])
    entries = [tiny("two", 2), tiny("three", 3)]
    asked = study.Study(store, tmp_path, [0, 1], workers=1, limit=2)
    study.search(asked, entries, study.ROUNDS)
    first = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("model.safetensors")}
    study.from_all_seeds(asked, entries, 2)
    rows = read_table(tmp_path / "seeds.csv", "one row per recipe").rows
    assert {row["recipe"] for row in rows} == {"two", "three"}
    assert {(row["steps"], row["seeds"]) for row in rows} == {("2", "2")}
    assert len(list(tmp_path.rglob("model.safetensors"))) == 4
    assert all(file.stat().st_mtime_ns == time for file, time in first.items())
    for _ in range(2):
        study.from_all_seeds(asked, entries[:1], 3)
    rows = read_table(tmp_path / "seeds.csv", "one row per recipe").rows
    assert [(row["steps"], row["seeds"]) for row in rows] == [("2", "2"), ("2", "2"), ("3", "2")]
    assert len(list(tmp_path.rglob("model.safetensors"))) == 6


@pytest.mark.usefixtures("quick")
def test_folds_judge_every_crop_once(store: Store, tmp_path: Path) -> None:
    study.cross_validate(study.Study(store, tmp_path, [0], workers=1), [tiny("two", 2)], 2)
    (row,) = read_table(tmp_path / "folds.csv", "one row per recipe").rows
    assert (row["recipe"], row["steps"], row["folds"], row["seeds"], row["slices"]) == ("two", "2", "5", "1", "120")


@pytest.mark.usefixtures("quick")
def test_folds_of_other_numbers_of_steps_lie_beside_each_other(store: Store, tmp_path: Path) -> None:
    asked = study.Study(store, tmp_path, [0], workers=1)
    for steps in (2, 3, 2):
        study.cross_validate(asked, [tiny("two", 2)], steps)
    rows = read_table(tmp_path / "folds.csv", "one row per recipe and number of steps").rows
    assert sorted(row["steps"] for row in rows) == ["2", "3"]
    assert len(list(tmp_path.glob("folds/steps-*/fold-*/runs/two-seed0/run.json"))) == 10


@pytest.mark.usefixtures("quick")
def test_folds_judge_whole_lesions_with_their_own_calibration(lesions: Store, tmp_path: Path) -> None:
    asked = study.Study(lesions, tmp_path, [0, 1], workers=1)
    study.cross_validate(asked, [tiny("two", 2)], 2)
    (row,) = read_table(tmp_path / "folds.csv", "one row per recipe").rows
    count = len({(one["case"], one["lesion"]) for one in lesions.index})
    assert (row["folds"], row["seeds"], row["lesions"]) == ("5", "2", str(count))
    runs = sorted(tmp_path.glob("folds/steps-2/*/runs/two-seed*"))
    assert all((run / "calibration.json").is_file() for run in runs)
    values = {run: read_evaluation(run, "test", "lesion").scores["hm_iou16"] for run in runs}
    mean = float(np.nanmean(np.concatenate(list(values.values()))))
    assert float(row["lesion_hm_iou16"].split()[0]) == pytest.approx(mean, abs=1e-4)
    of_seeds = [
        float(np.nanmean(np.concatenate([own for run, own in values.items() if run.name.endswith(str(seed))])))
        for seed in (0, 1)
    ]
    told = [float(number) for number in row["lesion_hm_iou16_of_seeds"].split(" to ")]
    assert told == pytest.approx(sorted(of_seeds), abs=1e-4)
    theirs = evaluate(load_trained(runs[0], torch.device("cpu")), lesions, "test", samples=100)
    rows = against.against(asked, "two", 2, theirs)
    assert {(one["by"], one["figure"]) for one in rows} == {
        (by, figure) for by, figures in JUDGED.items() for figure in figures
    }
    tested = sum(len(set(case.lesion.rows)) > 0 for case in theirs.lesions.cases) if theirs.lesions else 0
    assert {one["cases"] for one in rows if one["by"] == "lesion" and one["figure"] == "hm_iou16"} == {tested}


@pytest.mark.usefixtures("quick")
def test_folds_are_judged_against_a_model_on_crops_that_neither_saw(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, asked = tiny("two", 2), study.Study(store, tmp_path, [0, 1], workers=1)
    study.cross_validate(asked, [entry], 2)
    run = Trial(entry, 3, entry.config("small", 3, [], {"steps": 2}), tmp_path / "model").run(
        store, torch.device("cpu")
    )
    train(run, store, torch.device("cpu"))
    told = ["against.py", "--data", str(store.path), "-o", str(tmp_path), "--recipes", "two"]
    told += ["--steps", "2", "--model", str(run.path)]
    monkeypatch.setattr("sys.argv", told)
    against.main()
    rows = read_table(tmp_path / "against.csv", "one row per figure").rows
    assert [row["figure"] for row in rows] == list(FIGURES)
    assert {row["cases"] for row in rows} == {str(len(store.rows("test")))}
    folds = [read_evaluation(one, "test") for one in sorted(tmp_path.glob("folds/steps-2/*/runs/two-seed*"))]
    theirs = evaluate(load_trained(run.path, torch.device("cpu")), store, "test", samples=100, by="slice")
    kept = {case.index["row"]: case.scores["ged16_v"] for case in theirs.cases}
    mine: dict[str, list[float]] = {row: [] for row in kept}
    for one in folds:
        for row, value in zip(one.rows, one.scores["ged16_v"], strict=True):
            if row in mine:
                mine[row].append(float(value))
    assert {len(values) for values in mine.values()} == {2}
    assert float(rows[0]["folds"]) == pytest.approx(np.mean([np.mean(values) for values in mine.values()]), abs=1e-4)
    assert float(rows[0]["model"]) == pytest.approx(np.mean(list(kept.values())), abs=1e-4)
    monkeypatch.setattr("sys.argv", [*told[:-1], str(tmp_path / "folds/steps-2/fold-1/runs/two-seed0")])
    with pytest.raises(InputError, match="saw crops of the test split"):
        against.main()
    apart = float(rows[0]["folds"]) - float(rows[0]["model"])
    assert float(rows[0]["difference"].split()[0]) == pytest.approx(apart, abs=2e-4)


@pytest.mark.usefixtures("quick")
def test_the_cost_is_that_of_all_runs(store: Store, tmp_path: Path) -> None:
    asked = study.Study(store, tmp_path, [0], workers=1, limit=2)
    with pytest.raises(SystemExit, match="holds no runs"):
        study.cost(tmp_path, 10)
    study.search(asked, [tiny("two", 2)], [study.Round(2, seeds=1, kept=1), study.Round(3, seeds=1, kept=1)])
    study.cost(tmp_path, 3.6e9)
    rows = read_table(tmp_path / "cost.csv", "one row per part").rows
    assert [(row["part"], row["runs"]) for row in rows] == [("round-1", "1"), ("round-2", "1")]
    for row in rows:
        (run,) = (tmp_path / row["part"]).rglob("benchmark.json")
        notes = read_notes(run.parent)
        assert notes.training is not None
        assert notes.evaluation_val is not None
        seconds = notes.training.seconds + notes.evaluation_val.seconds
        assert float(row["kwh"]) == pytest.approx(1000 * seconds, rel=1e-3)


def test_folds_of_other_data_are_not_taken(store: Store, tmp_path: Path) -> None:
    made = study.fold_stores(store, tmp_path / "data")
    assert [one.content_hash for one in study.fold_stores(store, tmp_path / "data")] == [
        one.content_hash for one in made
    ]
    other = write_known_truth(tmp_path / "other", crops=120, size=16, seed=1)
    with pytest.raises(SystemExit, match="holds other data"):
        study.fold_stores(other, tmp_path / "data")
    study.whole_store(store, tmp_path / "all")
    with pytest.raises(SystemExit, match="holds other data"):
        study.whole_store(other, tmp_path / "all")


@pytest.mark.usefixtures("quick")
def test_the_last_model_learns_from_all_patients_and_carries_the_folds_figures(store: Store, tmp_path: Path) -> None:
    asked = study.Study(store, tmp_path, [0], workers=1)
    with pytest.raises(SystemExit, match="is not finished: run `folds`"):
        study.train_on_all(asked, tiny("two", 2), 2)
    study.cross_validate(asked, [tiny("two", 2)], 2)
    run = study.train_on_all(asked, tiny("two", 2), 2)
    trained = load_trained(run, torch.device("cpu"))
    assert trained.calibration is not None
    assert trained.calibration.split == "folds"
    known = trained.trained_on()
    assert known is not None
    assert len(known.patients) == len({row.patient for row in store.index})
    found = read_evaluation(run / "evaluation-folds", "folds")
    assert (found.about.cases, found.about.weights_hash) == (len(store), trained.weights_hash)
    weights = (run / "model.safetensors").stat().st_mtime_ns
    assert study.train_on_all(asked, tiny("two", 2), 2) == run
    assert (run / "model.safetensors").stat().st_mtime_ns == weights


@pytest.mark.usefixtures("quick")
def test_the_last_model_is_not_trained_with_other_settings_than_its_folds(store: Store, tmp_path: Path) -> None:
    asked = study.Study(store, tmp_path, [0], workers=1)
    study.cross_validate(asked, [tiny("two", 2)], 2)
    with pytest.raises(SystemExit, match=r"was trained with other settings \(options\) than"):
        study.train_on_all(asked, tiny("two", 3), 2)
    assert not list(tmp_path.glob("all/**/*.safetensors"))


DRIVER = """
import sys
sys.path[:0] = {folders!r}
import recipes
from ambiseg.models.benchmarks.trials.entries import Entry
recipes.RECIPES = tuple(
    Entry(name, "mheads", {{"widths": [2, 4], "convs": 1, "heads": heads}}, {settings!r})
    for name, heads in (("two", 2), ("three", 3))
)
recipes.FINALISTS, recipes.CANDIDATES = ("two",), ("three",)
import study
study.ROUNDS, study.FOLDS = (study.Round(2, seeds=1, kept=1),), 2
from everything import everything
from ambiseg.preprocessing.store.store import Store
from pathlib import Path
if __name__ == "__main__":
    asked = study.Study(Store.open({store!r}), Path({out!r}), workers=1)
    everything(asked, {model!r}, long=3, last=4)
"""


@pytest.mark.slow
def test_the_whole_study_goes_on_after_it_was_killed(store: Store, tmp_path: Path) -> None:
    """Killed twice, with its workers, it ends with the tables of a study that was not."""
    entry = tiny("other", 2)
    run = Trial(entry, 3, entry.config("small", 3, [], {"steps": 2}), tmp_path / "other").run(
        store, torch.device("cpu")
    )
    train(run, store, torch.device("cpu"))
    folders = [str(Path(study.__file__).parent), str(Path(study.__file__).parents[1])]
    given = {"folders": folders, "settings": SMALL, "store": str(store.path), "model": str(run.path)}
    drivers = {}
    for name in ("killed", "whole"):
        drivers[name] = tmp_path / f"{name}.py"
        drivers[name].write_text(DRIVER.format(**given, out=str(tmp_path / name)))
    for what in ("round-1/runs/*/model.safetensors", "folds/steps-4/fold-2/runs/*/model.safetensors"):
        begun = subprocess.Popen([sys.executable, drivers["killed"]], start_new_session=True)
        try:
            wait_until(lambda what=what: any((tmp_path / "killed").glob(what)), begun)
        finally:
            os.killpg(begun.pid, signal.SIGKILL)
            begun.wait()
    for driver in drivers.values():
        subprocess.run([sys.executable, driver], check=True, timeout=PATIENCE)
    for table in ("search.csv", "seeds.csv", "folds.csv", "against.csv"):
        one, other = ((tmp_path / name / table).read_text() for name in ("killed", "whole"))
        assert without_times(one) == without_times(other)
    assert {row["part"] for row in read_table(tmp_path / "whole/cost.csv", "one row per part").rows} == {
        "all", "folds", "round-1", "steps-3",
    }  # fmt: skip
    text = (tmp_path / "whole/results.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Round 1", "## Seeds", "## Out of fold", "## Against", "## Cost",
    ]  # fmt: skip


def wait_until(there: Callable[[], bool], running: "subprocess.Popen[bytes]") -> None:
    """Until something is there; the process must not end before."""
    begun = time.monotonic()
    while not there():
        assert running.poll() is None
        assert time.monotonic() - begun < PATIENCE
        time.sleep(0.05)


def without_times(table: str) -> list[list[str]]:
    """The cells of a table but for those of the last column, where it holds minutes."""
    rows = list(csv.reader(table.splitlines()))
    return [row[:-1] for row in rows] if rows[0][-1] == "training_minutes" else rows
