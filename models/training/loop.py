"""The training loop: steps, reports, validations and checkpoints, until the end, a request to stop, or spent patience.

A run that is stopped and resumed ends with the same weights, to the bit, as one that is not (on one device and with one
number of processes).
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ambiseg.preprocessing.errors import InputError, UsageError
from ambiseg.preprocessing.files import clear_leftovers, only_writer
from ambiseg.preprocessing.store.store import Store

from ..runs.config import TrainConfig
from ..runs.run_folder import Run
from ..runs.training_list import FILE, TrainingList
from .checkpoint import new_method
from .crops.taught_crops import TaughtMasks
from .distributed import Processes, joined_processes
from .drawn_masks import taught_masks
from .interrupt import stop_requests
from .progress_figure import draw_progress
from .schedule import span_of
from .stepper import Stepper, Terms
from .validation import Validation

LOG_EVERY = 25  # steps; reading the losses makes the host wait for the device, so it is done rarely
SAVE_SECONDS = 300.0


class BudgetSpent(Exception):
    """Work ended because its caller had enough, as when its time is spent. Its state is saved; the same call resumes."""


@dataclass(frozen=True)
class Progress:
    """What an observer is given after some steps, and after each validation (`scores` not empty).

    Attributes:
        step: how many steps are done.
        steps: how many steps the run has.
        stage: name of the stage; empty after a validation.
        terms: the losses and their terms, means over the steps since the last report.
        scores: the figures of a validation, as in `validation_scores`.
        speed: steps per second; 0 after a validation.
    """

    step: int
    steps: int
    stage: str
    terms: Mapping[str, float]
    scores: Mapping[str, float]
    speed: float


Observer = Callable[[Progress], None]


def train(
    run: Run,
    store: Store,
    device: torch.device,
    observe: Observer = lambda progress: None,
    enough: Callable[[], bool] = lambda: False,
) -> bool:
    """Train a run from where it stands to its end. The masks of its teacher, if it has one, are drawn first.

    Args:
        run: the run folder, new or begun.
        store: the dataset store that the run was started on.
        device: where to train; of several processes (torchrun) each on a CUDA device takes its own.
        observe: called with the progress after some steps and after each validation.
        enough: asked after each step; once it says so the state is saved and BudgetSpent is raised.

    Returns:
        True at the end of the schedule; False if the run stopped early because validations no longer improved.

    Raises:
        BudgetSpent: it is `enough`. `train` again resumes the run.
        KeyboardInterrupt: a signal asked to stop. The state is saved; `train` again resumes the run.
        InputError: the store is not the run's data set, or has no crops to train or validate on.
        UsageError: the settings do not fit the data or the device, the loss is not a finite number, or another process
            trains the same run.
    """
    if store.content_hash != run.record.data.content_hash:
        raise InputError(
            f"{store.path} is not the data set that {run.path} was started on: give the right one as `data`."
        )
    check_data(run.record.config, store)
    with ExitStack() as held, joined_processes(device) as (processes, device), stop_requests() as stop:
        if processes.first:
            held.enter_context(only_writer(run.checkpoint, what=f"the run {run.path}", remedy="stop it"))
            clear_leftovers(run.path)
            _keep_training_list(run, store)
        taught = taught_masks(run, store, device, alone=processes.world == 1)
        loop = Loop(run, store, device, processes, observe, taught)
        ended = loop.go(lambda: stop() or enough())
        if ended is None:
            raise KeyboardInterrupt if stop() or not enough() else BudgetSpent
        return ended


def _keep_training_list(run: Run, store: Store) -> None:
    """Write down which patients and images train this run, with those of the models that it learns from; once."""
    if (run.path / FILE).is_file():
        return
    known = TrainingList.of(store)
    for model in (run.record.config.teacher.model, run.record.config.start.model):
        known = known.joined((TrainingList.read(Path(model)) if model else None) or TrainingList())
    known.write(run.path)


def check_data(config: TrainConfig, store: Store) -> None:
    """Check that a store can serve a run with these settings; worth calling before the run is created.

    Raises:
        InputError: the store has no crops to train or validate on.
        UsageError: the crops are too small, or the method cannot be built for them.
    """
    needed = ("train",) if config.validation.monitor == "none" else ("train", "val")
    for split in needed:
        if not len(store.rows(split)):
            last = ", or keep the last weights with validation.monitor=none" if split == "val" else ""
            raise InputError(
                f"{store.path} has no {split} crops: preprocess more patients, or give a split file{last}."
            )
    if config.data.crop > min(store.size):
        raise UsageError(
            f"data.crop is {config.data.crop} pixels, but the stored crops are {store.size}: choose at most that."
        )
    with torch.device("meta"):  # nothing is computed
        new_method(config, store)


class Loop:
    """One call of `train`: what its steps lead to."""

    def __init__(
        self,
        run: Run,
        store: Store,
        device: torch.device,
        processes: Processes,
        observe: Observer,
        taught: TaughtMasks | None = None,
    ):
        self.run, self.device, self.processes, self.observe = run, device, processes, observe
        self.config = run.record.config
        self.stepper = Stepper(run.record, store, device, processes, taught)
        self.state = self.stepper.state
        if run.checkpoint.is_file():
            self.state.load(run.checkpoint, device)
        else:
            self.stepper.begin()
        self.stepper.freeze()
        if processes.first:
            run.cut_log(self.state.step)
        processes.same(self.state.method.state_dict().values())
        judged = processes.first and len(store.rows("val")) > 0
        self.validation = Validation(store, run.record, device) if judged else None
        self.recent: list[Terms] = []  # of the steps since the last report
        self.since = self.saved = time.monotonic()

    def go(self, stop: Callable[[], bool]) -> bool | None:
        """Train to the end (True), until patience is spent (False), or until the answer to `stop` is yes (None)."""
        config, state = self.config, self.state
        if self._patience_is_spent():  # it stopped early before
            return False
        while state.step < config.steps:
            self.advance()
            last = state.step == config.steps
            validated = last or state.step % config.validation.every == 0
            if validated or state.step % LOG_EVERY == 0:
                self.report()  # before a validation, which a loss that is not a number would break
            if validated and self._validate():
                return False
            if self._asked(stop) and not last:
                self._save()
                return None
            if time.monotonic() - self.saved > SAVE_SECONDS:
                self._save()
        return True

    def advance(self) -> None:
        """Take the next step."""
        self.recent.append(self.stepper.step(self.state.step))
        self.state.step += 1

    def _asked(self, stop: Callable[[], bool]) -> bool:
        """Whether to stop now; several processes must stop after the same step, so they agree now and then."""
        if self.processes.world == 1:
            return stop()
        return self.state.step % LOG_EVERY == 0 and self.processes.agree(stop(), self.device)

    def report(self) -> None:
        """Log the mean losses since the last report; refuse to continue with a loss that is not a number."""
        terms, step = _means(self.recent), self.state.step
        speed = len(self.recent) / max(time.monotonic() - self.since, 1e-9)
        self.recent, self.since = [], time.monotonic()
        if not all(math.isfinite(value) for value in terms.values()):
            raise UsageError(
                f"The loss is not a finite number at step {step}: lower optimiser.learning_rate, or set optimiser.clip; "
                f"the weights from before are kept in {self.run.path}."
            )
        if self.processes.first:
            self.run.write_log({"kind": "train", "step": step, **terms, "steps_per_second": speed})
            stage = span_of(step - 1, self.stepper.spans).stage
            self.observe(Progress(step, self.config.steps, stage.name, terms, {}, speed))

    def _validate(self) -> bool:
        """Validate if there is something to validate on, keep weights, save the state, and say whether patience is spent."""
        step = self.state.step
        scores = {} if self.validation is None else self.validation.scores(self.state.averaged)
        if scores:
            self.run.write_log({"kind": "validation", "step": step, **scores})
        if self.processes.first:
            self._keep(scores)
            draw_progress(self.run)
        if scores:
            self.observe(Progress(step, self.config.steps, "", {}, scores, 0.0))
        self._save()
        self.since = time.monotonic()
        return self.processes.agree(self._patience_is_spent(), self.device)

    def _keep(self, scores: dict[str, float]) -> None:
        """Keep the averaged weights if they are the best of their stage, or where nothing decides which are best."""
        state, monitor = self.state, self.config.validation.monitor
        if monitor != "none":
            state.stale += 1
            if not scores[monitor] < state.best:
                return
            state.best, state.stale = scores[monitor], 0
        self.run.save_weights(state.averaged, state.step)

    def _patience_is_spent(self) -> bool:
        """Whether there were too many validations without improvement, which counts in the last stage only."""
        spans = self.stepper.spans
        if any(span.again and span.begin == self.state.step for span in spans):  # it is about to go on
            return False
        last = span_of(self.state.step - 1, spans).stage is spans[-1].stage
        return last and 0 < self.config.validation.patience <= self.state.stale

    def _save(self) -> None:
        if self.processes.first:
            self.state.save(self.run.checkpoint)
        self.saved = time.monotonic()


def _means(steps: list[Terms]) -> dict[str, float]:
    """Means of terms over the steps that have them; the device is waited for once."""
    columns: dict[str, list[Tensor]] = {}
    for terms in steps:
        for name, value in terms.items():
            columns.setdefault(name, []).append(value)
    means = torch.stack([torch.stack(values).mean() for values in columns.values()]).tolist()
    return dict(zip(columns, means, strict=True))
