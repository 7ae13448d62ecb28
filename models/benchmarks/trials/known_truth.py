"""Every method on synthetic lesions whose readers' distribution is known: trained with equal budgets, then measured.

The folder of a benchmark holds the data (`store`), a run folder for each entry and seed, with its `result.json`, and the
results of all of them as tables. It may be stopped at any time: what is finished stays, and what was
begun is resumed.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.sources.papers.known_readers import PROBABILITIES, write_known_truth
from ambiseg.preprocessing.store.store import Store

from ...evaluation.evaluate_run import evaluate
from ...metrics.modes import Group
from ...runs.trained import load_trained
from ...training.loop import Observer, train
from ..cost.timing import device_words, sampling_seconds, training_seconds
from .entries import Entry
from .results import Result, read_results, write_results
from .trials import Trial, attempts, plan_trials

PRESET = "known-truth"
SAMPLES = 256  # draws per image for all figures but those at 16 draws
DRAWS = 16  # masks of one image whose drawing is timed


def plan(
    folder: Path, entries: Sequence[Entry], *, seeds: Sequence[int] = (0,), steps: int | None = None, size: int = 32
) -> list[Trial]:
    """The trials of a benchmark in `folder`; nothing is trained or written yet.

    steps: of each entry, by default the preset's. Raises UsageError for an entry whose method or options do not exist,
    and when the folder holds a run with other settings.
    """
    return plan_trials(folder, entries, PRESET, seeds=seeds, flags={"steps": steps, "data.crop": size})


def known_truth_store(folder: Path, *, crops: int = 1000, size: int = 32) -> Store:
    """The benchmark's data in `folder`, made when they are not there; UsageError when other data are."""
    path = folder / "store"
    if not path.exists():
        return write_known_truth(path, crops=crops, size=size, readers=None)
    store = Store.open(path)
    held = store.manifest.settings
    if (held.get("crops"), held.get("size")) != (crops, size):
        raise UsageError(
            f"{path} holds {held.get('crops')} crops of {held.get('size')} pixels, expected {crops} of {size}: choose another "
            "folder as `output`, or remove this one."
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

    The tables in `folder` are written after each. `observer_of(trial)` watches a training. After a
    KeyboardInterrupt the same call resumes. A trial that cannot be trained or measured is left out; PartialError
    names all such at the end.
    """

    def result_of(trial: Trial) -> Result:
        return Result.read(trial.path) or _measured(trial, store, device, observer_of(trial))

    for result in attempts(trials, result_of):
        write_results(folder, read_results(folder))
        yield result


def _measured(trial: Trial, store: Store, device: torch.device, observe: Observer) -> Result:
    """The result of a trial, trained to its end first."""
    run = trial.run(store, device)
    train(run, store, device, observe)
    trained = load_trained(run.path, device, keep_memory=True)
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
        ged16_floor=(evaluation.about.floor or {})["ged16_v"],
        ged=figures["ged_u"],
        hm_iou16=figures["hm_iou16"],
        mode_error=figures["mode_error"],
        empty_error=figures["empty_error"],
        diversity=figures["sample_diversity"],
        true_diversity=figures["reader_diversity"],
        training_seconds=seconds,
        step_ms=1e3 * seconds / trial.config.steps,
        sampling_ms=1e3 * sampling_seconds(trained, store, "test", DRAWS),
        parameters=sum(parameter.numel() for parameter in trained.method.parameters()),
        machine=device_words(device),
        modes={cue: _plain(evaluation.modes[cue]) for cue in PROBABILITIES if cue in evaluation.modes},
    )
    result.write(run.path)
    return result


def _plain(group: Group) -> dict[str, list[float]]:
    return {"truth": group.truth.tolist(), "model": group.model.tolist()}


def _about(store: Store) -> str:
    height, width = store.size
    return f"{counted(len(store), 'crop')} of {height} x {width} pixels, {len(store.rows('test'))} to test"
