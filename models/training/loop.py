"""The one training loop, all of it visible: stages, players, autocast, averaged weights, validation, resume.

All randomness of step n comes from generators seeded by (run seed, n): a run that is stopped and resumed makes the same
weights to the bit as one that is not (on one device and one number of processes).
"""

import copy
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ambiseg.preprocessing.errors import InputError, UsageError
from ambiseg.preprocessing.files import clear_leftovers, only_writer
from ambiseg.preprocessing.store.store import Store

from ..core.batch import Batch
from ..core.method import Method, Player, Stage, build
from ..core.randomness import generator_for, seed_of
from ..runs.config import HardwareSettings, OptimiserSettings, TrainConfig
from ..runs.hardware import autocast, keep_freed_memory, training_precision
from ..runs.run_folder import Run
from ..runs.run_record import DataRecord
from .augment import make_batch
from .checkpoint import TrainingState
from .crop_source import Share, crop_source
from .distributed import Processes, joined_processes
from .graphs import NetworkGraphs, check_graphs
from .interrupt import stop_requests
from .progress_figure import draw_progress
from .validation import Validation

LOG_EVERY = 25  # steps; reading the losses makes the host wait for the device, so it is done rarely
SAVE_SECONDS = 300.0


@dataclass(frozen=True)
class Progress:
    """What an observer is told after some steps, and after each validation (`scores` not empty).

    `terms` are the losses' mean over the steps since the last report, `speed` in steps a second.
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
    """Train a run from where it stands to its end; False when it stopped early for want of improvement.

    Raises KeyboardInterrupt when asked to stop, by a signal or when it is `enough`, after saving the state; `train` again
    goes on from there.
    Raises InputError or UsageError when run, data and settings do not fit, or the loss is no finite number, and UsageError
    while another process trains the same run.
    """
    if store.content_hash != run.record.data.content_hash:
        raise InputError(
            f"{store.path} is not the data set that {run.path} was started on: give the right one as `data`."
        )
    check_data(run.record.config, store)
    with ExitStack() as held, joined_processes(device) as (processes, device), stop_requests() as stop:
        if processes.first:
            held.enter_context(only_writer(run.checkpoint))
            clear_leftovers(run.path)
        return Loop(run, store, device, processes, observe).go(lambda: stop() or enough())


def check_data(config: TrainConfig, store: Store) -> None:
    """Raise InputError or UsageError when a store cannot serve a run with these settings; worth asking before one is made."""
    for split in ("train", "val"):
        if not len(store.rows(split)):
            raise InputError(f"{store.path} has no {split} crops: preprocess more patients, or give a split file.")
    if config.data.crop > min(store.size):
        raise UsageError(
            f"data.crop is {config.data.crop} pixels, but the stored crops are {store.size}: choose at most that."
        )
    with torch.device("meta"):  # nothing is computed
        _build(config, store)


def check_hardware(hardware: HardwareSettings, device: torch.device) -> torch.dtype:
    """The precision of a run on a device. Raises UsageError for settings that the device cannot do."""
    check_graphs(hardware, device)
    return training_precision(hardware.precision, device)


class Loop:
    """The state and the constant parts of one `train` call; `step` is what the step benchmark times."""

    def __init__(self, run: Run, store: Store, device: torch.device, processes: Processes, observe: Observer):
        self.run, self.device, self.processes, self.observe = run, device, processes, observe
        self.config = config = run.record.config
        self.precision = check_hardware(config.hardware, device)
        if device.type == "cpu":
            keep_freed_memory()
        else:
            torch.backends.cudnn.benchmark = True  # shapes stay the same, so the fastest algorithms are looked for once
        processes.check_batch(config.batch)
        share = Share(config.batch, config.seed, processes.rank, processes.world)
        self.source = crop_source(store, device, config.data.memory, share)
        self.state = initial_state(config, store, device)
        method = self.state.method
        _check_normalisation(method, config.batch // processes.world)
        self.graphs = NetworkGraphs(method, self._autocast, self.source.settle) if config.hardware.graphs else None
        self.stages = _placed(method.stages(), config.steps)
        if run.checkpoint.is_file():
            self.state.load(run.checkpoint, device)
        if processes.first:
            run.cut_log(self.state.step)
        self.processes.same(method.state_dict().values())
        self.validation = Validation(store, run.record, device) if processes.first else None
        self.terms: dict[str, list[Tensor]] = {}
        self.since = self.saved = time.monotonic()
        self.counted = 0

    def go(self, stop: Callable[[], bool]) -> bool:
        """Train to the end; as `train`."""
        config, state = self.config, self.state
        if self._spent():  # it stopped early before
            return False
        while state.step < config.steps:
            self.step()
            state.step += 1
            last = state.step == config.steps
            validated = last or state.step % config.validation.every == 0
            if validated or state.step % LOG_EVERY == 0:
                self._report()  # before a validation, which a loss that is no number would break
            if validated and self._validate():
                return False
            if self._asked(stop) and not last:
                self._save()
                raise KeyboardInterrupt
            if time.monotonic() - self.saved > SAVE_SECONDS:
                self._save()
        return True

    def _asked(self, stop: Callable[[], bool]) -> bool:
        """Whether to stop now; several processes must stop after the same step, so they agree now and then."""
        if self.processes.world == 1:
            return stop()
        return self.state.step % LOG_EVERY == 0 and self.processes.agree(stop(), self.device)

    def _stage(self, step: int) -> tuple[Stage, int, int]:
        """The stage of a step, with its first step and the step after its last one."""
        return next(placed for placed in self.stages if step < placed[2])

    def step(self) -> None:
        """One step: a batch, and a move of each active player of the stage."""
        stage, begun, end = self._stage(self.state.step)
        with self.graphs.during(stage.name) if self.graphs else nullcontext():
            self._step_of(stage, self.state.step - begun, end - begun)

    def _step_of(self, stage: Stage, done: int, steps: int) -> None:
        """Step number `done` of a stage's `steps`."""
        state, config = self.state, self.config
        if done == 0:
            state.best, state.stale = math.inf, 0  # each stage keeps weights of its own
        batch = self._batch(state.step, done / steps)
        torch.manual_seed(seed_of(config.seed, "dropout", state.step, self.processes.rank))
        state.method.train()
        with self._autocast():
            batch = stage.prepare(batch, self._generator("prepare"))
        for player in stage.players:
            if not player.active(done):
                continue
            generator = self._generator(player.name)
            optimiser = state.optimisers[f"{stage.name}/{player.name}"]
            for group in optimiser.param_groups:
                group["lr"] = player.learning_rate * learning_rate(config.optimiser, done, steps)
            optimiser.zero_grad(set_to_none=True)
            with self._autocast():
                loss = player.loss(batch, generator)
            state.scaler.scale(loss.total).backward()
            self.processes.average_gradients(player.parameters)
            if config.optimiser.clip:
                state.scaler.unscale_(optimiser)
                nn.utils.clip_grad_norm_(player.parameters, config.optimiser.clip)
            state.scaler.step(optimiser)
            self._add({"loss": loss.total.detach(), **loss.terms}, "" if len(stage.players) == 1 else f"{player.name}/")
        state.scaler.update()
        self.processes.same(state.method.buffers())
        if state.averaged is not state.method:
            update_average(state.averaged, state.method, config.optimiser.ema, state.step)
        self.counted += 1

    def _autocast(self) -> AbstractContextManager[Any]:
        return autocast(self.precision, self.device, graphs=self.config.hardware.graphs)

    def _generator(self, purpose: str) -> torch.Generator:
        """The random numbers that this process has for a purpose in the present step."""
        return generator_for(self.config.seed, purpose, self.state.step, self.processes.rank, device=self.device)

    def _batch(self, step: int, progress: float) -> Batch:
        config = self.config
        generator = generator_for(config.seed, "batch", step, self.processes.rank, device=self.device)
        crops = self.source.fetch(step)
        batch = make_batch(crops, config.data, config.augment, self.run.record.window, generator, progress)
        if config.hardware.channels_last:
            batch = replace(batch, image=batch.image.to(memory_format=torch.channels_last))
        return batch

    def _add(self, terms: Mapping[str, Tensor], prefix: str) -> None:
        for name, value in terms.items():
            self.terms.setdefault(prefix + name, []).append(value.detach().float())

    def _report(self) -> None:
        """Log the mean losses since the last report; refuse to go on with a loss that is no number."""
        means = torch.stack([torch.stack(values).mean() for values in self.terms.values()]).tolist()  # read once
        terms = dict(zip(self.terms, means, strict=True))
        elapsed, step = time.monotonic() - self.since, self.state.step
        speed = self.counted / max(elapsed, 1e-9)
        self.terms, self.counted, self.since = {}, 0, time.monotonic()
        if not all(math.isfinite(value) for value in terms.values()):
            raise UsageError(
                f"The loss is no finite number at step {step}: lower optimiser.learning_rate, or set optimiser.clip; "
                f"the weights from before are kept in {self.run.path}."
            )
        if self.processes.first:
            self.run.write_log({"kind": "train", "step": step, **terms, "steps_per_second": speed})
            stage = self._stage(step - 1)[0]
            self.observe(Progress(step, self.config.steps, stage.name, terms, {}, speed))

    def _validate(self) -> bool:
        """Score the averaged weights, keep them when they are the stage's best, save the state; True when patience is spent."""
        state, settings = self.state, self.config.validation
        if self.validation is not None:
            scores = self.validation.scores(state.averaged)
            self.run.write_log({"kind": "validation", "step": state.step, **scores})
            state.stale += 1
            if scores[settings.monitor] < state.best:
                state.best, state.stale = scores[settings.monitor], 0
                self.run.save_weights(state.averaged, state.step)
            draw_progress(self.run)
            self.observe(Progress(state.step, self.config.steps, "", {}, scores, 0.0))
        self._save()
        self.since = time.monotonic()
        return self.processes.agree(self._spent(), self.device)

    def _spent(self) -> bool:
        """Whether patience is spent, which counts in the last stage only."""
        last = self._stage(self.state.step - 1)[0] is self.stages[-1][0]
        return last and 0 < self.config.validation.patience <= self.state.stale

    def _save(self) -> None:
        if self.processes.first:
            self.state.save(self.run.checkpoint)
        self.saved = time.monotonic()


