"""How a lesion's volume changed between two scans, as a distribution over what readers would have marked in both.

Each scan has a weighted set of volumes, in which 0 means "no lesion". A change needs one more assumption: which mask of the
follow-up belongs to which mask of the baseline, that is, how a reader's habits carry over.

- "independent": they do not. Every mask of the one scan meets every mask of the other, by the product of their weights.
- "same rank": wholly. A reader who marks more than a share u of all readers in the baseline does so in the follow-up (the
  comonotone coupling); masks that mark nothing are the smallest.

The truth lies between: the first makes the change as uncertain, the second as certain as the two sets allow, if size is what
readers differ in. The volume doubling time is days * ln 2 / ln(V2 / V1) (Schwartz 1961). A growth of 25 % and a doubling time
of 400 days are the limits of the British Thoracic Society (Callister et al. 2015) and of NELSON (Horeweg et al. 2014).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..metrics.size_forecast import LEVELS
from ..metrics.volume_scores import VolumeForecast, weighted_quantiles

Habit = Literal["independent", "same rank"]
HABITS: tuple[Habit, ...] = get_args(Habit)
GROWN = 0.25  # of the baseline's volume
DOUBLING_DAYS = 400.0


@dataclass(frozen=True)
class Change:
    """The change of a volume between two scans.

    Attributes:
        log_ratio: ln(V2 / V1) of each pair of masks that both mark the lesion [P].
        weights: of these pairs [P], sum 1; empty if there are none.
        both: the probability that a reader marks the lesion in both scans.
        vanished: that one marks it in the baseline alone.
        appeared: that one marks it in the follow-up alone.

    Example:
        >>> before = VolumeForecast(np.array([0.0, 100.0, 200.0]), np.array([0.2, 0.4, 0.4]))
        >>> after = VolumeForecast(np.array([150.0, 300.0]), np.array([0.5, 0.5]))
        >>> found = change(before, after, "same rank")
        >>> round(found.both, 3), round(found.appeared, 3), round(found.grown(0.25), 3)
        (0.8, 0.2, 1.0)
    """

    log_ratio: NDArray[np.float64]
    weights: NDArray[np.float64]
    both: float
    vanished: float
    appeared: float

    def grown(self, by: float) -> float:
        """P(V2 >= (1 + `by`) V1), given that the lesion is marked in both scans; nan where it never is."""
        return self._share(self.log_ratio >= math.log1p(by) - 1e-12)

    def shrunk(self, by: float) -> float:
        """P(V2 <= (1 - `by`) V1), given the same."""
        return self._share(self.log_ratio <= math.log1p(-by) + 1e-12)

    def doubles_within(self, limit: float, days: float) -> float:
        """The probability that the volume doubles within `limit` days at the rate of the `days` between the scans."""
        return self._share(self.log_ratio >= days * math.log(2) / limit - 1e-12)

    def quantiles(self, levels: Sequence[float] = tuple(LEVELS.values())) -> NDArray[np.float64]:
        """Quantiles [L] of V2 / V1, given the same; nan where there are none."""
        if not len(self.weights):
            return np.full(len(levels), np.nan)
        return np.exp(weighted_quantiles(self.log_ratio, self.weights, levels))

    def _share(self, which: NDArray[np.bool_]) -> float:
        return min(1.0, float(self.weights[which].sum())) if len(self.weights) else math.nan


def change(before: VolumeForecast, after: VolumeForecast, habit: Habit) -> Change:
    """The change between two weighted sets of volumes in mm3.

    Args:
        before: of the baseline.
        after: of the follow-up.
        habit: how a reader's habits carry over.
    """
    first, second, weights = _independent(before, after) if habit == "independent" else _same_rank(before, after)
    both = (first > 0) & (second > 0)
    share = float(weights[both].sum())
    return Change(
        log_ratio=np.log(second[both] / first[both]),
        weights=weights[both] / share if share else np.zeros(0),
        both=share,
        vanished=float(weights[(first > 0) & (second == 0)].sum()),
        appeared=float(weights[(first == 0) & (second > 0)].sum()),
    )


def doubling_days(ratio: float, days: float) -> float:
    """The volume doubling time in days; infinite where the volume did not grow.

    Example:
        >>> doubling_days(2.0, 90), doubling_days(0.9, 90)
        (90.0, inf)
    """
    return days * math.log(2) / math.log(ratio) if ratio > 1 else math.inf


Pairs = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _independent(before: VolumeForecast, after: VolumeForecast) -> Pairs:
    """All pairs of volumes, and their weights."""
    first, second = (found.ravel() for found in np.meshgrid(before.volumes, after.volumes, indexing="ij"))
    return first, second, np.outer(before.weights, after.weights).ravel()


def _same_rank(before: VolumeForecast, after: VolumeForecast) -> Pairs:
    """The pairs of volumes of the same rank: each from one step of either cumulated weight to the next."""
    orders = [np.argsort(each.volumes, kind="stable") for each in (before, after)]
    ends = [np.cumsum(each.weights[order]) for each, order in zip((before, after), orders, strict=True)]
    ends = [each / each[-1] for each in ends]
    steps = np.union1d(*ends)
    weights = np.diff(steps, prepend=0.0)
    middle = steps - weights / 2
    first, second = (
        each.volumes[order][np.minimum(np.searchsorted(end, middle), len(end) - 1)]
        for each, order, end in zip((before, after), orders, ends, strict=True)
    )
    return first, second, weights
