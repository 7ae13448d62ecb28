"""The numbers of a calibration under which what readers did is most likely, and whether they help with other patients.

Both parts are fitted by likelihood, a proper score (Gneiting and Raftery 2007): of whether readers marked something, and of
the log sizes of those who did. The likelihood of a size is taken relative to the model's own set, so that no density has to be
made of the set: it is the factor that a mask of this size gets, over the mean factor of the set.
Each part is kept only if it predicts *patients left out* better than no correction does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from ambiseg.preprocessing.errors import DataError

from ..core.calibration import Reweighting, log_factors, log_sizes
from ..core.lesion_slices import SURE, Extent, Reals, log_odds, marking_chance

FOLDS = 5
RIDGE = 1e-3  # keeps numbers finite where readers never disagree
MOST = (8.0, 20.0)  # of size_shift and size_sharpness
LEAST_EVENTS = 10  # cases, or slices of lesions, from which numbers are fitted


@dataclass(frozen=True)
class Event:
    """One image or lesion: what the model states, and what its readers did.

    Attributes:
        patient: whose it is.
        weights: of the model's masks [S], sum 1.
        sizes: of these masks [S], in any unit; 0 for an empty one.
        readers: the sizes [R] of the readers' masks, in the same unit.
        truth: the readers' weights [R], sum 1.
    """

    patient: str
    weights: Reals
    sizes: NDArray[np.intp]
    readers: NDArray[np.intp]
    truth: Reals

    @property
    def stated(self) -> float:
        """The model's probability that something is marked."""
        return float(self.weights[self.sizes > 0].sum() / self.weights.sum())

    @property
    def marked(self) -> float:
        """The share of the readers who marked something."""
        return float(self.truth[self.readers > 0].sum())


@dataclass(frozen=True)
class Fitted:
    """A fitted reweighting, and how patients left out were predicted without it and with it.

    Attributes:
        numbers: of the parts that help.
        held_out: by part ("presence", "size"): the negative log-likelihood of patients left out, in nats per reader, without a
            correction and with one. For sizes it is 0 without one. A part that could not be fitted is absent.
        events: how many images or lesions.
        patients: of how many patients.
    """

    numbers: Reweighting
    held_out: dict[str, tuple[float, float]]
    events: int
    patients: int


def fit(events: Sequence[Event]) -> Fitted:
    """Fit a reweighting, and keep the parts of it that predict patients left out better than none.

    Raises:
        DataError: there are fewer than two patients.
    """
    names, member = np.unique([event.patient for event in events], return_inverse=True)
    if len(names) < 2:
        raise DataError(
            f"A calibration needs validation cases of at least two patients, got {len(names)}: use a larger split."
        )
    fold = member % min(FOLDS, len(names))
    numbers: dict[str, float] = {}
    held_out = {}
    for name, part in (("presence", _presence(events)), ("size", _sizes(events))):
        if part is None:
            continue
        of_part = fold[part.which]
        if len(np.unique(of_part)) < 2:
            continue
        before, after = part.held_out(of_part)
        held_out[name] = (before, after)
        if round(after, 6) < round(before, 6):
            numbers |= dict(zip(part.names, part.fitted(np.ones(len(part.which), bool)), strict=True))
    return Fitted(Reweighting(**numbers), held_out, len(events), len(names))


@dataclass(frozen=True)
class _Part:
    """A part of the numbers, and its score: `score(numbers, which)` is the mean over some of the events, with the readers'
    weights; `which` are the events [N] that it has; `nothing` are the numbers that change nothing.
    """

    names: tuple[str, str]
    nothing: Reals
    which: NDArray[np.intp]
    weights: Reals
    score: Callable[[Reals, NDArray[np.bool_]], float]
    bounds: tuple[tuple[float, float], tuple[float, float]]

    def fitted(self, of: NDArray[np.bool_]) -> list[float]:
        """The numbers of least score on some of the part's events [N]."""
        found = minimize(lambda x: self.score(x, of), self.nothing, method="Nelder-Mead", bounds=self.bounds)
        return [float(value) for value in found.x]

    def held_out(self, fold: NDArray[np.intp]) -> tuple[float, float]:
        """The mean score of events in their folds [N], without a correction and with the one fitted on the other folds."""
        before = after = 0.0
        for number in np.unique(fold):
            here = fold == number
            share = self.weights[here].sum() / self.weights.sum()
            before += self.score(self.nothing, here) * share
            after += self.score(np.array(self.fitted(~here)), here) * share
        return before, after


