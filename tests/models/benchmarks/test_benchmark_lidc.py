"""The benchmark on real readers, with a synthetic store and tiny networks: measured, stopped anywhere, continued, tabulated."""

import csv
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ambiseg.models.benchmarks.trials.entries import LIDC_ENTRIES, Entry
from ambiseg.models.benchmarks.trials.lidc_tables import read_results, write_results
from ambiseg.models.benchmarks.trials.lidc_trials import Work, plan, run_benchmark
from ambiseg.models.benchmarks.trials.measured import read_measured
from ambiseg.models.benchmarks.trials.notes import Notes, read_notes
from ambiseg.models.benchmarks.trials.trials import Trial
from ambiseg.models.training.loop import BudgetSpent
from ambiseg.preprocessing.errors import InputError, PartialError, UsageError
from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
from ambiseg.preprocessing.store.store import Store

CPU = torch.device("cpu")
SMALL = ["data.crop=16", "options.widths=[4,6]", "options.convs=1", "batch=4", "validation.every=15"]
TWO = (Entry("mheads-gate", "mheads", {"gate": "learned"}), Entry("probunet", "probunet"))
STEPS = 30

Parts = list[tuple[str, str]]


def trials(folder: Path, store: Store, entries: tuple[Entry, ...] = TWO, **changes: object) -> list[Trial]:
    return plan(folder, entries, store, "small", **{"steps": STEPS, "settings": SMALL, **changes})


def run(folder: Path, store: Store, *, test: bool = False, **watch: object) -> Parts:
    """The parts of the work that were begun."""
    begun: Parts = []

    def note(trial: Trial, part: str) -> Callable[[int, int], None]:
        begun.append((trial.entry.name, part))
        return lambda done, total: None

    work = replace(Work(store, CPU, limit=6, watch=note), **watch)
    for _ in run_benchmark(trials(folder, store), work, test=test):
        pass
    return begun


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, known_truth: Store) -> tuple[Path, Parts]:
    """A folder with a finished benchmark of two entries, tested too, and the order of the work."""
    folder = tmp_path_factory.mktemp("lidc")
    parts = run(folder, known_truth, test=True)
    write_results(folder, limit=6)
    return folder, parts


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_test_split_comes_last_and_once(finished: tuple[Path, Parts], known_truth: Store) -> None:
    folder, parts = finished
    on_val = ["training", "calibration-val", "sampling", "evaluation-val"]
    on_test = ["calibration-test", "evaluation-test"]
    assert parts == [(e.name, part) for stage in (on_val, on_test) for e in TWO for part in stage]
    assert run(folder, known_truth, test=True) == []


def test_brief_work_is_training_and_slices(known_truth: Store, tmp_path: Path) -> None:
    parts = run(tmp_path, known_truth, test=True, brief=True)
    on_val = ["training", "evaluation-val"]
    assert parts == [(e.name, part) for stage in (on_val, ["evaluation-test"]) for e in TWO for part in stage]
    assert run(tmp_path, known_truth, brief=True) == []
    assert not list(tmp_path.glob("runs/*/calibration.json"))
    for measured in read_results(tmp_path, limit=6).values():
        assert len(measured) == len(TWO)
        assert not any(one.has_lesions for one in measured)


def test_a_row_says_what_the_run_folder_says(finished: tuple[Path, Parts], known_truth: Store) -> None:
    folder, _ = finished
    for split, file in (("val", "results.csv"), ("test", "results-test.csv")):
        found = {row["entry"]: row for row in rows(folder / file)}
        assert set(found) == {"mheads-gate", "probunet"}
        for name, row in found.items():
            path = folder / "runs" / f"{name}-seed0"
            summary = json.loads((path / f"evaluation-{split}/summary.json").read_text())
            for figure in ("ged16_v", "ged50_u", "ged100_v", "hm_iou16"):
                own = summary["figures"][figure]
                assert float(row[figure]) == pytest.approx(own["mean"], rel=1e-5)
                assert float(row[f"{figure}_low"]) <= float(row[figure]) <= float(row[f"{figure}_high"])
            judged = json.loads((path / "benchmark.json").read_text())[f"calibration-{split}"]
            for when in ("before", "after"):
                assert float(row[f"ece_{when}"]) == pytest.approx(judged[when]["figures"]["ece"]["mean"], rel=1e-5)
            assert row["weights_hash"] == summary["weights_hash"]
            assert row["data_hash"] == known_truth.content_hash
            assert (int(row["steps"]), int(row["seed"]), int(row["cases"]), row["split"]) == (STEPS, 0, 6, split)
            assert min(float(row[key]) for key in ("training_seconds", "sampling16_ms", "sampling100_ms")) > 0
            assert "learned" in row["options"] or name != "mheads-gate"
        assert found["mheads-gate"]["weights"] == "exact"
        assert found["probunet"]["weights"] == "draws"


