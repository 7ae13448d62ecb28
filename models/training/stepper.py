"""One training step: a batch, then a move of each active player, then the averaged weights.

All randomness of step n comes from generators seeded by (seed of the run, n), so any step can be taken again.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.store.store import Store

from ..core.batch import Batch
from ..core.method import Method, Player
from ..core.named_readers import reader_numbers
from ..core.randomness import generator_for, seed_of
from ..runs.config import HardwareSettings
from ..runs.hardware import autocast, keep_freed_memory, training_precision
from ..runs.run_record import RunRecord
from .checkpoint import initial_state
from .crops.augment import make_batch
from .crops.crop_source import Share, crop_source
from .crops.taught_crops import TaughtMasks, TaughtSource
from .distributed import Processes
from .fine_tune import Frozen, begin_from
from .graphs import NetworkGraphs, check_graphs
from .schedule import Span, laid_out, learning_rate, span_of

Terms = Mapping[str, Tensor]


def check_hardware(hardware: HardwareSettings, device: torch.device) -> torch.dtype:
    """The precision of a run on a device. Raises UsageError for settings that the device does not support."""
    check_graphs(hardware, device)
    return training_precision(hardware.precision, device)


class Stepper:
    """Everything that a training step needs: the crops, the training state, the schedule, the precision.

    Attributes:
        state: the method with its weights, averaged weights and optimisers; `step` changes all of these.
        spans: the stages of the method, laid out over the steps of the run.
    """

    def __init__(
        self,
        record: RunRecord,
        store: Store,
        device: torch.device,
        processes: Processes,
        taught: TaughtMasks | None = None,
    ):
        self.window, self.centre = record.window, record.centre
        self.device, self.processes = device, processes
        self.config = config = record.config
        self.precision = check_hardware(config.hardware, device)
        if device.type == "cpu":
            keep_freed_memory()
        else:
            torch.backends.cudnn.benchmark = True  # shapes stay the same, so the search for fast algorithms pays off
        processes.check_batch(config.batch)
        share = Share(config.batch, config.seed, processes.rank, processes.world)
        source = crop_source(store, device, config.data.memory, share)
        self.source = source if taught is None else TaughtSource(source, taught, share)
        self.state = initial_state(config, store, device)
        method = self.state.method
        _check_normalisation(method, config.batch // processes.world)
        self.graphs = NetworkGraphs(method, self._autocast, self.source.settle) if config.hardware.graphs else None
        self.spans = laid_out(method.stages(), config)
        self.frozen: Frozen | None = None
        self.names = known = record.data.reader_names
        self.readers = reader_numbers(store.reader_names, known).to(device) if known else None

    def begin(self) -> None:
        """Start from the trained model that the settings name; for a run without a state."""
        begin_from(self.state.method, self.config, self.names)
        if self.state.averaged is not self.state.method:
            self.state.averaged.load_state_dict(self.state.method.state_dict())

    def freeze(self) -> None:
        """Keep the frozen parts as they are from now on."""
        if self.config.start.frozen:
            self.frozen = Frozen(self.state.method, self.config.start.frozen)

    def step(self, number: int) -> Terms:
        """Take the step of this number, from 0; returns the losses of its players with their terms, on the device.

        The terms of a player have its name in front where its stage has several players.
        """
        span = span_of(number, self.spans)
        with self.graphs.during(span.stage.name) if self.graphs else nullcontext():
            return self._step_of(span, number)

    @contextmanager
    def without_graphs(self) -> Iterator[None]:
        """In this block the networks run as they are written, not as CUDA graphs; later steps capture them again."""
        graphs, self.graphs = self.graphs, None
        if graphs:
            graphs.release()
        try:
            yield
        finally:
            self.graphs = graphs

    def _step_of(self, span: Span, number: int) -> Terms:
        state, players = self.state, span.stage.players
        done, steps = number - span.begin, span.end - span.begin
        if done == 0:
            state.stale = 0
            state.best = state.best if span.again else math.inf  # each stage keeps weights of its own
        batch = self.batch_of(number, done / steps)
        torch.manual_seed(seed_of(self.config.seed, "dropout", number, self.processes.rank))
        state.method.train()
        if self.frozen:
            self.frozen.before()
        with self._autocast():
            batch = span.stage.prepare(batch, self._generator("prepare", number))
        terms: dict[str, Tensor] = {}
        for player in players:
            if player.active(done):
                rate = player.learning_rate * learning_rate(self.config.optimiser, done, steps)
                optimiser = state.optimisers[f"{span.stage.name}/{player.name}"]
                found = self._move(player, optimiser, rate, batch, self._generator(player.name, number))
                terms |= found if len(players) == 1 else {f"{player.name}/{name}": one for name, one in found.items()}
        state.scaler.update()
        if self.frozen:
            self.frozen.after()
        self.processes.same(state.method.buffers())
        if state.averaged is not state.method:
            update_average(state.averaged, state.method, self.config.optimiser.ema, number)
        return terms

    def _move(
        self,
        player: Player,
        optimiser: torch.optim.Optimizer,
        rate: float,
        batch: Batch,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """One move of a player: its loss, the gradients, the optimiser's step. Returns the loss and its terms."""
        state, clip = self.state, self.config.optimiser.clip
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        with self._autocast():
            loss = player.loss(batch, generator)
        state.scaler.scale(loss.total).backward()
        self.processes.average_gradients(player.parameters)
        if clip:
            state.scaler.unscale_(optimiser)
            nn.utils.clip_grad_norm_(player.parameters, clip)
        state.scaler.step(optimiser)
        return {name: term.detach().float() for name, term in {"loss": loss.total, **loss.terms}.items()}

    def batch_of(self, number: int, progress: float) -> Batch:
        """The batch of a step, `progress` of the way through its stage."""
        config = self.config
        generator = self._generator("batch", number)
        crops = self.source.fetch(number)
        batch = make_batch(
            crops, config.data, config.augment, self.window, generator, progress, self.readers, centre=self.centre
        )
        if config.hardware.channels_last:
            batch = replace(batch, image=batch.image.to(memory_format=torch.channels_last))
        return batch

    def _autocast(self) -> AbstractContextManager[Any]:
        return autocast(self.precision, self.device, graphs=self.config.hardware.graphs)

    def _generator(self, purpose: str, number: int) -> torch.Generator:
        """The random numbers that this process has for a purpose in a step."""
        return generator_for(self.config.seed, purpose, number, self.processes.rank, device=self.device)


def _check_normalisation(method: Method, images: int) -> None:
    """Raise UsageError if batch statistics would have to be taken from a single image."""
    if images < 2 and any(isinstance(layer, nn.BatchNorm2d) for layer in method.modules()):
        raise UsageError(
            "The networks normalise over a batch, but each process gets only 1 image per step: choose a larger `batch`, or "
            "set options.norm=false if the method has that option."
        )


@torch.no_grad()
def update_average(averaged: nn.Module, method: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards those of the method; faster in early steps, so that the start is forgotten.

    Buffers of real numbers (the statistics of BatchNorm, codes) move along: averaged weights with the statistics of the
    latest batches are wrong while the weights still move fast (decision 0014). Other buffers are copied.
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
