"""A small plot of a lesion's size, given that it is marked: all of the model's masks as a histogram, the list as marks."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.exports.segments import COLOURS

from ...metrics.size_forecast import EXTENTS, SizeForecast
from ...metrics.volume_scores import weighted_quantiles
from ...prediction.document import HypothesisEntry, LesionEntry, SizeForecastEntry

WIDTH, HEIGHT = 320.0, 84.0  # of the plot, in its own units
BASE, TOP = 58.0, 12.0  # of the bars
EDGE = 8.0  # left and right of them
BINS = 24
SPREAD = 1.08  # the axis begins and ends so many times beyond the outermost masks that it shows
RARE = 0.005  # of the weight on either side is not shown: the first and the last bar hold it
ROOM = 38.0  # between the numbers of the axis


@dataclass(frozen=True)
class Bar:
    """A bar of the histogram, or a mark of a hypothesis, in the plot's units."""

    x: float
    width: float
    y: float
    height: float
    colour: str = ""


@dataclass(frozen=True)
class Tick:
    """A number of the axis."""

    x: float
    says: str


@dataclass(frozen=True)
class SizePlot:
    """The plot: `bars` of the weights, `marks` of the hypotheses, `ticks`, and where the 90 % interval and the median lie."""

    bars: tuple[Bar, ...]
    marks: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    low: float
    median: float
    high: float


def size_plot(forecast: SizeForecast, lesion: LesionEntry) -> SizePlot | None:
    """The plot of a lesion's volume, or of its area if the scan is a single slice; None if nothing is marked."""
    measure = EXTENTS["area_mm2" in forecast.numbers]
    here = forecast.marked & (forecast.weights > 0)
    if lesion.size is None or not here.any():
        return None
    logs, weights = np.log(forecast.numbers[measure][here]), forecast.weights[here] / forecast.weights[here].sum()
    first, last = weighted_quantiles(logs, weights, (RARE, 1 - RARE))
    axis = _Axis(float(first) - math.log(SPREAD), float(last) + math.log(SPREAD))
    low, median, high = _positions(lesion.size, axis)
    return SizePlot(
        bars=tuple(_bars(logs, weights, axis)),
        marks=tuple(_marks(lesion.hypotheses, axis)),
        ticks=tuple(axis.ticks()),
        low=low,
        median=median,
        high=high,
    )


@dataclass(frozen=True)
class _Axis:
    """A logarithmic axis from `first` to `last`."""

    first: float
    last: float

    def at(self, size: float) -> float:
        """Where a size lies, within the plot."""
        share = (math.log(max(size, 1e-9)) - self.first) / (self.last - self.first)
        return round(EDGE + min(max(share, 0.0), 1.0) * (WIDTH - 2 * EDGE), 2)

    def ticks(self) -> Iterator[Tick]:
        """Round numbers that lie far enough apart."""
        span = range(math.floor(self.first / math.log(10)), math.ceil(self.last / math.log(10)) + 1)
        last = -math.inf
        for digits in ((1, 2, 5), tuple(range(1, 10)), tuple(i / 10 for i in range(10, 100))):
            numbers = [digit * 10.0**power for power in span for digit in digits]
            inside = [number for number in numbers if self.first <= math.log(number) <= self.last]
            if len(inside) >= 3:
                break
        for number in inside:
            place = self.at(number)
            if place - last >= ROOM:
                last = place
                yield Tick(place, f"{number:,.0f}" if number >= 10 else f"{number:g}")


def _bars(logs: NDArray[np.float64], weights: NDArray[np.float64], axis: _Axis) -> Iterator[Bar]:
    shown = np.clip(logs, axis.first, axis.last)
    heights, _ = np.histogram(shown, BINS, (axis.first, axis.last), weights=weights)
    width = (WIDTH - 2 * EDGE) / BINS
    for number, share in enumerate(heights / heights.max()):
        if share > 0:
            tall = round(float(share) * (BASE - TOP), 2)
            yield Bar(round(EDGE + number * width, 2), round(width - 1, 2), round(BASE - tall, 2), tall)


def _marks(hypotheses: Sequence[HypothesisEntry], axis: _Axis) -> Iterator[Bar]:
    for entry in hypotheses:
        if not entry.empty:
            size = entry.volume_mm3 if entry.area_mm2 is None else entry.area_mm2
            colour = COLOURS[(entry.rank - 1) % len(COLOURS)]
            yield Bar(round(axis.at(size or 0.0) - 3, 2), 6, 1, 8, colour)


def _positions(size: SizeForecastEntry, axis: _Axis) -> tuple[float, float, float]:
    spread = size.if_marked.extent
    return axis.at(spread.low_90), axis.at(spread.median), axis.at(spread.high_90)