def _presence(events: Sequence[Event]) -> _Part | None:
    """The fit of presence; None where the model or the readers never differ about it."""
    stated, marked = (np.array([getattr(event, name) for event in events]) for name in ("stated", "marked"))
    which = np.flatnonzero((stated > 0) & (stated < 1))
    if len(which) < LEAST_EVENTS or len(np.unique(marked[which])) < 2:
        return None
    odds, truth = log_odds(stated[which]), marked[which]

    def score(numbers: Reals, of: NDArray[np.bool_]) -> float:
        found = numbers[0] + numbers[1] * odds[of]
        surprise = (np.logaddexp(0, found) - truth[of] * found).mean()
        return float(surprise + RIDGE * ((numbers[1] - 1) ** 2 + numbers[0] ** 2))

    names = "presence_shift", "presence_slope"
    return _Part(names, np.array([0.0, 1.0]), which, np.ones(len(which)), score, ((-10.0, 10.0), (0.05, 10.0)))


def _sizes(events: Sequence[Event]) -> _Part | None:
    """The fit of sizes; None where no model's masks or no reader's differ in size."""
    which = [number for number, event in enumerate(events) if event.marked and len(set(event.sizes.tolist()) - {0}) > 1]
    if len(which) < LEAST_EVENTS:
        return None
    tables = [_table(events[number]) for number in which]
    most, readers = max(len(x) for x, *_ in tables), max(len(y) for _, _, y, _ in tables)
    x, w = np.zeros((len(which), most)), np.zeros((len(which), most))
    y, truth = np.zeros((len(which), readers)), np.zeros((len(which), readers))
    for number, (logs, weights, observed, shares) in enumerate(tables):
        x[number, : len(logs)], w[number, : len(logs)] = logs, weights
        y[number, : len(observed)], truth[number, : len(observed)] = observed, shares

    def score(numbers: Reals, of: NDArray[np.bool_]) -> float:
        theirs = log_factors(y[of], *numbers)
        whole = logsumexp(log_factors(x[of], *numbers), axis=1, b=w[of], keepdims=True)
        surprise = ((whole - theirs) * truth[of]).sum() / truth[of].sum()
        return float(surprise + RIDGE * (numbers**2).sum())

    bounds = (-MOST[0], MOST[0]), (-MOST[1] / 4, MOST[1])
    return _Part(("size_shift", "size_sharpness"), np.zeros(2), np.array(which), truth.sum(1), score, bounds)


def _table(event: Event) -> tuple[Reals, Reals, Reals, Reals]:
    """Log sizes of the masks that mark something, about their median, with their weights; and the readers'."""
    marked, drew = event.sizes > 0, event.readers > 0
    sizes, weights = event.sizes[marked], event.weights[marked] / event.weights[marked].sum()
    logs = log_sizes(sizes, weights)
    middle = float(np.log(sizes[0]) - logs[0])
    return logs, weights, np.log(event.readers[drew]) - middle, event.truth[drew]


@dataclass(frozen=True)
class Slices:
    """What is known of a lesion's slices: the model's marking probability `stated` [Z], and which reader marked which `marked`
    [Z, R].
    """

    stated: Reals
    marked: NDArray[np.bool_]


def fit_extent(lesions: Sequence[Slices], among: int | None) -> Extent | None:
    """The extent of greatest likelihood, from lesions that at least two readers marked; None if these are too few.

    A slice that was chosen because one of R readers marked it says nothing by that: the likelihood is that of the number of
    marks given that there is one.

    Args:
        lesions: with their slices.
        among: R, the number of readers by whose marks slices were chosen; None: all slices are there.
    """
    rows = [row for lesion in lesions for row in _rows(lesion, among)]
    if len(rows) < LEAST_EVENTS:
        return None
    own, most, readers, marks = np.array(rows).T

    def surprise(numbers: Reals) -> float:
        chance = np.clip(marking_chance(own, most, *numbers), SURE, 1 - SURE)
        likelihood = marks * np.log(chance) + (readers - marks) * np.log1p(-chance)
        if among is not None:
            likelihood -= np.log(-np.expm1(readers * np.log1p(-chance)))
        return float(-likelihood.mean() + RIDGE * ((numbers - start) ** 2).sum())

    start = np.array([1.0, 1.0, 0.0])
    options = {"maxiter": 4000, "maxfev": 4000}
    found = minimize(surprise, start, method="Nelder-Mead", bounds=((-20, 20), (0, 20), (-20, 20)), options=options)
    intercept, slope, peak = (float(value) for value in found.x)
    return Extent(intercept=intercept, slope=slope, peak=peak, among=among)


def _rows(lesion: Slices, among: int | None) -> list[tuple[float, float, int, int]]:
    """Of each slice: the log-odds of itself and of the most probable one, how many readers marked the lesion, and the slice."""
    readers = int(lesion.marked.any(0).sum())
    if readers < 2:
        return []
    own, most = Extent(intercept=0, slope=1, peak=0, among=among).logits(lesion.stated)
    return [(float(odds), most, readers, int(marks)) for odds, marks in zip(own, lesion.marked.sum(1), strict=True)]
