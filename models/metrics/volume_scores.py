"""Forecasts of a lesion's volume, and of whether it is there at all, against the volumes that readers marked.

A model's weighted masks of a lesion are a forecast: volumes with weights, where volume 0 means "no lesion". A reader's
volume is an outcome. Three questions are asked:
- presence: does the reader mark the lesion anywhere? The forecast is the weight of the masks that mark something;
- volume, over all readers, 0 for those who marked nothing: continuous ranked probability score (CRPS; Gneiting & Raftery
  2007, eq. 21), E|X - y| - E|X - X'| / 2. It is in the unit of X, 0 is perfect, and for a single mask it is |x - y|;
- volume given that the lesion is marked: the masks that mark something, their weights scaled to 1, against the readers who
  marked it. It is not defined for a forecast without such masks.

The quantile of level q of a weighted set is its smallest value at which the cumulated weight reaches q.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .outcomes import FLOOR
from .summary import NAN, mean_of_defined

TOLERANCE = 1e-12  # of cumulated weights
INTERVALS = {50: (0.25, 0.75), 90: (0.05, 0.95)}  # the quantiles at the ends of each interval, by its level in per cent


def crps(
    values: NDArray[np.float64], weights: NDArray[np.float64], observed: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Continuous ranked probability score of a weighted set of numbers.

    Args:
        values: of the forecast [S].
        weights: of these values [S], sum 1.
        observed: the outcomes [M], in the same unit.

    Returns:
        The score of each outcome [M], in the same unit; 0 is perfect.

    Example:
        >>> crps(np.array([0.0, 2.0]), np.array([0.5, 0.5]), np.array([0.0, 5.0])).tolist()
        [0.5, 3.5]
    """
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    to_observed = weights @ np.abs(values[:, None] - observed)
    among = 2 * (weights * values * (2 * np.cumsum(weights) - weights - 1)).sum()  # E|X - X'|
    found: NDArray[np.float64] = to_observed - among / 2
    return found


def weighted_quantiles(
    values: NDArray[np.float64], weights: NDArray[np.float64], levels: Sequence[float]
) -> NDArray[np.float64]:
    """Quantiles of a weighted set of numbers.

    Args:
        values: the numbers [S].
        weights: of these numbers [S], sum 1.
        levels: of the quantiles [L], 0 to 1.

    Returns:
        For each level the smallest value at which the cumulated weight reaches it [L].

    Example:
        >>> weighted_quantiles(np.array([3.0, 1.0, 2.0]), np.array([0.2, 0.5, 0.3]), [0.05, 0.5, 0.51]).tolist()
        [1.0, 1.0, 2.0]
    """
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(weights[order])
    place = np.searchsorted(cumulated, np.asarray(levels) * cumulated[-1] - TOLERANCE)
    return values[order][np.minimum(place, len(values) - 1)]


@dataclass(frozen=True)
class VolumeForecast:
    """A lesion's volume as a weighted set.

    Attributes:
        volumes: in mm3 [S]; 0: no lesion. Without a known voxel size in voxels, for `presence` alone.
        weights: of these volumes [S], sum 1.
    """

    volumes: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def presence(self) -> float:
        """Probability that the lesion is marked."""
        return float(self.weights[self.volumes > 0].sum())

    @property
    def marked(self) -> "VolumeForecast | None":
        """The forecast given that the lesion is marked; None where that has no weight."""
        here = (self.volumes > 0) & (self.weights > 0)
        if not here.any():
            return None
        return VolumeForecast(self.volumes[here], self.weights[here] / self.weights[here].sum())

    @property
    def expected(self) -> float:
        """Expected volume."""
        return float(self.volumes @ self.weights)

    def quantiles(self, levels: Sequence[float]) -> NDArray[np.float64]:
        """Quantiles [L] of the volume, as `weighted_quantiles` defines them."""
        return weighted_quantiles(self.volumes, self.weights, levels)


@dataclass(frozen=True)
class Verdict:
    """A forecast of one lesion judged by its readers.

    Attributes:
        scores: means over the readers, by name; nan where one is not defined.
        stated: the forecast probability that a reader marks the lesion [R].
        marked: whether the reader did [R].
        counted: the number of readers who marked it and for whom the forecast says how large it is.
        expected: sum over these readers of the expected volume given that it is marked, in mm3.
        volume: sum over them of the volume that they marked, in mm3.
        log_ratio: sum over them of the logarithm of the one over the other.
    """

    scores: dict[str, float]
    stated: NDArray[np.float64]
    marked: NDArray[np.bool_]
    counted: int
    expected: float
    volume: float
    log_ratio: float


