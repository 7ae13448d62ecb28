"""The range that an image's values use: a few pixels that stray far from all others do not count.

The values lie between two whiskers, as in a box plot. The quantiles at 0.5 % and 99.5 % (those of nnU-Net's scheme for CT:
Isensee et al., Nature Methods 18, 2021) are a distance apart; a whisker ends at the last value that lies no farther than
this distance beyond its quantile. Where no value strays, the range is that from the least to the greatest value.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = (0.005, 0.995)
MOST = 2**22  # values from which quantiles are taken


def usual_range(values: NDArray[Any]) -> tuple[float, float]:
    """The range that values of any shape use, without those that stray.

    Args:
        values: Finite numbers, at least one.

    Returns:
        The lowest and the highest value that does not stray.

    Example:
        >>> values = np.linspace(0, 1, 4096)
        >>> values[7] = 1e6
        >>> usual_range(values)
        (0.0, 1.0)
    """
    flat = np.asarray(values).reshape(-1)
    low, high = float(flat.min()), float(flat.max())
    if flat.dtype == bool or low == high:
        return low, high
    least, most = _fences(flat[:: -(-len(flat) // MOST)])
    if least <= low and high <= most:
        return low, high
    kept = flat[(flat >= least) & (flat <= most)]
    return float(kept.min()), float(kept.max())


def _fences(flat: NDArray[Any]) -> tuple[float, float]:
    """Beyond these values stray. Where nearly all values are one, the quantiles are those of the others."""
    low, high = _quantiles(flat)
    if low == high:
        others = flat[flat != low]
        least, most = _quantiles(others)
        low, high = min(low, least), max(high, most)
    return low - (high - low), high + (high - low)


def _quantiles(flat: NDArray[Any]) -> tuple[float, float]:
    """The values of `flat` at both quantiles; values of the array, none between two of them."""
    places = [round(share * (len(flat) - 1)) for share in QUANTILES]
    ordered = np.partition(flat, places)
    return float(ordered[places[0]]), float(ordered[places[1]])


@dataclass
class RangeOfMany:
    """The range that the values of many images use, taken one image after the other in bounded memory.

    Up to four million values are kept, evenly spread over the images; the range of a small data set is exact.
    """

    low: float = np.inf
    high: float = -np.inf
    _kept: list[NDArray[Any]] = field(default_factory=list)
    _step: int = 1

    def add(self, values: NDArray[Any]) -> None:
        """Take the values of one image, of any shape."""
        flat = np.asarray(values).reshape(-1)
        self.low, self.high = min(self.low, float(flat.min())), max(self.high, float(flat.max()))
        self._kept.append(flat[:: self._step].copy())
        while sum(map(len, self._kept)) > MOST and max(map(len, self._kept)) > 1:
            self._step *= 2
            self._kept = [part[::2] for part in self._kept]

    def usual(self) -> tuple[float, float]:
        """The range that the values use, without those that stray."""
        kept = np.concatenate(self._kept)
        least, most = _fences(kept) if kept.min() < kept.max() else (self.low, self.high)
        low, high = usual_range(kept)
        return (self.low if self.low >= least else low), (self.high if self.high <= most else high)