def _build(config: TrainConfig, store: Store) -> Method:
    return build(config.method, DataRecord.of(store).inputs, len(store.class_names), config.options)


def _check_normalisation(method: nn.Module, images: int) -> None:
    """Raise UsageError when batch statistics would have to be taken from a single image."""
    if images < 2 and any(isinstance(layer, nn.BatchNorm2d) for layer in method.modules()):
        raise UsageError(
            "The networks normalise over a batch, but each process gets only 1 image per step: choose a larger `batch`, or set "
            "options.norm=false where the method has it."
        )


def initial_state(config: TrainConfig, store: Store, device: torch.device) -> TrainingState:
    """A freshly initialised method with its optimisers; the seed alone decides the weights."""
    torch.manual_seed(seed_of(config.seed, "initialise"))
    method = _build(config, store).to(device)
    if config.hardware.channels_last:
        method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own stub lacks it
    averaged = copy.deepcopy(method).requires_grad_(False) if config.optimiser.ema else method
    if config.hardware.compile:
        for child in method.children():
            child.compile()
    optimisers = {
        f"{stage.name}/{player.name}": _optimiser(player, config.optimiser, device)
        for stage in method.stages()
        for player in stage.players
    }
    precision = training_precision(config.hardware.precision, device)
    scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)
    return TrainingState(method, averaged, optimisers, scaler)


