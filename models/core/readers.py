"""The readers whose masks go into a batch: drawn anew for each image, among those present or by known probabilities."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ambiseg.preprocessing.store.flips import Flip

from .randomness import gumbel, uniform


def present_readers(present: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw readers for each image, without repetition while there are enough.

    Args:
        present: which readers read each image [B, R].
        count: how many to draw for each image.
        generator: the source of randomness.

    Returns:
        The numbers of the readers [B, count].
    """
    scores = uniform(present.shape, generator, present).masked_fill(~present, -1.0)
    order = scores.argsort(1, descending=True)
    turn = torch.arange(count, device=present.device)[None] % present.sum(1, keepdim=True)
    return order.gather(1, turn)


def likely_modes(odds: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw modes for each image: `count` independent draws [B, count] by the probabilities of its modes [B, R]."""
    noise = gumbel((len(odds), count, odds.shape[1]), generator, odds)
    return (odds.float().log().unsqueeze(1) + noise).argmax(2)


def chosen_masks(masks: Tensor, chosen: Tensor, flips: Sequence[Flip]) -> Tensor:
    """The masks [B, M, H, W] with the numbers `chosen` [B, M] among `masks` [B, R, H, W].

    With flips there is one base label map per image, `masks` [B, 1, H, W]; mode number n has flip f applied if bit f of n
    is set.
    """
    if not flips:
        return masks.gather(1, chosen[:, :, None, None].expand(-1, -1, *masks.shape[2:]))
    base = masks.expand(-1, chosen.shape[1], -1, -1)
    result = base
    for number, flip in enumerate(flips):
        applied = ((chosen >> number) & 1).bool()[:, :, None, None]
        result = result.masked_fill(applied & (base == flip.source), flip.target)
    return result
