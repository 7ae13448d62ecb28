"""Every method on the made lesions, whose readers' distribution is known: trained with equal budgets, then measured.

The folder of a benchmark holds the data (`store`), a run folder for each entry and seed, with its `result.json`, and the
results of all of them as tables and as a picture. It may be stopped at any time: what is finished stays, what was begun
goes on from where it stood.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch

from ambiseg.preprocessing.errors import DataError, PartialError, UsageError
from ambiseg.preprocessing.sources.known_truth import PROBABILITIES, write_known_truth
from ambiseg.preprocessing.store import Store

from ..config import TrainConfig, make_config
from ..evaluation.evaluate import evaluate
from ..metrics.modes import Group
from ..randomness import generator_for
from ..run import Run, RunRecord, Trained, load_trained
from ..training import Observer, train
from .arithmetic import seconds_each
from .entries import Entry
from .picture import draw_results
from .results import Result, read_results, write_results

PRESET = "known-truth"
SAMPLES = 256  # draws an image behind all figures but those at 16; a finite model's exact masks
DRAWS = 16  # masks of one image whose drawing is timed
TIMINGS = 15


@dataclass(frozen=True)
class Trial:
    """One entry trained from one seed, in the run folder `path`."""

    entry: Entry
    seed: int
    config: TrainConfig
    path: Path


def plan(
    folder: Path, entries: Sequence[Entry], *, seeds: Sequence[int] = (0,), steps: int | None = None, size: int = 32
) -> list[Trial]:
    """The trials of a benchmark in `folder`; nothing is trained or written yet.

    steps: of each entry, by default the preset's. Raises UsageError for an entry whose method or options do not exist,
    and when the folder holds a run with other settings.
    """
    trials = []
    for seed in seeds:
        for entry in entries:
            flags: dict[str, Any] = {f"options.{key}": value for key, value in entry.options.items()}
            config = make_config(entry.method, PRESET, flags=flags | {"steps": steps, "seed": seed, "data.crop": size})
            trials.append(Trial(entry, seed, config, folder / f"{entry.name}-seed{seed}"))
    _check_budgets(folder, trials)
    return trials


def known_truth_store(folder: Path, *, crops: int = 1000, size: int = 32) -> Store:
    """The benchmark's data in `folder`, made when they are not there; UsageError when other data are."""
    path = folder / "store"
    if not path.exists():
        return write_known_truth(path, crops=crops, size=size, readers=None)
    store = Store.open(path)
    held = store.manifest["settings"]
    if (held["crops"], held["size"]) != (crops, size):
        raise UsageError(
            f"{path} holds {held['crops']} crops of {held['size']} pixels, asked for are {crops} of {size}: choose "
            "another folder with -o, or remove this one."
        )
    return store


def run_benchmark(
    folder: Path,
    trials: Sequence[Trial],
    store: Store,
    device: torch.device,
    observer_of: Callable[[Trial], Observer] = lambda trial: lambda progress: None,
) -> Iterator[Result]:
    """Train and measure the trials one by one, and yield the result of each; finished ones are not done again.

    The tables and the picture in `folder` are written after each. `observer_of(trial)` watches a training. KeyboardInterrupt
    leaves everything so that the same call goes on. A trial that cannot be trained or measured is left out; PartialError
    names all such at the end.
    """
    failures = []
    for trial in trials:
        try:
            result = Result.read(trial.path) or _measured(trial, store, device, observer_of(trial))
        except (UsageError, DataError) as error:
            failures.append(f"{trial.path.name}: {error}")
            continue
        results = read_results(folder)
        write_results(folder, results)
        draw_results(folder / "results.png", results)
        yield result
    if failures:
        raise PartialError(f"{len(failures)} of {len(trials)} entries failed: {' '.join(failures)}")


def _check_budgets(folder: Path, trials: Sequence[Trial]) -> None:
    """Raise UsageError when a run in the folder was begun with other settings than its trial has, or with more steps."""
    wanted = {trial.path: trial.config for trial in trials}
    for file in sorted(folder.glob("*/run.json")):
        held = Run.open(file.parent).record.config
        steps = trials[0].config.steps if trials else held.steps
        if held.steps != steps or _differs(held, wanted.get(file.parent, held)):
            raise UsageError(
                f"{file.parent} was begun with other settings ({held.steps} steps, asked for are {steps}): choose another "
                "folder with -o, or remove this run."
            )


def _differs(held: TrainConfig, wanted: TrainConfig) -> bool:
    return held.model_dump(mode="json") != wanted.model_dump(mode="json")


def _measured(trial: Trial, store: Store, device: torch.device, observe: Observer) -> Result:
    """The result of a trial, trained to its end first."""
    begun = (trial.path / "run.json").is_file()
    run = Run.open(trial.path) if begun else Run.create(trial.path, RunRecord.of(trial.config, store, str(device)))
    train(run, store, device, observe)
    trained = load_trained(run.path, device)
    evaluation = evaluate(trained, store, "test", samples=SAMPLES)
    evaluation.write(run.path / "evaluation-test")
    figures = {name: figure.mean for name, figure in evaluation.figures.items()}
    seconds = training_seconds(run)
    result = Result(
        entry=trial.entry.name,
        method=trial.entry.method,
        seed=trial.seed,
        data=_about(store),
        steps=trial.config.steps,
        batch=trial.config.batch,
        ged16=figures["ged16_v"],
        ged16_floor=evaluation.about["floor"]["ged16_v"],
        ged=figures["ged_u"],
        hm_iou16=figures["hm_iou16"],
        mode_error=figures["mode_error"],
        empty_error=figures["empty_error"],
        diversity=figures["sample_diversity"],
        true_diversity=figures["reader_diversity"],
        training_seconds=seconds,
        step_ms=1e3 * seconds / trial.config.steps,
        sampling_ms=1e3 * sampling_seconds(trained, store),
        parameters=sum(parameter.numel() for parameter in trained.method.parameters()),
        machine=_machine(device),
        modes={cue: _plain(evaluation.modes[cue]) for cue in PROBABILITIES if cue in evaluation.modes},
    )
    result.write(run.path)
    return result


def training_seconds(run: Run) -> float:
    """Seconds that the steps of a run took, without its validations, by its log."""
    entries = [{"step": 0}, *(entry for entry in run.read_log() if entry["kind"] == "train")]
    return sum((entry["step"] - before["step"]) / entry["steps_per_second"] for before, entry in pairwise(entries))


def sampling_seconds(trained: Trained, store: Store) -> float:
    """Seconds from one image to `DRAWS` masks drawn for it: the median of some runs."""
    image = store.images(store.rows("test")[:1])

    def draw() -> None:
        with torch.inference_mode():
            trained.predictive(image).sample(DRAWS, generator_for("sampling"))

    draw()
    return median(seconds_each(draw, 1, trained.device) for _ in range(TIMINGS))


def _plain(group: Group) -> dict[str, list[float]]:
    return {"truth": group.truth.tolist(), "model": group.model.tolist()}


def _about(store: Store) -> str:
    height, width = store.size
    return f"{len(store):,} crops of {height} x {width} pixels, {len(store.rows('test'))} to test"


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"CPU, {torch.get_num_threads()} threads, torch {torch.__version__}"
