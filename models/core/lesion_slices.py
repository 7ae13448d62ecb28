"""The slices of one lesion: how their masks are joined, and on which of them a reader who sees the lesion marks it.

Joining smooths a mask's class logits across slices, over less than the distance between most scans' slices. A slice on which
the mask marks nothing, between nearby slices on which it does, is interpolated from those.

A reader's marks have a first and a last slice and no gaps between, and readers are nested: of two readers, the one who marks
more slices marks all that the other does (decision 0019 has the figures). So a reader is one number u between 0 and 1,
and marks a slice if u is below the slice's marking probability.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat
from scipy.special import expit, logit
from torch import Tensor

SMOOTH_MM = 0.5  # standard deviation across slices
LEAST = 0.01  # smaller weights are dropped, so that slices 1.6 mm apart or more stay as they are
GAP_MM = 5.0  # the largest distance between two marked slices between which unmarked ones are filled
PEAK_MM = 5.0  # from the lesion's centre, within which its most probable slice lies
BISECTIONS = 50
SURE = 1e-6  # probabilities this close to 0 or 1 count as this

Reals = NDArray[np.float64]


class Extent(BaseModel):
    """How probable it is that a reader who marks the lesion marks a slice of it: numbers fitted on lesions.

    A network that learned from slices which at least one of R readers marked states marking probabilities of such slices.
    They are never below 1 / R. `among` undoes this selection: if readers mark a slice independently with probability q, the
    network states q / (1 - (1 - q)^R). Of a reader who marks the lesion somewhere, the log-odds of marking the slice are then
    `intercept` + `slope` logit q - `peak` logit Q, where Q is q of the lesion's most probable slice.

    Attributes:
        intercept: in nats.
        slope: of the slice's own log-odds, 0 or more.
        peak: of the most probable slice's log-odds.
        among: R; None if slices were not chosen by what readers marked.

    Example:
        >>> Extent(intercept=2.9, slope=1.8, peak=0.7, among=4).given(np.array([0.25, 0.6, 0.9])).round(2).tolist()
        [0.0, 0.88, 1.0]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    intercept: FiniteFloat
    slope: Annotated[FiniteFloat, Field(ge=0)]
    peak: FiniteFloat
    among: Annotated[int, Field(ge=2, le=1000)] | None = None

    def given(self, marking: Reals) -> Reals:
        """Of a reader who marks the lesion: the probability [Z] of marking each slice.

        Args:
            marking: the probability [Z] that a reader marks something on each slice, as the network states it.
        """
        return marking_chance(*self.logits(marking), self.intercept, self.slope, self.peak)

    def logits(self, marking: Reals) -> tuple[Reals, float]:
        """logit q of each slice [Z], and of the most probable one."""
        q = marking if self.among is None else unselected(marking, self.among)
        own = log_odds(q)
        return own, float(own.max())


def marking_chance(own: Reals, most: Reals | float, intercept: float, slope: float, peak: float) -> Reals:
    """The formula of `Extent`: probabilities [N], from the log-odds of slices [N] and of their lesions' most probable ones."""
    found: Reals = expit(intercept + slope * own - peak * most)
    return found


def log_odds(probabilities: Reals | float) -> Reals:
    """The log-odds of probabilities, which count as `SURE` or 1 - `SURE` where they are closer to 0 or 1."""
    found: Reals = logit(np.clip(probabilities, SURE, 1 - SURE))
    return found


def unselected(stated: Reals, among: int) -> Reals:
    """q of q / (1 - (1 - q)^R) = stated: a probability among all slices, from one among those that some of R readers marked.

    Args:
        stated: probabilities [N]; below 1 / R none is possible, and q is 0.
        among: R, the number of readers.

    Returns:
        Probabilities [N].

    Example:
        >>> unselected(np.array([0.2, 0.5, 1.0]), 2).round(3).tolist()
        [0.0, 0.0, 1.0]
    """
    low, high = np.zeros_like(stated), np.ones_like(stated)
    for _ in range(BISECTIONS):
        q = (low + high) / 2
        above = q / np.maximum(-np.expm1(among * np.log1p(-np.minimum(q, 1 - 1e-15))), 1e-300) > stated
        low, high = np.where(above, low, q), np.where(above, q, high)
    return np.where(stated >= 1, 1.0, np.where(stated <= 1 / among, 0.0, (low + high) / 2))


@dataclass(frozen=True)
class LesionSlices:
    """Where the images of a batch lie in a lesion.

    Attributes:
        place_mm: of each image [B] along the axis across slices, ascending.
        centre_mm: where the lesion's centre lies on that axis; None: on the slice on which it is most probable.
        extent: how a lesion's first and last slices are modelled; None: in proportion to the slices' marking probabilities.

    Example:
        >>> LesionSlices((0.0, 2.5, 5.0)).marks(np.array([0.2, 0.8, 0.4])).round(2).tolist()
        [0.25, 1.0, 0.5]
    """

    place_mm: Sequence[float]
    centre_mm: float | None = None
    extent: Extent | None = None

    def peak(self, marking: Reals) -> int:
        """The slice, near the centre, that a reader marks with the greatest probability."""
        if self.centre_mm is None:
            return int(marking.argmax())
        away = np.abs(np.asarray(self.place_mm) - self.centre_mm)
        near = (away <= PEAK_MM) | (away == away.min())
        return int(np.where(near, marking, -1).argmax())

    def marks(self, marking: Reals) -> Reals:
        """Of a reader who marks the lesion: the probability [B] of marking each slice, 1 at the peak.

        It falls from the peak outwards. Dips shorter than `GAP_MM` are filled, and what rises again beyond a longer one is
        another lesion.

        Args:
            marking: the probability [B] that a reader marks something on each slice.
        """
        peak = self.peak(marking)
        within = np.minimum(marking, marking[peak])
        given = within if self.extent is None else self.extent.given(within)
        given = np.minimum(given / given[peak], 1)
        filled = _without_gaps(given, np.asarray(self.place_mm))
        below, above = (np.minimum.accumulate(side) for side in (filled[: peak + 1][::-1], filled[peak:]))
        return np.concatenate((below[::-1][:-1], above))

    def join(self, logits: Tensor) -> Tensor:
        """Logits [B, S, K, H, W] of each mask, joined across slices."""
        place = torch.as_tensor(self.place_mm, dtype=torch.float32, device=logits.device)
        near = torch.exp(-0.5 * ((place[:, None] - place) / SMOOTH_MM) ** 2)
        near[near < LEAST] = 0
        near /= near.sum(1, keepdim=True)
        return _bridged(torch.tensordot(near, logits.float(), 1), place)


def _without_gaps(values: Reals, place: Reals) -> Reals:
    """Values [Z] at ascending places, raised where they dip between two slices that are near, to the lower one of these."""
    filled = values.copy()
    for apart in range(2, len(values)):
        near = (place[apart:] - place[:-apart] <= GAP_MM) | (apart == 2)
        if not near.any():
            break
        bridge = np.where(near, np.minimum(values[apart:], values[:-apart]), 0)
        for offset in range(1, apart):
            inner = filled[offset : offset + len(bridge)]
            np.maximum(inner, bridge, out=inner)
    return filled


def _bridged(logits: Tensor, place: Tensor) -> Tensor:
    """Logits [Z, S, K, H, W] with the holes of each mask filled by linear interpolation between marked slices."""
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
