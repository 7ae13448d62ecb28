"""The known-truth benchmark on a few steps of two methods: measured, written, stopped and continued, refused."""

import csv
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ambiseg.models.benchmarks.cost.timing import training_seconds
from ambiseg.models.benchmarks.trials.entries import ENTRIES, LIDC_ENTRIES, ON_REQUEST, Entry, choose_entries
from ambiseg.models.benchmarks.trials.known_truth import known_truth_store, plan, run_benchmark
from ambiseg.models.benchmarks.trials.results import Result, markdown, read_results, write_results
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.training.loop import Observer, Progress
from ambiseg.preprocessing.errors import PartialError, UsageError
from ambiseg.preprocessing.sources.papers.known_readers import PROBABILITIES
from ambiseg.preprocessing.store.store import Store
from tests.models.metrics.ged_floor import floor

CPU = torch.device("cpu")
SMALL = {"widths": [4, 6], "convs": 1}
TWO = (Entry("mheads-gate", "mheads", {"gate": "learned", "heads": 3, **SMALL}), Entry("probunet", "probunet", SMALL))
STEPS = 50


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Result], Store]:
    """A folder with a finished benchmark of two entries, its results, and its data."""
    folder = tmp_path_factory.mktemp("benchmark")
    store = known_truth_store(folder, crops=40, size=24)
    results = list(run_benchmark(folder, plan(folder, TWO, steps=STEPS, size=24), store, CPU))
    return folder, results, store


def test_every_figure_is_measured(done: tuple[Path, list[Result], Store]) -> None:
    folder, results, store = done
    assert [result.entry for result in results] == ["mheads-gate", "probunet"]
    assert read_results(folder) == results
    for result in results:
        figures = json.loads((folder / f"{result.entry}-seed0/evaluation-test/summary.json").read_text())["figures"]
        assert result.ged16 == figures["ged16_v"]["mean"]
        assert result.ged == figures["ged_u"]["mean"]
        assert result.mode_error == figures["mode_error"]["mean"]
        assert result.ged16_floor == pytest.approx(floor(store, store.rows("test"), samples=16))
        assert result.true_diversity == pytest.approx(16 * result.ged16_floor)
        assert min(result.training_seconds, result.step_ms, result.sampling_ms) > 0
        assert result.step_ms == pytest.approx(1e3 * result.training_seconds / STEPS)
    assert results[1].parameters > results[0].parameters


def test_mode_probabilities_stand_beside_the_truth(done: tuple[Path, list[Result], Store]) -> None:
    _, results, store = done
    seen = {store.index[row]["cue"] for row in store.rows("test")}
    for result in results:
        assert list(result.modes) == [cue for cue in PROBABILITIES if cue in seen]
        for cue, modes in result.modes.items():
            assert modes["truth"] == pytest.approx(PROBABILITIES[cue])
            assert min(modes["model"]) >= 0
            assert 0 < sum(modes["model"]) < 1 + 1e-9


def test_results_are_written_as_tables(done: tuple[Path, list[Result], Store]) -> None:
    folder, results, _ = done
    assert [row["entry"] for row in json.loads((folder / "results.json").read_text())] == ["mheads-gate", "probunet"]
    with (folder / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["ged16"]) for row in rows] == [result.ged16 for result in results]


def test_what_is_finished_is_not_done_again(done: tuple[Path, list[Result], Store]) -> None:
    folder, results, store = done
    before = {file: file.stat().st_mtime_ns for file in folder.glob("*/*") if file.is_file()}
    again = list(run_benchmark(folder, plan(folder, TWO, steps=STEPS, size=24), store, CPU, refuse_to_train))
    assert again == results
    assert {file: file.stat().st_mtime_ns for file in folder.glob("*/*") if file.is_file()} == before


def refuse_to_train(trial: object) -> Observer:
    def observe(progress: Progress) -> None:
        raise AssertionError(f"{trial} trains again")

    return observe


def test_a_stopped_benchmark_goes_on_to_the_same_weights(
    done: tuple[Path, list[Result], Store], tmp_path: Path
) -> None:
    folder, results, _ = done
    store = known_truth_store(tmp_path, crops=40, size=24)

    def run(observer_of: Callable[[object], Observer]) -> list[Result]:
        return list(run_benchmark(tmp_path, plan(tmp_path, TWO, steps=STEPS, size=24), store, CPU, observer_of))

    def stop_in_the_second(trial: object) -> Observer:
        return lambda progress: os.kill(os.getpid(), signal.SIGINT) if "probunet" in str(trial) else None

    with pytest.raises(KeyboardInterrupt):
        run(stop_in_the_second)
    assert [result.entry for result in read_results(tmp_path)] == ["mheads-gate"]
    seen: list[int] = []
    went_on = run(lambda trial: lambda progress: seen.append(progress.step))
    assert set(seen) == {STEPS}
    assert [result.mode_error for result in went_on] == [result.mode_error for result in results]
    for name in ("mheads-gate-seed0", "probunet-seed0"):
        weights = [(root / name / "model.safetensors").read_bytes() for root in (folder, tmp_path)]
        assert weights[0] == weights[1]


