"""The step benchmark: exactly the arithmetic of a known network, what is computed twice, phases and their weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from ambiseg.models.benchmarks.cost import roofline
from ambiseg.models.benchmarks.cost.arithmetic import Call, Layout, record, seconds_each
from ambiseg.models.benchmarks.cost.roofline import Speeds, measure_speeds
from ambiseg.models.benchmarks.cost.step_cost import Phase, StepCost, phases, step_cost
from ambiseg.models.core.batch import Batch, Loss
from ambiseg.models.core.method import Player, Stage
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.methods.registry import build
from ambiseg.models.runs.config import make_config
from ambiseg.models.training.schedule import Span
from ambiseg.preprocessing.store.store import Store

CPU = torch.device("cpu")
TINY = ["data.crop=16", "batch=2", "options.widths=[4,6]", "options.convs=1", "validation.limit=2"]


def operations(calls: dict) -> dict[str, int]:
    """How often each operation is called, whatever its arguments."""
    counts: dict[str, int] = {}
    for call, count in calls.items():
        name = call.operation._overloadpacket.__name__
        counts[name] = counts.get(name, 0) + count
    return counts


def little_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )


def images(seed: int) -> torch.Tensor:
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_a_little_net_has_exactly_its_arithmetic() -> None:
    """Forward: the convolution and the product; backward: their gradients, but not that of the image."""
    net = little_net()
    work = record(lambda: net(images(0)).sum().backward())
    assert operations(work.needed) == {"convolution": 1, "convolution_backward": 1, "addmm": 1, "mm": 2}
    assert work.repeated == {}
    convolution, product = 2 * (2 * 4 * 8 * 8) * (3 * 9), 2 * (2 * 4 * 2)
    assert work.flops == 2 * convolution + 3 * product
    assert work.repeated_flops == 0


def test_a_little_net_moves_exactly_its_bytes() -> None:
    """Each call reads its inputs and writes its outputs, 4 bytes a number; the image needs no gradient."""
    net = little_net()
    moved = {
        call.operation._overloadpacket.__name__: call.bytes
        for call in record(lambda: net(images(0)).sum().backward()).needed
        if "conv" in call.operation._overloadpacket.__name__
    }
    image, weight, bias, features = 2 * 3 * 8 * 8, 4 * 3 * 9, 4, 2 * 4 * 8 * 8
    assert moved["convolution"] == 4 * (image + weight + bias + features)
    assert moved["convolution_backward"] == 4 * (features + image + weight + weight + bias)


def test_half_precision_moves_half_the_bytes() -> None:
    conv, image = nn.Conv2d(3, 4, 3, bias=False), images(0)
    (full,) = record(lambda: conv(image)).needed
    with torch.autocast("cpu", torch.bfloat16):
        (half,) = record(lambda: conv(image)).needed
    assert (half.dtype, full.dtype) == (torch.bfloat16, torch.float32)
    assert (half.bytes, half.flops) == (full.bytes / 2, full.flops)


def test_a_broadcast_axis_is_read_once() -> None:
    narrow = torch.rand(1, 5).expand(7, 5)
    assert Layout(tuple(narrow.shape), narrow.stride(), narrow.dtype).bytes == 5 * 4


def test_the_limit_is_the_longer_of_arithmetic_and_traffic() -> None:
    """At 100 FLOPs and 10 bytes per second: 300 FLOPs take 3 s, 50 bytes 5 s; in half precision at twice the speed."""

    def call(dtype: torch.dtype, flops: int, moved: int) -> Call:
        return Call(torch.mm, (Layout((1,), (1,), dtype),), (), flops, moved)

    speeds = Speeds({torch.float32: 100.0, torch.bfloat16: 200.0}, bandwidth=10.0)
    assert speeds.seconds({call(torch.float32, 300, 10): 1}) == 3
    assert speeds.seconds({call(torch.float32, 300, 50): 1}) == 5
    assert speeds.seconds({call(torch.bfloat16, 300, 10): 2}) == 3
    assert speeds.seconds({}) == 0


def test_speeds_are_those_of_products_or_convolutions_and_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which a product takes 1/4 s at best, the convolution less or more than that, and the copy 1/2 s."""
    product, convolution = 2 * 10**3, 2 * (2 * 3 * 64 * 64) * (3 * 9)
    for slow, fast in ((1e6, product / 0.25), (0.125, convolution / 0.125)):
        times = iter([0.5, 0.25, 0.5] + [slow] * 3 + [1.0, 0.5, 1.0])
        monkeypatch.setattr(roofline, "seconds_each", lambda work, runs, device, times=times: next(times))
        monkeypatch.setattr(roofline, "SIDES", {"cpu": 10})
        monkeypatch.setattr(roofline, "WIDTH", 3)
        monkeypatch.setattr(roofline, "COPIED", {"cpu": 1000})
        assert measure_speeds(CPU, [torch.float32]) == Speeds({torch.float32: fast}, 2 * 1000 / 0.5)


def test_the_same_numbers_through_the_same_weights_are_computed_twice() -> None:
    net, image = little_net(), images(0)
    with torch.no_grad():
        work = record(lambda: (net(image), net(image), net(image.clone())))
        apart = record(lambda: (net(image), net(images(1))))
    assert operations(work.needed) == operations(record(lambda: net(image)).needed) == {"convolution": 1, "addmm": 1}
    assert operations(work.repeated) == {"convolution": 2, "addmm": 2}
    assert work.repeated_flops * 3 == work.flops * 2
    assert operations(apart.needed) == {"convolution": 2, "addmm": 2}
    assert apart.repeated == {}


