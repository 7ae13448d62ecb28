"""CUDA graphs of a method's networks: one call starts hundreds of small kernels, forward and backward.

Only networks that are pure functions of tensors are captured, each on its own and with its own memory
(`torch.cuda.make_graphed_callables`, "partial-network capture" in torch's documentation). Losses, latent distributions, the
batch and the optimiser stay as they are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ambiseg.preprocessing.errors import UsageError

from ..nets.residual import ResidualEncoder
from ..nets.unet import Encoder, UNet, VectorEncoder
from ..runs.config import HardwareSettings

NETWORKS = (UNet, Encoder, VectorEncoder, ResidualEncoder)  # tensors in, tensors out, no randomness


def check_graphs(hardware: HardwareSettings, device: torch.device) -> None:
    """Raise UsageError if CUDA graphs are requested where there can be none."""
    if hardware.graphs and (device.type != "cuda" or hardware.compile):
        raise UsageError(
            f"hardware.graphs = true needs CUDA and hardware.compile = false, but the device is {device.type} and "
            f"hardware.compile is {str(hardware.compile).lower()}: leave it out."
        )


class NetworkGraphs:
    """The graphs of a method's networks in the present stage of its training.

    A network is captured if a step runs it once: a second run would overwrite what the backward pass of the first one
    needs. All parameters of a captured network get gradients, zeros where the loss does not depend on them.

    Args:
        method: whose networks are captured.
        autocast: gives the context in which losses are computed.
        settle: waits until no other thread uses the device, as a capture requires.
    """

    def __init__(
        self, method: nn.Module, autocast: Callable[[], AbstractContextManager[Any]], settle: Callable[[], None]
    ):
        self.networks = [net for net in method.modules() if isinstance(net, NETWORKS)]
        self.autocast, self.settle = autocast, settle
        self.stage: str | None = None
        self.ran: set[nn.Module] = set()
        self.guards: list[torch.utils.hooks.RemovableHandle] = []

    @contextmanager
    def during(self, stage: str) -> Iterator[None]:
        """Around a step of a stage: the first one runs without graphs, and what it ran is captured."""
        self.ran.clear()
        if stage == self.stage:
            yield
            return
        self.release()
        with _watched(self.networks) as calls:
            yield
        self.settle()
        for net in _to_capture(calls):
            self._capture(net, calls[net][0])
        self.stage = stage

    def _capture(self, net: nn.Module, inputs: Sequence[Tensor]) -> None:
        """Make `net` run as graphs on inputs like these; the runs before the capture leave its buffers as they were."""
        buffers = [buffer.clone() for buffer in net.buffers()]
        samples = tuple(each.detach().clone().requires_grad_(each.requires_grad) for each in inputs)
        with self.autocast():
            torch.cuda.make_graphed_callables(net, samples)
        for buffer, value in zip(net.buffers(), buffers, strict=True):
            buffer.copy_(value)
        self.guards.append(net.register_forward_pre_hook(self._only_once))

    def _only_once(self, net: nn.Module, inputs: tuple[Any, ...]) -> None:
        if net.training and net in self.ran:
            raise RuntimeError(
                f"A {type(net).__name__} that is a CUDA graph ran twice in a step: graphs cannot serve it."
            )
        if net.training:
            self.ran.add(net)

    def release(self) -> None:
        """Let all networks run as they are written, until the next step captures them again."""
        self.stage = None
        for guard in self.guards:
            guard.remove()
        self.guards.clear()
        for net in self.networks:
            vars(net).pop("forward", None)  # make_graphed_callables puts its own beside the class's


@contextmanager
def _watched(networks: Sequence[nn.Module]) -> Iterator[Mapping[nn.Module, list[tuple[Any, ...]]]]:
    """Yield the inputs of every run of each network in training mode, as they come."""
    calls: dict[nn.Module, list[tuple[Any, ...]]] = {}

    def note(net: nn.Module, inputs: tuple[Any, ...]) -> None:
        if net.training:
            calls.setdefault(net, []).append(inputs)

    hooks = [net.register_forward_pre_hook(note) for net in networks]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _to_capture(calls: Mapping[nn.Module, Sequence[Any]]) -> list[nn.Module]:
    """The networks that ran once, without those that ran as a part of another such."""
    once = [net for net, runs in calls.items() if len(runs) == 1]
    parts = {part for net in once for part in net.modules() if part is not net}
    return [net for net in once if net not in parts]
