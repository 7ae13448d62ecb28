"""Tensors of several training processes: running statistics in a method's buffers must agree in all of them.

In a single process each function gives back what it was given.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def over_processes(tensor: Tensor) -> Tensor:
    """The sum over all processes; the tensor itself is changed."""
    if _several():
        dist.all_reduce(tensor)
    return tensor


def of_all_processes(tensor: Tensor) -> Tensor:
    """The rows of all processes, which have equally many."""
    if not _several():
        return tensor
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def of_first_process(tensor: Tensor) -> Tensor:
    """The first process's tensor, on all of them: their random numbers differ."""
    if _several():
        dist.broadcast(tensor, 0)
    return tensor


def _several() -> bool:
    return dist.is_available() and dist.is_initialized()
