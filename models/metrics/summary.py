"""From the figures of cases to the figure of a data set, with an interval by patient."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

RESAMPLES = 2000
NAN = float("nan")


@dataclass(frozen=True)
class Figure:
    """A figure of a data set. All numbers are nan if the figure is defined in no case.

    Attributes:
        mean: over the cases.
        sd: standard deviation over the cases.
        low: lower end of the mean's 95 % bootstrap interval by patient; nan with fewer than two patients.
        high: upper end.
        cases: in how many cases the figure is defined.
    """

    mean: float
    sd: float
    low: float
    high: float
    cases: int

    def summary(self) -> dict[str, float | None]:
        """As plain values for JSON; None where nothing is defined."""
        return {name: None if math.isnan(value) else value for name, value in vars(self).items()}


class FigureSummary(BaseModel):
    """The form of `Figure.summary` in documents."""

    model_config = ConfigDict(strict=True)

    mean: FiniteFloat | None
    sd: FiniteFloat | None = None
    low: FiniteFloat | None
    high: FiniteFloat | None
    cases: int = Field(0, ge=0)

    @property
    def figure(self) -> Figure:
        """The figure; nan where the document has null."""
        mean, sd, low, high = (NAN if value is None else value for value in (self.mean, self.sd, self.low, self.high))
        return Figure(mean, sd, low, high, self.cases)


def figure_summaries(figures: Mapping[str, Figure]) -> dict[str, FigureSummary]:
    """Figures by name, as documents have them."""
    return {name: FigureSummary.model_validate(one.summary()) for name, one in figures.items()}


def mean_of_defined(values: Sequence[float]) -> float:
    """The mean of those values that are defined; nan without any."""
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else NAN


def summarise(values: NDArray[np.float64], patients: Sequence[str], rng: np.random.Generator) -> Figure:
    """The figure of a data set.

    Args:
        values: of the cases [N]; nan where not defined.
        patients: of the cases [N].
        rng: of the bootstrap.

    Example:
        >>> figure = summarise(np.array([1.0, 2.0, np.nan]), ["a", "b", "c"], np.random.default_rng(0))
        >>> figure.mean, figure.cases
        (1.5, 2)
    """
    defined = ~np.isnan(values)
    values, groups = values[defined], np.array(patients)[defined]
    if len(values) == 0:
        return Figure(NAN, NAN, NAN, NAN, cases=0)
    sd = float(values.std(ddof=1)) if len(values) > 1 else NAN
    return Figure(float(values.mean()), sd, *bootstrap_interval(values, groups, rng), cases=len(values))


def bootstrap_interval(values: NDArray[np.float64], patients: NDArray, rng: np.random.Generator) -> tuple[float, float]:
    """95 % percentile interval of a mean when whole patients are drawn with replacement.

    Crops of one patient resemble each other, so drawing crops would give too narrow an interval.

    Args:
        values: of the cases [N].
        patients: of the cases [N].
        rng: of the resamples.
    """
    times, member = resampled_patients(patients, rng)
    sums, counts = np.bincount(member, values), np.bincount(member)
    if len(counts) < 2:
        return NAN, NAN
    low, high = np.quantile(times @ sums / (times @ counts), (0.025, 0.975))
    return float(low), float(high)


def ratio_of_sums(
    above: NDArray[np.float64],
    below: NDArray[np.float64],
    patients: Sequence[str],
    rng: np.random.Generator,
    *,
    scale: Callable[[NDArray[np.float64]], NDArray[np.float64]] = lambda ratio: ratio,
) -> Figure:
    """A figure that is a ratio of two sums over the cases, with a 95 % bootstrap percentile interval by patient.

    A mean over all readers of all cases is of this kind: sums over readers, divided by their numbers.

    Args:
        above: the addends of the numerator [N].
        below: the addends of the denominator [N], 0 or more. Cases of 0 are left out.
        patients: of the cases [N].
        rng: of the resamples.
        scale: an increasing function of ratios [...], in which the figure is given.

    Example:
        >>> ratio_of_sums(np.array([1.0, 5.0]), np.array([2.0, 4.0]), ["a", "b"], np.random.default_rng(0)).mean
        1.0
    """
    here = below > 0
    if not here.any():
        return Figure(NAN, NAN, NAN, NAN, cases=0)
    times, member = resampled_patients(np.array(patients)[here], rng)
    low, high = NAN, NAN
    if times.shape[1] > 1:
        again = (times @ np.bincount(member, above[here])) / (times @ np.bincount(member, below[here]))
        low, high = scale(np.quantile(again, (0.025, 0.975)))
    mean = scale(np.array(above[here].sum() / below[here].sum()))
    return Figure(float(mean), NAN, float(low), float(high), cases=int(here.sum()))


def resampled_patients(
    patients: Sequence[str] | NDArray, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Bootstrap resamples of patients, who are numbered in the order of their names.

    Returns:
        How often each patient is drawn in each of `RESAMPLES` resamples, and the number of each case's patient [N].
    """
    names, member = np.unique(np.asarray(patients), return_inverse=True)
    return rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES), member