def test_one_table_has_one_budget(done: tuple[Path, list[Result], Store]) -> None:
    folder, _, _ = done
    with pytest.raises(UsageError, match="begun with other settings \\(steps 50, expected 51\\)"):
        plan(folder, TWO, steps=51, size=24)
    with pytest.raises(UsageError, match="begun with other settings"):
        plan(folder, [replace(TWO[1], options=SMALL | {"beta": 2.0})], steps=STEPS, size=24)
    with pytest.raises(UsageError, match="begun with other settings"):  # of runs that are not planned this time
        plan(folder, [Entry("dropout", "dropout")], steps=51, size=24)
    with pytest.raises(UsageError, match="holds 40 crops of 24 pixels, expected 50 of 24"):
        known_truth_store(folder, crops=50, size=24)


def test_nothing_starts_with_a_method_or_option_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No method 'divination'"):
        plan(tmp_path, [TWO[0], Entry("divination", "divination")])
    with pytest.raises(UsageError, match="Unknown option 'crystals' of method probunet"):
        plan(tmp_path, [Entry("probunet", "probunet", {"crystals": 3})])
    assert list(tmp_path.iterdir()) == []


def test_one_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    entries = [Entry("probunet", "probunet", {"beta": 1e39, **SMALL}), TWO[0]]
    store = known_truth_store(tmp_path, crops=40, size=24)
    results = run_benchmark(tmp_path, plan(tmp_path, entries, steps=2, size=24), store, CPU)
    assert next(results).entry == "mheads-gate"
    with pytest.raises(PartialError, match="1 of 2 entries failed: probunet-seed0: The loss is not a finite number"):
        next(results)
    assert [result.entry for result in read_results(tmp_path)] == ["mheads-gate"]


def test_every_entry_can_be_planned(tmp_path: Path) -> None:
    """Names are distinct; method and options exist; budgets are equal."""
    trials = plan(tmp_path, ENTRIES, seeds=(0, 1), steps=7)
    assert len({trial.path for trial in trials}) == 2 * len(ENTRIES)
    assert {(trial.config.steps, trial.config.batch, trial.config.data.readers) for trial in trials} == {(7, 16, 4)}
    for trial in trials:
        assert {key: trial.config.options[key] for key in trial.entry.options} == dict(trial.entry.options)


def test_entries_are_chosen_by_name_or_method(tmp_path: Path) -> None:
    assert [entry.name for entry in choose_entries(["refine", "probunet-fixed-prior"])] == [
        "probunet-fixed-prior",
        "refine",
    ]
    assert {entry.method for entry in choose_entries(["generalized"])} == {"generalized"}
    assert len(choose_entries(["generalized"])) == 5
    vae = choose_entries(["refine-vae-kl-0.1", "refine-vae-kl", "mheads-16"])
    assert [entry.name for entry in vae] == ["refine-vae-kl", "refine-vae-kl-0.1", "mheads-16"]
    assert [dict(entry.options).get("beta", 1.0) for entry in vae[:2]] == [1.0, 0.1]
    assert [entry.name for entry in choose_entries(["refine-5-samples"], LIDC_ENTRIES)] == ["refine-5-samples"]
    assert len(plan(tmp_path, ON_REQUEST, steps=7)) == len({entry.name for entry in (*ENTRIES, *ON_REQUEST)}) - len(
        ENTRIES
    )
    with pytest.raises(UsageError, match="No benchmark entry 'unet': expected dropout"):
        choose_entries(["dropout", "unet"])


def test_seeds_share_a_row_with_their_spread(done: tuple[Path, list[Result], Store], tmp_path: Path) -> None:
    first = replace(done[1][1], ged16=0.30, mode_error=0.1)
    results = [first, replace(first, seed=1, ged16=0.34, mode_error=0.1)]
    cells = [cell.strip() for cell in markdown(results).splitlines()[3].strip("|").split("|")]
    assert cells[0] == "probunet"
    assert cells[1] == ".320 ± .028"
    assert cells[4] == ".100 ± .000"
    assert "seeds 0, 1" in markdown(results)
    write_results(tmp_path, results)
    assert len(json.loads((tmp_path / "results.json").read_text())) == 2


def test_training_seconds_leave_out_validation(tmp_path: Path, done: tuple[Path, list[Result], Store]) -> None:
    """25 steps at 5 a second and 10 at 2 a second: 10 s."""
    run = Run(tmp_path, Run.open(done[0] / "probunet-seed0").record)
    for step, speed in ((25, 5.0), (35, 2.0)):
        run.write_log({"kind": "train", "step": step, "loss": 1.0, "steps_per_second": speed})
        run.write_log({"kind": "validation", "step": step, "ged": 0.3})
    assert training_seconds(run) == pytest.approx(10)