def test_calls_of_one_layout_are_one_call() -> None:
    """An ensemble's members have weights of their own, so each is needed; timed is their one layout."""
    nets = [nn.Conv2d(3, 4, 3) for _ in range(5)]
    work = record(lambda: [net(images(0)) for net in nets])
    assert list(work.needed.values()) == [5]


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.rand(2, 3, 4, 5),
        lambda: torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        lambda: torch.rand(2, 1, 4, 1).expand(2, 3, 4, 5),
        lambda: torch.rand(6, 5, dtype=torch.float64).t(),
        lambda: torch.rand(()),
    ],
)
def test_random_tensors_keep_their_layout(make: Callable[[], torch.Tensor]) -> None:
    tensor = make()
    made = Layout(tuple(tensor.shape), tensor.stride(), tensor.dtype).random(CPU)
    assert (made.shape, made.stride(), made.dtype) == (tensor.shape, tensor.stride(), tensor.dtype)


def test_a_call_runs_again_alone() -> None:
    net = little_net().to(memory_format=torch.channels_last)
    work = record(lambda: net(images(0).to(memory_format=torch.channels_last)).sum().backward())
    for call in work.needed:
        again = record(call.prepared(lambda layout: layout.random(CPU)))
        assert list(again.needed) == [call]
        assert again.flops == call.flops


def test_the_arithmetic_of_a_work_runs_again_alone_in_its_order() -> None:
    nets = [nn.Conv2d(3, 4, 3) for _ in range(5)]
    work = record(lambda: [net(images(0)).sum().backward() for net in nets])
    again = record(work.alone(CPU))
    assert list(again.needed | again.repeated) == list(work.needed)
    assert again.flops == work.flops


def test_seconds_are_those_of_one_run() -> None:
    runs: list[int] = []
    assert seconds_each(lambda: runs.append(1), 7, CPU) >= 0
    assert len(runs) == 7


def no_loss(batch: Batch, generator: torch.Generator) -> Loss:
    raise NotImplementedError


def test_phases_are_the_steps_in_which_the_same_players_move() -> None:
    first = Stage("first", (Player("one", [], no_loss),))
    second = Stage(
        "second", (Player("two", [], no_loss), Player("three", [], no_loss, active=lambda step: step % 10 < 3))
    )
    assert phases([Span(first, 0, 20), Span(second, 20, 80)]) == [
        Phase("first", ("one",), 0.25, 10),
        Phase("second", ("two", "three"), 18 / 80, 20 + 30),
        Phase("second", ("two",), 42 / 80, 20 + 33),
    ]


def test_a_whole_step_has_the_arithmetic_of_its_loss(known_truth: Store) -> None:
    settings = [*TINY, "steps=10", "augment.shift_px=0", "hardware.precision=float32", "hardware.channels_last=false"]
    config = make_config("probunet", "small", settings=settings)
    cost = step_cost(config, known_truth, CPU, steps=5)
    torch.manual_seed(0)
    method = build("probunet", 1, 2, config.options)
    batch = Batch(torch.rand(2, 1, 16, 16), torch.randint(0, 2, (2, 2, 16, 16)))
    alone = record(lambda: method.loss(batch, generator_for(0)).total.backward())
    assert cost.method == "probunet"
    assert cost.parameters == sum(parameter.numel() for parameter in method.parameters())
    assert cost.mean.flops == alone.flops
    assert cost.mean.repeated_flops == 0
    assert [phase.players for phase in cost.phases] == [("model",)]
    assert cost.mean == next(iter(cost.phases.values()))
    mean, work = cost.mean, alone.needed
    assert mean.bytes == alone.bytes
    assert mean.limit_seconds == pytest.approx(cost.speeds.seconds(work))
    assert mean.ratio == mean.seconds / mean.arithmetic_seconds
    assert mean.reached == mean.limit_seconds / mean.seconds
    assert mean.gflops_a_second == pytest.approx(mean.flops / mean.seconds / 1e9)
    assert mean.gbytes_a_second == mean.bytes / mean.seconds / 1e9


def test_the_mean_step_weights_the_phases(known_truth: Store, tmp_path: Path) -> None:
    """Refinement: a stage for the calibration net, then generator and discriminator, the latter in cycles."""
    settings = [*TINY, "steps=40", "options.refiner_width=4", "options.discriminator_width=4", "options.samples=2"]
    settings += ["options.discriminator_on=5", "options.discriminator_off=10", "options.calibrate_share=0.25"]
    seen: list[tuple[int, int]] = []
    config = make_config("refine", "small", settings=settings)
    cost = step_cost(config, known_truth, CPU, steps=5, on_progress=lambda done, total: seen.append((done, total)))
    assert [(phase.stage, phase.players) for phase in cost.phases] == [
        ("calibrate", ("calibrator",)),
        ("refine", ("generator", "discriminator")),
        ("refine", ("generator",)),
    ]
    assert [phase.share for phase in cost.phases] == [10 / 40, 10 / 40, 20 / 40]
    for name in vars(StepCost(0, 0, 0, 0, 0, 0)):
        mean = sum(phase.share * getattr(own, name) for phase, own in cost.phases.items())
        assert getattr(cost.mean, name) == pytest.approx(mean)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