def _optimiser(player: Player, settings: OptimiserSettings, device: torch.device) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        list(player.parameters),
        lr=settings.learning_rate * player.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=device.type == "cuda",
    )


def _placed(stages: tuple[Stage, ...], steps: int) -> list[tuple[Stage, int, int]]:
    """Each stage with its first step and the step after its last one."""
    total, placed, begun, done = sum(stage.share for stage in stages), [], 0, 0.0
    for stage in stages:
        done += stage.share
        end = round(steps * done / total)
        placed.append((stage, begun, end))
        begun = end
    return placed


def learning_rate(settings: OptimiserSettings, step: int, steps: int) -> float:
    """The learning rate of one of a stage's steps: linear warm-up, then constant, a half cosine down to a hundredth, or
    the factors of the milestones.
    """
    rate = settings.learning_rate * min(1.0, (step + 1) / (settings.warmup + 1))
    if settings.schedule == "cosine":
        rate *= 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps))
    elif settings.schedule == "steps":
        rate *= next((factor for share, factor in reversed(settings.milestones) if step >= share * steps), 1.0)
    return rate


@torch.no_grad()
def update_average(averaged: nn.Module, method: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards the method's; early on faster, so that the start is forgotten.

    Real buffers (BatchNorm's statistics, codes) move along, as averaged weights with the latest batches' statistics are wrong
    while the weights still move fast (decision 0014); others are copied.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    (own, own_others), (news, others) = _real_and_others(averaged), _real_and_others(method)
    torch._foreach_lerp_(own, news, share)
    if others:
        torch._foreach_copy_(own_others, others)


def _real_and_others(module: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Parameters and buffers that hold real numbers, and the other buffers."""
    buffers = list(module.buffers())
    real = [buffer for buffer in buffers if buffer.is_floating_point()]
    return [*module.parameters(), *real], [buffer for buffer in buffers if not buffer.is_floating_point()]
