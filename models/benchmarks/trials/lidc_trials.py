"""Methods on a dataset store of real readers: each entry trained, calibrated and evaluated alike, whenever there is time.

The work on a run has parts: training, calibration, sampling times, evaluation. Each is noted in the run's folder when it is
done. A benchmark may therefore be stopped or killed anywhere: the same call resumes with the part that was cut short, and a
training resumes within it. All tables are made from the run folders alone.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ambiseg.preprocessing.errors import DataError, InputError, PartialError, UsageError
from ambiseg.preprocessing.store.store import Store

from ...calibration.calibrate_run import SAMPLES as CALIBRATION_SAMPLES
from ...calibration.calibrate_run import SPLIT, calibrate, check
from ...calibration.check_document import JudgementSummary
from ...evaluation.evaluate_run import By, evaluate
from ...report.evaluation_folder import write_numbers
from ...runs.run_folder import Run
from ...runs.trained import Trained, load_trained
from ...training.loop import BudgetSpent, check_data, train
from ...training.stepper import check_hardware
from ..cost.timing import device_words, machine_words, sampling_seconds, training_seconds
from .entries import ENTRIES, Entry
from .notes import Evaluated, Judged, Note, Part, Sampling, Training, note, note_failure, read_notes
from .trials import Trial, attempts, plan_trials

RUNS = "runs"
SAMPLES = 100  # draws per image, the most for which papers give GED
TIMED = (16, 100)  # draws of one image that are timed
BEYOND: tuple[Part, ...] = ("calibration-val", "calibration-test", "sampling")  # what brief work leaves out
SEED = 0  # of all draws in calibration and evaluation

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Work:
    """The settings that all trials share.

    limit: cases of each split that are measured, None for all; enough: whether to stop now; watch: the progress of a part
    of a trial's work, by its name, as a function of (done, total); brief: whether slices are evaluated and nothing else,
    neither lesions nor calibration nor times.
    """

    store: Store
    device: torch.device
    limit: int | None = None
    enough: Callable[[], bool] = lambda: False
    watch: Callable[[Trial, str], OnProgress] = lambda trial, part: lambda done, total: None
    brief: bool = False


def plan(
    folder: Path,
    entries: Sequence[Entry],
    store: Store,
    preset: str,
    *,
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
    settings: Sequence[str] = (),
    runs: str = RUNS,
    others: Sequence[Entry] = ENTRIES,
) -> list[Trial]:
    """The trials of a benchmark in the folder `runs` of `folder`; nothing is trained or written yet.

    steps: of every entry, by default as the preset has them; others: as of `plan_trials`. Raises UsageError for settings
    that do not exist or do not fit the store, and when the folder holds runs with others; InputError when it holds runs on
    other data.
    """
    flags = {"steps": steps}
    trials = plan_trials(folder / runs, entries, preset, seeds=seeds, settings=settings, flags=flags, others=others)
    for file in sorted((folder / runs).glob("*/run.json")):
        held = Run.open(file.parent).record.data
        if held.content_hash != store.content_hash:
            raise InputError(
                f"{file.parent} was trained on other data ({held.name}, {held.content_hash[:12]}) than {store.path} "
                f"({store.content_hash[:12]}): choose another folder as `output`."
            )
    for trial in trials:
        check_data(trial.config, store)
    return trials


def run_benchmark(trials: Sequence[Trial], work: Work, *, test: bool = False) -> Iterator[tuple[Trial, str]]:
    """Train and measure the trials on the validation split, then, if wanted, all of them on the test split; yields each
    trial with the split that it has been measured on. What is finished is not done again.

    Raises KeyboardInterrupt when stopped by a signal, BudgetSpent when it is enough; the same call resumes. A trial that
    cannot be trained or measured is noted and left out; PartialError names all such at the end.
    """
    failure: PartialError | None = None
    try:
        yield from attempts(trials, lambda trial: (trial, _measured(trial, SPLIT, work)))
    except PartialError as error:
        failure = error
    if test:
        sound = [trial for trial in trials if read_notes(trial.path).failed is None]
        yield from attempts(sound, lambda trial: (trial, _measured(trial, "test", work)))
    if failure:
        raise failure


def _measured(trial: Trial, split: str, work: Work) -> str:
    """Do what is left of the work on a trial and a split, and return the split."""
    try:
        for part, do in _parts(split, brief=work.brief).items():
            if read_notes(trial.path).done(part, work.limit):
                continue
            if work.enough():
                raise BudgetSpent
            note(trial.path, part, do(trial, work, work.watch(trial, part)))
    except (UsageError, DataError) as error:
        if (trial.path / "run.json").is_file():
            note_failure(trial.path, str(error))
        raise
    note_failure(trial.path, None)
    return split


def _parts(split: str, *, brief: bool) -> Mapping[Part, Callable[[Trial, Work, OnProgress], Note]]:
    """The parts of the work on a split in their order; the names of what is noted."""
    parts: dict[Part, Callable[[Trial, Work, OnProgress], Note]]
    if split == SPLIT:
        parts = {
            "training": _train,
            "calibration-val": _calibrate,
            "sampling": _time_sampling,
            "evaluation-val": lambda *given: _evaluate(SPLIT, *given),
        }
    else:
        parts = {
            "calibration-test": lambda *given: _check_calibration("test", *given),
            "evaluation-test": lambda *given: _evaluate("test", *given),
        }
    return {part: do for part, do in parts.items() if not (brief and part in BEYOND)}


def _train(trial: Trial, work: Work, on_progress: OnProgress) -> Training:
    check_hardware(trial.config.hardware, work.device)
    run = trial.run(work.store, work.device)
    to_the_end = train(
        run, work.store, work.device, lambda seen: on_progress(seen.step, seen.steps), enough=work.enough
    )
    method = load_trained(run.path, work.device, calibrated=False, keep_memory=True).method
    return Training(
        steps=max((entry["step"] for entry in run.read_log()), default=0),
        stopped_early=not to_the_end,
        seconds=training_seconds(run),
        parameters=sum(parameter.numel() for parameter in method.parameters()),
        device=device_words(work.device),
        machine=machine_words(),
    )


def _calibrate(trial: Trial, work: Work, on_progress: OnProgress) -> Judged:
    """Fit the calibration, keep it in the run, and judge it on the cases that it was fitted on."""
    trained = load_trained(trial.path, work.device, calibrated=False, keep_memory=True)
    fitted = calibrate(
        trained, work.store, samples=CALIBRATION_SAMPLES, seed=SEED, limit=work.limit, on_progress=on_progress
    )
    fitted.calibration.write(trial.path)
    return _judged(replace(trained, calibration=fitted.calibration), SPLIT, work, on_progress)


def _check_calibration(split: str, trial: Trial, work: Work, on_progress: OnProgress) -> Judged:
    """Judge the calibration on cases that it was not fitted on."""
    trained = load_trained(trial.path, work.device, keep_memory=True)
    if trained.calibration is None:
        raise DataError(
            f"{trial.path} has lost its calibration.json: delete its benchmark.json, and it is measured again."
        )
    return _judged(trained, split, work, on_progress)


def _judged(trained: Trained, split: str, work: Work, on_progress: OnProgress) -> Judged:
    """The calibration judged on the slices of a split."""
    assert trained.calibration is not None
    by_slice = replace(trained, calibration=trained.calibration.model_copy(update={"lesions": None}))
    samples, limit = CALIBRATION_SAMPLES, work.limit
    found = check(by_slice, work.store, split, samples=samples, seed=SEED, limit=limit, on_progress=on_progress).slices
    return Judged(limit=limit, before=JudgementSummary.of(found.before), after=JudgementSummary.of(found.after))


def _time_sampling(trial: Trial, work: Work, on_progress: OnProgress) -> Sampling:
    trained = load_trained(trial.path, work.device, keep_memory=True)
    return {draws: sampling_seconds(trained, work.store, SPLIT, draws) for draws in TIMED}


def _evaluate(split: str, trial: Trial, work: Work, on_progress: OnProgress) -> Evaluated:
    begun = time.monotonic()
    trained = load_trained(trial.path, work.device, keep_memory=True)
    by: By = "slice" if work.brief else "auto"
    evaluation = evaluate(
        trained, work.store, split, samples=SAMPLES, seed=SEED, limit=work.limit, by=by, on_progress=on_progress
    )
    write_numbers(trial.path / f"evaluation-{split}", evaluation)
    return Evaluated(limit=work.limit, seconds=time.monotonic() - begun)