def judge_volumes(forecast: VolumeForecast, readers: NDArray[np.float64], *, in_mm: bool = True) -> Verdict:
    """Judge a forecast of a lesion's volume by what the readers marked.

    Args:
        forecast: the weighted set of volumes.
        readers: the volume that each reader marked [R], in the unit of the forecast; 0: the reader marked nothing.
        in_mm: whether the unit is mm3. Without a known voxel size only presence is judged.

    Returns:
        The figures, by the names of the lesion catalogue's blocks "presence" and "volume".

    Example:
        >>> forecast = VolumeForecast(np.array([0.0, 100.0]), np.array([0.25, 0.75]))
        >>> found = judge_volumes(forecast, np.array([0.0, 100.0]))
        >>> found.scores["presence_brier"], found.scores["volume_crps"], found.counted
        (0.3125, 31.25, 1)
    """
    marked = readers > 0
    stated = np.full(len(readers), forecast.presence)
    scores = presence_scores(stated, marked)
    given = forecast.marked if in_mm and marked.any() else None
    count = int(marked.sum()) if given is not None else 0
    expected = NAN if given is None else given.expected
    if in_mm:
        scores |= _all_readers(forecast, readers) | _width(forecast)
    scores |= {} if given is None else _those_who_marked(given, readers[marked])
    return Verdict(
        scores={name: scores.get(name, NAN) for name in NAMES},
        stated=stated,
        marked=marked,
        counted=count,
        expected=count * expected if count else 0.0,
        volume=float(readers[marked].sum()) if count else 0.0,
        log_ratio=float(np.log(expected / readers[marked]).sum()) if count else 0.0,
    )


NAMES = (
    "presence_brier",
    "presence_nll",
    "volume_crps",
    "log1p_volume_crps",
    "log_volume_crps",
    *(f"volume_in_{level}" for level in INTERVALS),
    *(f"volume_width_{level}" for level in INTERVALS),
)
GIVEN_MARKED = ("log_volume_crps", *(f"volume_in_{level}" for level in INTERVALS))  # means over those who marked it


def presence_scores(stated: NDArray[np.float64], marked: NDArray[np.bool_]) -> dict[str, float]:
    """Brier score and negative log-likelihood of presence, means over readers.

    Args:
        stated: probability that each reader marks the lesion [R].
        marked: whether the reader did [R].

    Returns:
        "presence_brier", 0 to 1, and "presence_nll", in nats; a probability below .001 counts as .001.
    """
    chosen = np.where(marked, stated, 1 - stated)
    return {
        "presence_brier": float(((1 - chosen) ** 2).mean()),
        "presence_nll": float(-np.log(np.maximum(chosen, FLOOR)).mean()),
    }


def _all_readers(forecast: VolumeForecast, readers: NDArray[np.float64]) -> dict[str, float]:
    volumes, weights = forecast.volumes, forecast.weights
    return {
        "volume_crps": float(crps(volumes, weights, readers).mean()),
        "log1p_volume_crps": float(crps(np.log1p(volumes), weights, np.log1p(readers)).mean()),
    }


def _width(forecast: VolumeForecast) -> dict[str, float]:
    """How many times larger the upper end of each interval is than the lower one, given that the lesion is marked."""
    given = forecast.marked
    if given is None:
        return {}
    ends = {level: given.quantiles(levels) for level, levels in INTERVALS.items()}
    return {f"volume_width_{level}": float(high / low) for level, (low, high) in ends.items()}


def _those_who_marked(given: VolumeForecast, volumes: NDArray[np.float64]) -> dict[str, float]:
    """Figures of the readers who marked `volumes` [M]."""
    found = {"log_volume_crps": float(crps(np.log(given.volumes), given.weights, np.log(volumes)).mean())}
    for level, levels in INTERVALS.items():
        low, high = given.quantiles(levels)
        found[f"volume_in_{level}"] = float(((volumes >= low) & (volumes <= high)).mean())
    return found


def judge_each_by_the_others(readers: NDArray[np.float64], *, in_mm: bool = True) -> Verdict | None:
    """Readers as forecasters of each other: the volume of each is forecast by the others, with equal weights.

    Args:
        readers: the volume that each reader marked [R], mm3; 0: the reader marked nothing.
        in_mm: as for `judge_volumes`.

    Returns:
        The mean over the readers; None with a single one.
    """
    if len(readers) < 2:
        return None
    share = np.full(len(readers) - 1, 1 / (len(readers) - 1))
    found = [
        judge_volumes(VolumeForecast(np.delete(readers, number), share), readers[number : number + 1], in_mm=in_mm)
        for number in range(len(readers))
    ]
    return Verdict(
        scores={name: mean_of_defined([one.scores[name] for one in found]) for name in NAMES},
        stated=np.concatenate([one.stated for one in found]),
        marked=np.concatenate([one.marked for one in found]),
        counted=sum(one.counted for one in found),
        expected=sum(one.expected for one in found),
        volume=sum(one.volume for one in found),
        log_ratio=sum(one.log_ratio for one in found),
    )
