"""What a model's whole weighted set of masks says about a lesion's size: spreads and probabilities, never from the list.

The mean diameter is the mean of the longest diameter within one axial slice and of the extent at right angles to it in that
slice, to a tenth of a millimetre, as Lung-RADS v2022 (American College of Radiology) and the Fleischner Society (MacMahon et
al. 2017; Bankier et al. 2017) measure nodules.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.size import Size
from .volume_scores import INTERVALS, crps, weighted_quantiles

Measure = Literal["volume_mm3", "area_mm2", "mean_diameter_mm", "long_axis_mm", "short_axis_mm"]
EXTENTS: tuple[Measure, Measure] = ("volume_mm3", "area_mm2")  # of volumes, and of single slices
DIAMETERS: tuple[Measure, ...] = ("mean_diameter_mm", "long_axis_mm", "short_axis_mm")
DIAMETERS_MM = (6.0, 8.0, 15.0)  # of the mean diameter: between the classes of Lung-RADS and of the Fleischner Society
VOLUMES_MM3 = (100.0, 250.0)  # of the volume: between the classes of the Fleischner Society


@dataclass(frozen=True)
class Spread:
    """A number as a distribution.

    Attributes:
        mean: its expected value.
        median, low_50, high_50, low_90, high_90: its quantiles of level .5, .25, .75, .05 and .95, each the smallest value at
            which the cumulated weight reaches the level.
        lower_bounds: which of these could be larger, as the masks reach the border of what was looked at.
    """

    mean: float
    median: float
    low_50: float
    high_50: float
    low_90: float
    high_90: float
    lower_bounds: tuple[str, ...] = ()


LEVELS = {
    "median": 0.5,
    **{
        f"{end}_{level}": at for level, ends in INTERVALS.items() for end, at in zip(("low", "high"), ends, strict=True)
    },
}


@dataclass(frozen=True)
class SizeForecast:
    """The sizes of a weighted set of masks of one lesion.

    Attributes:
        numbers: by measure, that of each mask [S]; 0 for a mask that marks nothing.
        weights: of the masks [S], sum 1.
        cut: which masks [S] reach the border of what was looked at, so that they may be larger.

    Example:
        >>> sizes = [Size(0, 0, 0, 0, 0), Size(90, 30, 7, 5, 3), Size(200, 50, 9, 7, 4)]
        >>> found = forecast_sizes(sizes, np.array([0.5, 0.3, 0.2]), np.zeros(3, bool))
        >>> found.at_least("mean_diameter_mm", 8), round(found.at_least("volume_mm3", 50, if_marked=False), 6)
        (0.4, 0.5)
        >>> found.spread("volume_mm3").median
        90.0
    """

    numbers: Mapping[Measure, NDArray[np.float64]]
    weights: NDArray[np.float64]
    cut: NDArray[np.bool_]

    @property
    def marked(self) -> NDArray[np.bool_]:
        """Which masks [S] mark anything."""
        return np.asarray(self.numbers[DIAMETERS[0]] > 0)

    @property
    def presence(self) -> float:
        """The probability that anything is marked."""
        return float(self.weights[self.marked].sum())

    @property
    def share_cut(self) -> float:
        """Of the masks that mark anything, the share, by weight, that reach the border of what was looked at."""
        marked = self.marked
        return float(self.weights[marked & self.cut].sum() / self.weights[marked].sum()) if self.presence else 0.0

    def spread(self, measure: Measure, *, if_marked: bool = True) -> Spread | None:
        """A measure's distribution, given that anything is marked, or over all masks; None where that has no weight."""
        here = (self.marked if if_marked else np.ones(len(self.weights), bool)) & (self.weights > 0)
        if not here.any():
            return None
        values, weights, cut = self.numbers[measure][here], self.weights[here], self.cut[here]
        weights = weights / weights.sum()
        found = weighted_quantiles(values, weights, tuple(LEVELS.values()))
        most = weighted_quantiles(np.where(cut, np.inf, values), weights, tuple(LEVELS.values()))
        bounds = [name for name, low, high in zip(LEVELS, found, most, strict=True) if high > low]
        return Spread(
            mean=float(values @ weights),
            **dict(zip(LEVELS, map(float, found), strict=True)),
            lower_bounds=(*(("mean",) if cut.any() else ()), *bounds),
        )

    def at_least(self, measure: Measure, threshold: float, *, if_marked: bool = True) -> float:
        """The probability that a measure reaches a threshold above 0; 0 where nothing is marked."""
        reached = float(self.weights[self.numbers[measure] >= threshold].sum())
        return reached / self.presence if if_marked and self.presence else reached


