"""Masks as numpy arrays, or as tensors on the GPU where the model left them: the operations that the two spell differently.

On a CPU numpy is twice as fast as torch at the product of a matrix with its own transpose, of which it computes one half.
On a GPU the masks stay where they are, and only the small tables of their overlaps come back.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

AnyArray = NDArray[Any]  # of labels, flags or numbers of any type
Masks = AnyArray | Tensor


def where_it_lies(tensor: Tensor) -> Masks:
    """The tensor itself on a GPU, an array of the same memory on the CPU."""
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


def on_host(masks: Masks) -> AnyArray:
    """As a numpy array, without a copy if it is one or shares the CPU's memory."""
    return masks.cpu().numpy() if isinstance(masks, Tensor) else masks


def beside(masks: Masks, other: Masks) -> Masks:
    """`masks` of the other's kind, on its device."""
    return _tensor(masks, other.device) if isinstance(other, Tensor) else on_host(masks)


def joined(a: Masks, b: Masks) -> Masks:
    """a [N, ...] and b [M, ...] of a's kind, one after the other [N + M, ...]."""
    return torch.cat((a, _tensor(b, a.device))) if isinstance(a, Tensor) else np.concatenate((a, on_host(b)))


def only(labels: Masks, classes: Sequence[int]) -> Masks:
    """uint8 labels with all but the given classes made background."""
    table = np.zeros(256, np.uint8)
    table[list(classes)] = classes
    if isinstance(labels, Tensor):
        return torch.from_numpy(table).to(labels.device)[labels.long()]
    kept: AnyArray = table[labels]
    return kept


def reals(flags: Masks, *, double: bool) -> Any:
    """Flags as 0.0 and 1.0 in single or double precision."""
    if isinstance(flags, Tensor):
        return flags.to(torch.float64 if double else torch.float32)
    return flags.astype(np.float64 if double else np.float32)


def _tensor(masks: Masks, device: torch.device) -> Tensor:
    """As a tensor on a device; an array is copied, since torch warns of memory that may not be written."""
    return (masks if isinstance(masks, Tensor) else torch.from_numpy(masks.copy())).to(device)
