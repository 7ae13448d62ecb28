"""CUDA graphs of networks: which are captured, on what, and that a second run in a step is an error (no device needed)."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from ambiseg.models.benchmarks.cost.step_cost import step_cost
from ambiseg.models.core.batch import Batch
from ambiseg.models.core.method import Method
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.methods.registry import build
from ambiseg.models.nets.residual import ResidualEncoder
from ambiseg.models.nets.unet import UNet, VectorEncoder
from ambiseg.models.runs.config import make_config
from ambiseg.models.training import stepper
from ambiseg.models.training.graphs import NetworkGraphs, check_graphs
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.store.store import Store

OPTIONS = {"widths": [6, 8], "convs": 1}


class Capturing:
    """Stands for torch's `make_graphed_callables`: runs the network, as its warm-up does, and replaces its forward."""

    def __init__(self) -> None:
        self.captured: list[tuple[nn.Module, tuple[Tensor, ...]]] = []

    def __call__(self, net: nn.Module, samples: tuple[Tensor, ...]) -> nn.Module:
        for _ in range(3):
            net(*samples)
        self.captured.append((net, samples))
        written: Callable[..., Any] = net.forward

        def replayed(*inputs: Tensor) -> Any:
            with _disable_current_modes():  # nobody sees the operations of a graph
                return written(*inputs)

        net.forward = replayed
        return net

    @property
    def kinds(self) -> list[type]:
        return [type(net) for net, _ in self.captured]


@pytest.fixture
def capturing(monkeypatch: pytest.MonkeyPatch) -> Capturing:
    fake = Capturing()
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", fake)
    return fake


def batch(seed: int = 0) -> Batch:
    torch.manual_seed(seed)
    return Batch(torch.rand(2, 1, 16, 16), torch.randint(0, 2, (2, 2, 16, 16)))


def graphs_of(method: nn.Module) -> NetworkGraphs:
    return NetworkGraphs(method, nullcontext, lambda: None)


def steps(method: Method, graphs: NetworkGraphs, count: int, stage: str = "train") -> list[float]:
    losses = []
    for number in range(count):
        with graphs.during(stage):
            losses.append(method.loss(batch(number), generator_for(number)).total.item())
    return losses


def made(name: str, **options: Any) -> Method:
    torch.manual_seed(0)
    return build(name, 1, 2, {**OPTIONS, **options}).train()


@pytest.mark.parametrize(
    ("name", "options", "kinds"),
    [
        ("probunet", {}, [UNet, VectorEncoder, VectorEncoder]),
        ("probunet", {"injection": "early", "prior": "fixed"}, [UNet, VectorEncoder]),
        ("ensemble", {"members": 3}, [UNet] * 3),
        ("modal", {"codes": 4, "code_dim": 3, "latent_widths": [8]}, [ResidualEncoder] * 2),
        ("dropout", {}, []),
    ],
)
def test_whole_networks_are_captured_once(
    capturing: Capturing, name: str, options: dict[str, Any], kinds: list[type]
) -> None:
    method = made(name, **options)
    steps(method, graphs_of(method), 3)
    assert sorted(kind.__name__ for kind in capturing.kinds) == sorted(kind.__name__ for kind in kinds)


def test_losses_and_running_statistics_are_those_without_graphs(capturing: Capturing) -> None:
    """The runs before a capture move the statistics of BatchNorm; they are put back."""
    plain, graphed = made("generalized", norm=True), made("generalized", norm=True)
    without = [plain.loss(batch(number), generator_for(number)).total.item() for number in range(3)]
    assert steps(graphed, graphs_of(graphed), 3) == without
    assert capturing.captured
    for one, other in zip(plain.buffers(), graphed.buffers(), strict=True):
        assert torch.equal(one, other)


def test_samples_are_like_the_inputs(capturing: Capturing) -> None:
    method = made("probunet", injection="early")
    steps(method, graphs_of(method), 1)
    inputs = {type(net): samples[0] for net, samples in capturing.captured}
    assert inputs[UNet].shape == (4, 1 + 6, 16, 16)
    assert inputs[UNet].requires_grad  # through z
    assert not inputs[VectorEncoder].requires_grad
    assert all(samples[0].is_leaf for _, samples in capturing.captured)


def test_what_runs_twice_in_a_step_is_not_captured_and_later_an_error(capturing: Capturing) -> None:
    method = made("probunet")
    graphs = graphs_of(method)
    with graphs.during("train"):
        method.loss(batch(), generator_for(0))
        method.prior_of(batch().image)
    assert {net for net, _ in capturing.captured} == {method.unet, method.posterior[0]}
    with graphs.during("train"):
        method.loss(batch(), generator_for(0))
        with pytest.raises(RuntimeError, match="A VectorEncoder that is a CUDA graph ran twice in a step"):
            method.loss(batch(), generator_for(0))
    with graphs.during("train"):
        method.loss(batch(), generator_for(0))
    method.eval()
    with graphs.during("train"):
        for _ in range(2):
            method.loss(batch(), generator_for(0))


def test_a_new_stage_has_graphs_of_its_own(capturing: Capturing) -> None:
    method = made("probunet")
    graphs = graphs_of(method)
    steps(method, graphs, 2, "first")
    assert sum("forward" in vars(net) for net in method.modules()) == len(capturing.captured) == 3
    steps(method, graphs, 1, "second")
    assert len(capturing.captured) == 6
    assert all(len(net._forward_pre_hooks) == 1 for net, _ in capturing.captured)


def test_others_are_waited_for_before_a_capture(capturing: Capturing) -> None:
    method, seen = made("probunet"), []
    graphs = NetworkGraphs(method, nullcontext, lambda: seen.append(len(capturing.captured)))
    steps(method, graphs, 3)
    assert seen == [0]


def test_the_step_benchmark_counts_what_graphs_hide(
    capturing: Capturing, known_truth: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stepper, "check_graphs", lambda hardware, device: None)
    settings = ["data.crop=16", "batch=2", "options.widths=[6,8]", "options.convs=1", "hardware.precision=float32"]
    costs = []
    for graphs in ("false", "true"):
        config = make_config("probunet", "small", settings=[*settings, f"hardware.graphs={graphs}"])
        costs.append(step_cost(config, known_truth, torch.device("cpu"), steps=1).mean)
    assert len(capturing.captured) == 3
    assert costs[0].flops == costs[1].flops
    assert costs[0].bytes == costs[1].bytes


@pytest.mark.parametrize(("device", "compiled"), [("cpu", "false"), ("cuda", "true")])
def test_graphs_need_cuda_and_exclude_compilation(device: str, compiled: str) -> None:
    config = make_config("probunet", "small", settings=["hardware.graphs=true", f"hardware.compile={compiled}"])
    with pytest.raises(UsageError, match=r"needs CUDA and hardware\.compile = false, but the device is " + device):
        check_graphs(config.hardware, torch.device(device))
    check_graphs(make_config("probunet", "small").hardware, torch.device(device))
