"""Lines through rounded figures: the possible limits and slopes when each figure may be off by its rounding.

Figures y(N) published at several N lie on a line y = limit + slope / N, up to rounding. All lines through them are a convex
set in (limit, slope). Their bounds are linear programs in these two unknowns and a third, the excess: how far each figure has
to be off beyond its rounding.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog

EXCESS = (0, 0, 1)  # of (limit, slope, excess)
SOLVED = 1e-7  # tolerance of the solver
WIDEST = 100.0  # a rounding of more than that (0E18) leaves the lines as free, and the solver lost


@dataclass(frozen=True)
class Rounded:
    """A published number, and the largest error of its rounding."""

    value: float
    half_unit: float


@dataclass(frozen=True)
class Interval:
    """The value of the figures as printed, and the least and the greatest that their rounding allows."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class AtMost:
    """A condition on a line: limit and slope, times these factors, come to at most `bound` in sum."""

    limit: float
    slope: float
    bound: float


class Lines:
    """All lines in 1/N through figures by their N."""

    def __init__(self, figures: Mapping[int, Rounded]):
        self.counts = tuple(figures)
        self.values = np.array([figure.value for figure in figures.values()])
        self.half_units = np.array([min(figure.half_unit, WIDEST) for figure in figures.values()])
        self.design = np.array([[1, 1 / n] for n in figures])
        self._scale = _scale(self.design[:, 1])
        self._excesses: dict[tuple[tuple[AtMost, ...], bool], float] = {}  # each is solved once

    def excess(self, *conditions: AtMost, rounded: bool = True) -> float:
        """The least excess with which a line meets all `conditions`; 0 when one does within the figures' rounding.

        rounded: False takes the figures to be exact.
        """
        asked = (conditions, rounded)
        if asked not in self._excesses:
            found = float(self._best(EXCESS, conditions, rounded=rounded)[2])
            self._excesses[asked] = found if found > SOLVED else 0.0
        return self._excesses[asked]

    def limit(self) -> Interval:
        """The value of the lines at infinite N; where no line passes, of the lines with the least excess."""
        return self._interval(0)

    def slope(self) -> Interval:
        """The slope of the lines in 1/N; where no line passes, of the lines with the least excess."""
        return self._interval(1)

    def _interval(self, place: int) -> Interval:
        excess = self.excess()
        most = excess + SOLVED if excess else 0.0
        low, high = (float(self._best(sign * np.eye(3)[place], most=most)[place]) for sign in (1, -1))
        value = np.linalg.lstsq(self.design, self.values, rcond=None)[0][place]
        low, high = min(low, high), max(low, high)  # one point, up to the solver's tolerance
        return Interval(float(np.clip(value, low, high)), low, high)

    def _best(
        self,
        cost: ArrayLike,
        conditions: tuple[AtMost, ...] = (),
        *,
        rounded: bool = True,
        most: float | None = None,
    ) -> NDArray[np.float64]:
        """Limit, slope and excess of least `cost`, with an excess of at most `most`."""
        half_units = self.half_units if rounded else np.zeros_like(self.half_units)
        beyond, scale = -np.ones((len(self.values), 1)), self._scale
        design = self.design @ scale[:2, :2]
        rows = [np.hstack([design, beyond]), np.hstack([-design, beyond])]
        bounds = [self.values + half_units, half_units - self.values]
        for one in conditions:
            row = np.array([one.limit, one.slope, 0.0]) @ scale
            rows.append(row[None] / np.abs(row).max())
            bounds.append(np.array([one.bound]) / np.abs(row).max())
        free, towards = (None, None), np.asarray(cost) @ scale
        bounded = [free, free, (0, most)]
        found = linprog(towards / np.abs(towards).max(), np.vstack(rows), np.concatenate(bounds), bounds=bounded)
        best: NDArray[np.float64] = scale @ found.x
        return best


def _scale(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix [3, 3] that makes limit, slope and excess of a line from its height in the middle of the places 1/N, its rise
    over them and the excess. Large numbers of draws lie so close together that the solver fails without it.
    """
    middle, width = (places.min() + places.max()) / 2, np.ptp(places)
    if width == 0:
        return np.eye(3)
    return np.array([[1, -middle / width, 0], [0, 1 / width, 0], [0, 0, 1]])
