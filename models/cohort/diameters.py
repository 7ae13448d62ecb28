"""The distribution of the lesions' sizes in a batch, in constant memory: quartiles, fences of outliers, and a histogram."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

STEP = 1.01  # sizes are counted in steps of 1 %
FENCE = 1.5  # interquartile ranges (of the logarithm) beyond the quartiles: Tukey's fences
WIDTH, HEIGHT, FOOT = 640.0, 150.0, 24.0  # of the histogram, and of the room for its ticks
BAR = 12  # steps per bar: 13 %
TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True)
class Bar:
    """A bar of the histogram: its place and size, and what it says."""

    x: float
    y: float
    width: float
    height: float
    says: str


@dataclass(frozen=True)
class Mark:
    """A place on the axis of the histogram, and its text."""

    x: float
    says: str


@dataclass(frozen=True)
class Histogram:
    """A histogram over a logarithmic axis: its bars, ticks, and the median and the fences where they lie on it."""

    bars: Sequence[Bar]
    ticks: Sequence[Mark]
    median: float
    fences: Sequence[float]
    width: float = WIDTH
    height: float = HEIGHT + FOOT
    ground: float = HEIGHT


class Diameters:
    """Counts sizes as they come.

    Example:
        >>> found = Diameters()
        >>> for size in (4, 5, 6, 7, 8, 900):
        ...     found.add(size)
        >>> round(found.quantile(0.5)), found.is_outlier(900), found.is_outlier(4)
        (6, True, False)
    """

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, size: float) -> None:
        """Count a size in mm, which must not be 0 to count."""
        if size > 0:
            self._counts[_step(size)] += 1

    @property
    def count(self) -> int:
        """How many sizes were counted."""
        return self._counts.total()

    def quantile(self, share: float) -> float:
        """The size that this share of the sizes does not exceed, to 1 %."""
        return STEP ** self._step_at(share)

    def fences(self) -> tuple[float, float]:
        """The sizes beyond which a size is an outlier (Tukey 1977, of the logarithms)."""
        low, high = self._step_at(0.25), self._step_at(0.75)
        reach = FENCE * max(high - low, 1)
        return STEP ** (low - reach), STEP ** (high + reach)

    def is_outlier(self, size: float) -> bool:
        """Whether a size lies beyond the fences; of four sizes or fewer none does."""
        if self.count <= 4:
            return False
        low, high = self.fences()
        return not low <= size <= high

    def histogram(self) -> Histogram | None:
        """The histogram; None where nothing was counted."""
        if not self._counts:
            return None
        first, last = min(self._counts) // BAR, max(self._counts) // BAR
        tallest = max(count for _, count in self._bars(first, last))
        wide = WIDTH / (last - first + 1)

        def across(size: float) -> float:
            return round((math.log(size, STEP) / BAR - first) * wide, 2)

        bars = [
            Bar(
                round((number - first) * wide, 2),
                round(HEIGHT * (1 - count / tallest), 2),
                round(max(wide - 1, 0.5), 2),
                round(HEIGHT * count / tallest, 2),
                f"{STEP ** (number * BAR):.1f} to {STEP ** ((number + 1) * BAR):.1f} mm: {count}",
            )
            for number, count in self._bars(first, last)
            if count
        ]
        fences = [x for x in map(across, self.fences()) if self.count > 4 and 0 <= x <= WIDTH]
        ticks = [Mark(across(size), str(size)) for size in TICKS if 0 <= across(size) <= WIDTH]
        return Histogram(bars, ticks, across(self.quantile(0.5)), fences)

    def _bars(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        grouped: Counter[int] = Counter()
        for step, count in self._counts.items():
            grouped[step // BAR] += count
        yield from ((number, grouped[number]) for number in range(first, last + 1))

    def _step_at(self, share: float) -> int:
        due, passed = share * self.count, 0
        for step in sorted(self._counts):
            passed += self._counts[step]
            if passed >= due:
                return step
        raise ValueError("nothing was counted")


def _step(size: float) -> int:
    return round(math.log(size, STEP))