def forecast_sizes(
    sizes: Sequence[Size], weights: NDArray[np.float64], cut: NDArray[np.bool_], *, flat: bool = False
) -> SizeForecast:
    """The forecast of a weighted set of masks.

    Args:
        sizes: of the masks [S], in mm.
        weights: of the masks [S], sum 1.
        cut: which of them may be larger than they are seen.
        flat: whether they are masks of a single slice, which have an area and no volume.
    """
    extent = EXTENTS[flat]
    numbers: dict[Measure, NDArray[np.float64]] = {extent: np.array([getattr(size, extent) for size in sizes])}
    axes = np.array([(size.long_axis_mm, size.short_axis_mm) for size in sizes]).reshape(-1, 2)
    numbers["mean_diameter_mm"] = mean_diameter(*axes.T)
    numbers["long_axis_mm"], numbers["short_axis_mm"] = axes.T
    return SizeForecast(numbers, weights, cut)


def mean_diameter(long_axis_mm: ArrayLike, short_axis_mm: ArrayLike) -> NDArray[np.float64]:
    """The mean diameter in mm, to a tenth, of masks with these axes."""
    return np.asarray(np.round((np.asarray(long_axis_mm) + np.asarray(short_axis_mm)) / 2, 1))


def thresholds(
    diameters_mm: Sequence[float], volumes_mm3: Sequence[float], *, flat: bool
) -> Iterator[tuple[Measure, float]]:
    """The thresholds that a forecast is asked about: of the mean diameter, and of the volume where there is one."""
    yield from (("mean_diameter_mm", value) for value in sorted(set(diameters_mm)))
    if not flat:
        yield from (("volume_mm3", value) for value in sorted(set(volumes_mm3)))


@dataclass(frozen=True)
class SizeVerdict:
    """A forecast of a lesion's size judged by its readers, who have diameter 0 where they marked nothing.

    The thresholds are the usual ones (`DIAMETERS_MM`, `VOLUMES_MM3`). Each reader and threshold is an event [E].

    Attributes:
        stated: the forecast probability that the lesion is marked and its size reaches the threshold [E].
        reached: 1 where the reader's mask does, else 0 [E].
        diameter_crps: CRPS of the mean diameter in mm, mean over readers.
    """

    stated: NDArray[np.float64]
    reached: NDArray[np.float64]
    diameter_crps: float

    @property
    def scores(self) -> dict[str, float]:
        """The figures by the names of the lesion catalogue."""
        brier = float(((self.stated - self.reached) ** 2).mean())
        return {"diameter_crps": self.diameter_crps, "threshold_brier": brier}


def judge_sizes(forecast: SizeForecast, readers: SizeForecast) -> SizeVerdict:
    """Judge a forecast by the sizes of readers' masks [R], all alike.

    Example:
        >>> sizes = [Size(90, 30, 7, 5, 3), Size(300, 50, 9, 8, 4)]
        >>> both = forecast_sizes(sizes, np.array([0.25, 0.75]), np.zeros(2, bool))
        >>> found = judge_sizes(both, both)
        >>> found.stated.tolist()[:3], found.reached.tolist()[:3]
        ([1.0, 0.75, 0.0], [1.0, 0.0, 0.0])
    """
    asked = list(thresholds(DIAMETERS_MM, VOLUMES_MM3, flat=False))
    stated = [forecast.at_least(measure, value, if_marked=False) for measure, value in asked]
    reached = np.stack([readers.numbers[measure] >= value for measure, value in asked], 1)
    values, outcomes = (each.numbers["mean_diameter_mm"] for each in (forecast, readers))
    apart = crps(values, forecast.weights, outcomes)
    return SizeVerdict(np.tile(stated, len(reached)), reached.astype(float).ravel(), float(apart.mean()))


def judge_sizes_by_the_others(sizes: Sequence[Size]) -> SizeVerdict | None:
    """Readers as forecasters of each other: the size of each is forecast by the others, alike. None with a single one."""
    if len(sizes) < 2:
        return None
    found = []
    for number, size in enumerate(sizes):
        others = [each for place, each in enumerate(sizes) if place != number]
        share = np.full(len(others), 1 / len(others))
        alone = forecast_sizes([size], np.ones(1), np.zeros(1, bool))
        found.append(judge_sizes(forecast_sizes(others, share, np.zeros(len(others), bool)), alone))
    return SizeVerdict(
        np.concatenate([one.stated for one in found]),
        np.concatenate([one.reached for one in found]),
        float(np.mean([one.diameter_crps for one in found])),
    )