def test_evaluations_use_the_calibration(finished: tuple[Path, Parts]) -> None:
    for path in (finished[0] / "runs").iterdir():
        fitted = json.loads((path / "calibration.json").read_text())
        assert fitted["split"] == "val"
        for split in ("val", "test"):
            assert json.loads((path / f"evaluation-{split}/summary.json").read_text())["calibrated"] == fitted


def test_what_was_stopped_anywhere_goes_on_to_the_same(
    finished: tuple[Path, Parts], known_truth: Store, tmp_path: Path
) -> None:
    """Stopped within a training, then when it is enough before each next part: same weights, same figures."""

    def stop(trial: Trial, part: str) -> Callable[[int, int], None]:
        once = iter([True])
        return lambda done, total: os.kill(os.getpid(), signal.SIGINT) if next(once, False) else None

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, known_truth, watch=stop)
    assert (tmp_path / "runs/mheads-gate-seed0/checkpoint.pt").is_file()
    assert read_notes(tmp_path / "runs/mheads-gate-seed0") == Notes()
    pieces = 0
    while True:
        asked = iter([False, *[True] * 1000])
        try:
            run(tmp_path, known_truth, enough=lambda asked=asked: next(asked))
            break
        except BudgetSpent:
            pieces += 1
    assert pieces > STEPS  # a step of a training or another part each
    write_results(tmp_path, limit=6)
    timed = {"training_seconds", "sampling16_ms", "sampling100_ms"}
    for one, other in zip(rows(finished[0] / "results.csv"), rows(tmp_path / "results.csv"), strict=True):
        assert {k: v for k, v in one.items() if k not in timed} == {k: v for k, v in other.items() if k not in timed}


def test_a_failed_entry_is_listed_and_the_rest_goes_on(known_truth: Store, tmp_path: Path) -> None:
    wild = Entry("probunet", "probunet", {"beta": 1e39})
    planned = trials(tmp_path, known_truth, (wild, TWO[0]))
    seen = []
    found = run_benchmark(planned, Work(known_truth, CPU, limit=6), test=True)
    with pytest.raises(PartialError, match="1 of 2 entries failed: probunet-seed0: The loss is not a finite number"):
        seen.extend((trial.entry.name, split) for trial, split in found)
    assert seen == [("mheads-gate", "val"), ("mheads-gate", "test")]
    page = write_results(tmp_path, limit=6)
    assert "- `probunet-seed0` failed: The loss is not a finite number" in page
    assert [row["entry"] for row in rows(tmp_path / "results.csv")] == ["mheads-gate"]


def test_fewer_cases_are_not_taken_for_all(finished: tuple[Path, Parts]) -> None:
    folder, _ = finished
    assert len(read_measured(folder, "val", 6)) == 2
    assert read_measured(folder, "val") == []


def test_unfinished_runs_are_listed(known_truth: Store, tmp_path: Path) -> None:
    trials(tmp_path, known_truth)[0].run(known_truth, CPU)
    assert "- `mheads-gate-seed0` is not finished: 0 of 30 steps." in write_results(tmp_path)


def test_one_folder_has_one_budget_and_one_data_set(
    finished: tuple[Path, Parts], known_truth: Store, tmp_path: Path
) -> None:
    folder, _ = finished
    with pytest.raises(UsageError, match="begun with other settings \\(steps 30, expected 31\\)"):
        trials(folder, known_truth, steps=31)
    dropout = (Entry("dropout", "dropout"),)
    for other, words in (
        ("batch=5", "batch 4, expected 5"),
        ("options.convs=2", "options.convs 1, expected 2"),
    ):
        with pytest.raises(UsageError, match=f"begun with other settings \\({words}\\)"):
            trials(folder, known_truth, dropout, settings=[*SMALL, other])
    assert len(trials(folder, known_truth, dropout)) == 1  # one more entry is welcome
    other = write_known_truth(tmp_path / "store", crops=30, size=16, seed=5)
    with pytest.raises(
        InputError, match=r"was trained on other data \(known-truth, .* choose another folder as `output`"
    ):
        trials(folder, other)
    with pytest.raises(UsageError, match=r"data\.crop is 64 pixels, but the stored crops are"):
        plan(tmp_path, TWO, known_truth, "small")


def test_every_entry_can_be_planned(known_truth: Store, tmp_path: Path) -> None:
    narrow = ["data.crop=16", "options.widths=[4,6]"]
    planned = trials(tmp_path, known_truth, LIDC_ENTRIES, settings=narrow, seeds=(0, 1))
    assert len({trial.path for trial in planned}) == 2 * len(LIDC_ENTRIES)
    assert planned[0].entry.name == "gated"
    for trial in planned:
        assert {key: trial.config.options[key] for key in trial.entry.options} == dict(trial.entry.options)
