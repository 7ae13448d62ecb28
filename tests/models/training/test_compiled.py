"""`hardware.compile`: every convolution of every method runs in a graph of torch's compiler, wherever the method calls it."""

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partialmethod
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from ambiseg.models.core.method import Method
from ambiseg.models.methods.registry import methods
from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.run_record import RunRecord
from ambiseg.models.training.distributed import joined_processes
from ambiseg.models.training.loop import train
from ambiseg.models.training.stepper import Stepper
from ambiseg.preprocessing.store.store import Store

CPU = torch.device("cpu")
METHODS = [
    *[(method, ()) for method in methods()],
    ("gated", ("options.shapes=ssn",)),
    ("refine", ("options.latent=vae",)),
]


def record(store: Store, method: str, *settings: str) -> RunRecord:
    exact = ["hardware.precision=float32", "data.crop=24", "batch=4", "steps=4", "validation.every=4"]
    return RunRecord.of(make_config(method, "known-truth", settings=[*exact, *settings]), store, "cpu")


@pytest.mark.filterwarnings("ignore")  # torch.compile warns of its own parts
@pytest.mark.parametrize(("method", "settings"), METHODS)
def test_no_convolution_is_left_out(
    known_truth: Store, monkeypatch: pytest.MonkeyPatch, method: str, settings: tuple[str, ...]
) -> None:
    """Traced, not translated: a backend that runs a graph as it is needs no compiler. Only single layers may be left."""
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="eager"))
    ran: list[torch.Size] = []
    convolution = F.conv2d

    def noted(image: Tensor, weight: Tensor, *rest: object) -> Tensor:
        if not torch.compiler.is_compiling():
            ran.append(weight.shape)
        return convolution(image, weight, *rest)

    with inside_networks() as networks:
        monkeypatch.setattr(F, "conv2d", lambda *inputs: noted(*inputs) if not networks else convolution(*inputs))
        plain = stepped(known_truth, method, "hardware.compile=false", *settings)
    monkeypatch.setattr(F, "conv2d", noted)
    alone, ran[:] = Counter(ran), []
    torch._dynamo.reset()
    compiled = stepped(known_truth, method, "hardware.compile=true", *settings)
    assert Counter(ran) <= alone
    if method != "refine":  # whose dropout is another in a graph
        assert (weights(compiled) - weights(plain)).abs().mean() < 1e-4 * weights(plain).abs().mean()


@contextmanager
def inside_networks() -> Iterator[list[nn.Module]]:
    """The networks, not mere sequences of layers, that are running at any time within the block."""
    running: list[nn.Module] = []

    def network(module: nn.Module) -> bool:
        return any(True for _ in module.children()) and type(module) is not nn.Sequential

    def enter(module: nn.Module, *_: object) -> None:
        if network(module):
            running.append(module)

    def leave(module: nn.Module, *_: object) -> None:
        if network(module):
            running.pop()

    with register_module_forward_pre_hook(enter), register_module_forward_hook(leave):
        yield running


def weights(method: Method) -> Tensor:
    return torch.cat([each.detach().flatten() for each in method.parameters()])


def stepped(store: Store, method: str, *settings: str) -> Method:
    """A method after four steps, in which each of its stages has some."""
    with joined_processes(CPU) as (processes, device):
        stepper = Stepper(record(store, method, *settings), store, device, processes)
        for step in range(4):
            stepper.step(step)
    return stepper.state.method


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_networks_train_as_others_do(known_truth: Store, tmp_path: Path) -> None:
    torch._dynamo.reset()
    losses = []
    for compiled in ("false", "true"):
        made = record(known_truth, "gated", f"hardware.compile={compiled}", "options.gate_dropout=0")
        run = Run.create(tmp_path / compiled, made)
        assert train(run, known_truth, CPU)
        losses.append(
            {name: value for name, value in run.read_log()[0].items() if "loss" in name or name == "cross_entropy"}
        )
    assert losses[0]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
