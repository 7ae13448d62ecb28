"""What a training step costs beside what its arithmetic alone would, and beside the least that the device could need.

The step is the training loop's own: the batch, every active player's loss, backward pass and optimiser, the averaged
weights. A method whose players take turns is timed in each of its phases, weighted by the phase's share of the schedule.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from ambiseg.preprocessing.store.store import Store

from ...runs.config import TrainConfig
from ...runs.hardware import training_precision
from ...runs.run_record import RunRecord
from ...training.distributed import joined_processes
from ...training.schedule import Span
from ...training.stepper import Stepper
from .arithmetic import Arithmetic, record, seconds_each
from .roofline import Speeds, measure_speeds

ROUNDS = 5  # step and arithmetic are timed in turn, so that what else the machine does meets both


@dataclass(frozen=True)
class Phase:
    """The steps of a stage in which the same players move: their `share` of all steps, and the one in their middle."""

    stage: str
    players: tuple[str, ...]
    share: float
    step: int


@dataclass(frozen=True)
class StepCost:
    """The mean step of a schedule, or the step of one of its phases.

    flops: of the whole batch; repeated_flops: those among them that computed nothing new; arithmetic_seconds: the needed
    convolutions and matrix products in the step's order, on random numbers, with nothing between them; bytes: what these
    read and write, in the layouts that they have in the step; limit_seconds: the least time for them at the device's speeds.
    """

    seconds: float
    arithmetic_seconds: float
    flops: float
    repeated_flops: float
    bytes: float
    limit_seconds: float

    @property
    def ratio(self) -> float:
        """How many times its needed arithmetic a step costs; 1 would be no overhead at all."""
        return self.seconds / self.arithmetic_seconds

    @property
    def reached(self) -> float:
        """The share of the limit that the step reaches; 1 would be nothing but needed arithmetic or traffic, at full speed."""
        return self.limit_seconds / self.seconds

    @property
    def gflops_a_second(self) -> float:
        """Needed arithmetic a second, in 1e9 FLOPs."""
        return (self.flops - self.repeated_flops) / self.seconds / 1e9

    @property
    def gbytes_a_second(self) -> float:
        """Traffic of the needed arithmetic a second, in 1e9 bytes."""
        return self.bytes / self.seconds / 1e9


@dataclass(frozen=True)
class MethodCost:
    """The mean step of a method with so many `parameters`, that of each phase of its schedule, and the device's speeds."""

    method: str
    parameters: int
    mean: StepCost
    phases: Mapping[Phase, StepCost]
    speeds: Speeds


def phases(spans: Sequence[Span]) -> list[Phase]:
    """The phases of a schedule of stages."""
    total, found = spans[-1].end, []
    for stage, begun, end, _ in spans:
        numbers: dict[tuple[str, ...], list[int]] = {}
        for step in range(end - begun):
            moving = tuple(player.name for player in stage.players if player.active(step))
            numbers.setdefault(moving, []).append(begun + step)
        found += [Phase(stage.name, who, len(own) / total, own[len(own) // 2]) for who, own in numbers.items()]
    return found


def step_cost(
    config: TrainConfig,
    store: Store,
    device: torch.device,
    *,
    steps: int = 20,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> MethodCost:
    """Time the training step of a run with these settings on `store`, and its arithmetic alone.

    steps: how many steps of each phase are timed (at least one in each of `ROUNDS` rounds), after one that is not.
    """
    costs: dict[Phase, StepCost] = {}
    precision = training_precision(config.hardware.precision, device)
    speeds = measure_speeds(device, dict.fromkeys((precision, torch.float32)))
    with joined_processes(device) as (processes, device):
        stepper = Stepper(RunRecord.of(config, store, str(device)), store, device, processes)
        found = phases(stepper.spans)
        for phase in found:
            on_progress(len(costs), len(found))
            costs[phase] = _phase_cost(stepper, phase.step, max(1, steps // ROUNDS), device, speeds)
        on_progress(len(costs), len(found))
    parameters = sum(parameter.numel() for parameter in stepper.state.method.parameters())
    return MethodCost(config.method, parameters, _mean(costs), costs, speeds)


def _phase_cost(stepper: Stepper, number: int, times: int, device: torch.device, speeds: Speeds) -> StepCost:
    def step() -> None:
        stepper.step(number)

    work = _recorded(stepper, step)
    alone = work.alone(device)
    alone()
    rounds = [(seconds_each(step, times, device), seconds_each(alone, times, device)) for _ in range(ROUNDS)]
    seconds, arithmetic = (median(column) for column in zip(*rounds, strict=True))
    limit = speeds.seconds(work.needed)
    return StepCost(seconds, arithmetic, work.flops, work.repeated_flops, work.bytes, limit)


def _recorded(stepper: Stepper, step: Callable[[], None]) -> Arithmetic:
    """The arithmetic of a step, which CUDA graphs would hide; the step is then ready to be timed."""
    with stepper.without_graphs():
        step()  # allocates the optimiser's state, and lets libraries choose their algorithms
        work = record(step)
    if stepper.graphs:
        step()  # captures the graphs
    return work


def _mean(costs: Mapping[Phase, StepCost]) -> StepCost:
    columns = zip(
        *([phase.share * value for value in vars(cost).values()] for phase, cost in costs.items()), strict=True
    )
    return StepCost(*map(sum, columns))
