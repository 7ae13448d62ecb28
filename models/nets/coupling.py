"""Optimal transport between a model's masks and the readers' as a training loss (Gao et al. 2023, section 3.2).

The distance is 1 - IoU of soft masks. A coupling says how much of each reader's weight each mask takes. The masks learn to be
near the readers whose weight they take; the probabilities of the masks learn the weight that they took.
"""

import torch
from torch import Tensor


def soft_jaccard_distances(left: Tensor, right: Tensor) -> Tensor:
    """1 - IoU of soft masks. One pixel is added to intersection and union, so that two empty masks have distance 0.

    Args:
        left: foreground planes [B, S, P] of numbers 0 to 1.
        right: foreground planes [B, T, P].

    Returns:
        Distances [B, S, T], 0 to 1, float32.

    Example:
        >>> empty, full = torch.zeros(1, 1, 9), torch.ones(1, 1, 9)
        >>> soft_jaccard_distances(torch.cat((empty, full), 1), full).flatten().round(decimals=2).tolist()
        [0.8999999761581421, 0.0]
    """
    left, right = left.float(), right.float()
    common = left @ right.mT
    union = left.sum(2).unsqueeze(2) + right.sum(2).unsqueeze(1) - common
    return 1 - (common + 1) / (union + 1)


@torch.no_grad()
def greedy_coupling(cost: Tensor, most: float) -> Tensor:
    """How much of each reader's weight each mask takes, at little cost; all readers have the same weight 1 / M.

    Readers choose in turn, the one with the cheapest mask first. Each gives its weight to its nearest masks, until these hold
    `most`. The coupling is the best one if there is one reader, or if no mask is the nearest of more readers than it can hold
    (with `most` = 1 it never is). Otherwise it is feasible, and can be dearer than the best.

    Args:
        cost: distances [B, N, M] between N masks and M readers.
        most: the weight that one mask can hold; N masks must be able to hold 1 together.

    Returns:
        Weights [B, N, M], >= 0. Columns sum to 1 / M, rows to at most `most`. No gradients.

    Raises:
        ValueError: the masks cannot hold the readers' weight.

    Example:
        >>> cost = torch.tensor([[[0.0, 0.1], [0.2, 1.0]]])  # both readers are nearest to the first mask
        >>> greedy_coupling(cost, 1.0).tolist()
        [[[0.5, 0.5], [0.0, 0.0]]]
        >>> greedy_coupling(cost, 0.5).tolist()
        [[[0.5, 0.0], [0.0, 0.5]]]
    """
    batch, masks, readers = cost.shape
    if masks * most < 1:
        raise ValueError(f"{masks} masks that hold at most {most} each cannot hold the weight 1 of all readers")
    cost = cost.float()
    room = cost.new_full((batch, masks), most)
    found = torch.zeros_like(cost)
    turns = cost.amin(1).argsort(dim=1, stable=True)
    for reader in turns.unbind(1):
        column = reader[:, None, None].expand(-1, masks, 1)
        nearest = cost.gather(2, column).squeeze(2).argsort(dim=1, stable=True)
        left = room.gather(1, nearest)
        filled = left.cumsum(1).clamp_max(1 / readers)  # what the nearest n masks take together
        taken = filled.diff(dim=1, prepend=filled.new_zeros(batch, 1))
        given = torch.zeros_like(room).scatter_(1, nearest, taken)
        found.scatter_(2, column, given.unsqueeze(2))
        room -= given
    return found
