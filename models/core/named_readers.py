"""Readers with names in a model: their numbers in a batch, and what a net does for one of them (decision 0023).

Number 0 is the pool of all readers, and numbers from 1 on are those whom the model knows by name. In training, some names are
forgotten, so that the model also learns the pool.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from .randomness import uniform

POOL = 0
FORGOTTEN = 0.5  # share of the masks whose readers count as some of the pool


def reader_numbers(seats: Sequence[str], known: Sequence[str]) -> Tensor:
    """The numbers [R] of the readers who drew masks 0 to R - 1, `POOL` for those without a name that is known.

    Args:
        seats: the readers' names, "" for one without a name.
        known: the names that a model knows, in its order.

    Example:
        >>> reader_numbers(["anna", "", "carl"], ["anna", "ben", "carl"]).tolist()
        [1, 0, 3]
    """
    return torch.tensor([1 + known.index(name) if name in known else POOL for name in seats])


def some_forgotten(readers: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers of readers [B, M], of which each becomes `POOL` with probability `FORGOTTEN`."""
    return readers.masked_fill(
        uniform(readers.shape, generator, readers.new_zeros((), dtype=torch.float32)) < FORGOTTEN, POOL
    )


def by_names(tensors: Mapping[str, Tensor], known: Sequence[str], names: Sequence[str]) -> dict[str, Tensor]:
    """Weights of a method that knows some readers, for one that knows others: a reader whom both know keeps his, and one who is
    new begins as one of the pool.
    """
    if known == names or not known:
        return dict(tensors)
    rows = reader_numbers(names, known)
    return {
        name: pad(tensor, (0, 0, 1, 0))[rows] if ".by_reader." in f".{name}" else tensor
        for name, tensor in tensors.items()
    }


class ReaderShift(nn.Module):
    """Features as a reader sees them: each times a factor and plus a shift of that reader (FiLM; Perez et al. 2018).

    Both are learned. They begin at 1 and 0, where they stay for the pool.

    Args:
        features: how many.
        readers: how many the model knows by name.

    Example:
        >>> shift = ReaderShift(features=4, readers=2)
        >>> tuple(shift(torch.rand(3, 4), torch.tensor([[0, 1], [2, 2], [0, 0]])).shape)
        (3, 2, 4)
    """

    def __init__(self, features: int, readers: int):
        super().__init__()
        self.factor = nn.Parameter(torch.zeros(readers, features))  # less 1
        self.shift = nn.Parameter(torch.zeros(readers, features))

    def forward(self, features: Tensor, readers: Tensor) -> Tensor:
        """Features [B, F] as seen by readers [B] or [B, M], by their numbers: [B, F] or [B, M, F]."""
        factor, shift = (pad(part, (0, 0, 1, 0))[readers] for part in (self.factor, self.shift))
        return (features if readers.dim() == 1 else features.unsqueeze(1)) * (1 + factor) + shift
