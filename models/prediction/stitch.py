"""From the slices of one draw to one smooth volume (docs/decisions/0004).

A draw's class logits are smoothed across slices over less than the distance of most scans' slices, and a slice in which
the draw marks nothing, between near ones in which it does, is interpolated from those.
"""

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.predictive import Stitch

SMOOTH_MM = 0.5  # standard deviation across slices
LEAST = 0.01  # weights below are none, so that slices 1.6 mm apart or more stay as they are
GAP_MM = 5.0  # the largest distance of two marked slices between which unmarked ones are filled


def stitching(place_mm: NDArray) -> Stitch:
    """The function that stitches logits [Z, S, K, H, W] of slices at `place_mm` [Z], in ascending order."""
    place = torch.as_tensor(place_mm, dtype=torch.float32)
    near = torch.exp(-0.5 * ((place[:, None] - place) / SMOOTH_MM) ** 2)
    near[near < LEAST] = 0
    near /= near.sum(1, keepdim=True)

    def stitched(logits: Tensor) -> Tensor:
        smooth = torch.tensordot(near.to(logits.device), logits.float(), 1)
        return _bridged(smooth, place.to(logits.device))

    return stitched


def _bridged(logits: Tensor, place: Tensor) -> Tensor:
    """Logits [Z, S, K, H, W] with the holes of each draw filled by linear interpolation between marked slices."""
    marked = (logits[:, :, 1:].amax(2) > logits[:, :, 0]).flatten(2).any(2)
    number = torch.arange(len(place), device=place.device)[:, None].expand_as(marked)
    below = torch.where(marked, number, -1).cummax(0).values
    above = torch.where(marked, number, len(place)).flip(0).cummin(0).values.flip(0)
    slices, draws = torch.nonzero(~marked & (below >= 0) & (above < len(place)), as_tuple=True)
    below, above = below[slices, draws], above[slices, draws]
    near = (place[above] - place[below] <= GAP_MM) | (above - below == 2)
    slices, draws, below, above = (each[near] for each in (slices, draws, below, above))
    share = ((place[slices] - place[below]) / (place[above] - place[below]))[:, None, None, None]
    logits[slices, draws] = torch.lerp(logits[below, draws], logits[above, draws], share)
    return logits
