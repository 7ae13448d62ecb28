"""Whether slices are equally spaced, as far as the written precision of their positions allows to say."""

import numpy as np
from numpy.typing import NDArray

UNEVEN = 0.05  # largest difference of a step from the mean one, as a share of it
FINE = 0.125  # positions rounded to less than this share of a step show every missing slice by the step alone
DECIMALS = 5  # positions with more of them are exact
EXACT = 1e-6  # mm
THIRDS = 50  # of the interval in which the best step lies


def rounding_mm(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """The unit to which the coordinates [3] of some positions [slices, 3] are rounded: 0.1 for one decimal; 0 if exact."""
    return np.array([_rounding(axis) for axis in positions.T])


def _rounding(values: NDArray[np.float64]) -> float:
    for decimals in range(DECIMALS):
        if np.allclose(values, values.round(decimals), rtol=0, atol=EXACT / 10):
            return float(10.0**-decimals)
    return 0.0


def equally_spaced(positions: NDArray[np.float64], normal: NDArray[np.float64]) -> bool:
    """Whether positions [slices, 3], sorted along their `normal`, can be the rounded ones of slices without a gap.

    Steps may differ by 5 %, and by the effect of rounding. Where that is much of a step, the positions must fit
    equal steps within it, and must not fit as well those of a scan that lacks a slice.
    """
    steps = np.diff(positions, axis=0)
    if len(steps) < 2:
        return True
    mean = steps.mean(0)
    length, uneven = float(np.linalg.norm(mean)), np.abs(steps - mean).max(0)
    if uneven.max() <= UNEVEN * length:
        return True
    rounding = rounding_mm(positions)
    if (uneven > UNEVEN * length + rounding * (1 + 1 / len(steps)) + EXACT).any():
        return False
    along = float(np.abs(normal) @ rounding)
    return along <= FINE * length or _fits_without_a_gap(positions @ normal, along, UNEVEN * length)


def _fits_without_a_gap(heights: NDArray[np.float64], rounding: float, uneven: float) -> bool:
    """Whether sorted heights, each off by half of `rounding` and `uneven` at most, fit equal steps better than with a gap."""
    places = np.arange(len(heights))
    allowed = rounding + uneven + EXACT
    if _spread(heights, places[None]).min() > allowed:
        return False
    steps, mean = np.diff(heights), (heights[-1] - heights[0]) / len(heights)  # the mean with one more slice
    wide = np.flatnonzero(steps + 2 * allowed >= 2 * mean)  # where a slice may be missing
    return not len(wide) or bool(_spread(heights, places + (places > wide[:, None])).min() > allowed)


def _spread(heights: NDArray[np.float64], places: NDArray[np.intp]) -> NDArray[np.float64]:
    """For each row of `places` [M, slices]: how far heights stray from equal steps, at the step where that is least."""
    low = np.zeros(len(places))
    high = np.full(len(places), 2 * (heights[-1] - heights[0]) / (len(heights) - 1))

    def spread(step: NDArray[np.float64]) -> NDArray[np.float64]:
        off = heights - step[:, None] * places
        return np.asarray(np.ptp(off, axis=1))

    for _ in range(THIRDS):  # the spread is convex in the step
        third = (high - low) / 3
        left = spread(low + third) <= spread(high - third)
        low, high = np.where(left, low, low + third), np.where(left, high - third, high)
    return spread((low + high) / 2)
