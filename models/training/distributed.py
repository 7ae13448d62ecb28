"""Training in several processes (torchrun): each computes a share of every batch, and gradients are averaged explicitly."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ambiseg.preprocessing.errors import ResourceError, UsageError


@dataclass(frozen=True)
class Processes:
    """This process's number `rank` among `world`."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that validates, logs and saves."""
        return self.rank == 0

    def check_batch(self, batch: int) -> None:
        """Raise UsageError unless the processes can share a batch evenly."""
        if batch % self.world:
            raise UsageError(
                f"A batch of {batch} images cannot be shared by {self.world} processes: choose a multiple for `batch`."
            )

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients by their mean over all processes, in one message."""
        if self.world == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        parts = (flat / self.world).split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def same(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's values."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def agree(self, flag: bool, device: torch.device) -> bool:
        """The first process's flag, in all processes."""
        if self.world == 1:
            return flag
        tensor = torch.tensor(int(flag), device=device)
        dist.broadcast(tensor, 0)
        return bool(tensor.item())


def launched_rank() -> int | None:
    """This process's number as torchrun gave it; None if it was started alone."""
    return int(os.environ["RANK"]) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else None


@contextmanager
def joined_processes(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """Join the group of processes that torchrun started, if any; yields this process's place in it and its device.

    Raises ResourceError in the others when a process of the group ends before the training does, or cannot be reached.
    """
    if launched_rank() is None:
        yield Processes(), device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    with _others_named():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield Processes(dist.get_rank(), dist.get_world_size()), device
        finally:
            dist.destroy_process_group()


@contextmanager
def _others_named() -> Iterator[None]:
    """Turn what torch raises where another process does not answer into a ResourceError. Of gloo it is a plain RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        count = os.environ["WORLD_SIZE"]
        raise ResourceError(
            f"Another of the {count} processes that train together has ended or cannot be reached: its own output says why. "
            "What was saved is kept; start all of them again, with `resume`."
        ) from error
