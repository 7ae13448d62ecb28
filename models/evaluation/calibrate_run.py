"""Fitting a run's calibration: the parameters under which the validation readers' choices are most likely.

Each image is one event. Its outcomes are the model's hypotheses and "none of these". A reader's mask counts as the outcome
that it is nearest to (`outcomes`). The log-weights are linear in the parameters, so the mean negative log-likelihood is
convex. Cross-validation over patients chooses which parameters are fitted: none, the temperature, or shifts beside it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from ambiseg.preprocessing.errors import DataError, UsageError
from ambiseg.preprocessing.store.store import Store

from ..core.calibration import FLOOR, Calibration, scores
from ..core.hypotheses import MERGE
from ..metrics.outcomes import Outcome
from ..runs.trained import Trained
from .evaluate_run import drawn_atoms, sides_of
from .rows import check_data, chosen_rows

SPLIT = "val"
SAMPLES = 256  # as many as `predict` draws
FOLDS = 5
IDENTITY = np.array([1.0, 0.0, math.log(FLOOR)])  # 1/T, empty, none: no change, except for the floor
BOUNDS = ((0.05, 20.0), (-10.0, 10.0), (math.log(FLOOR), 10.0))  # few readers cannot show that "none" is impossible
CHOICES = {  # which parameters are fitted; the fewest first, as the earlier one wins a tie
    "nothing": (False, False, False),
    "temperature": (True, False, False),
    "temperature, empty": (True, True, False),
    "temperature, none": (True, False, True),
    "temperature, empty, none": (True, True, True),
}


@dataclass(frozen=True)
class Fit:
    """A fitted calibration, and how it was chosen.

    Attributes:
        calibration: The fitted parameters.
        chosen: Which parameters were fitted, a key of `CHOICES`.
        held_out: Mean NLL of patients left out (nats per reader), for each of `CHOICES`.
        cases: Number of cases.
        patients: Number of patients.
    """

    calibration: Calibration
    chosen: str
    held_out: dict[str, float]
    cases: int
    patients: int


def calibrate(
    trained: Trained,
    store: Store,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Fit:
    """Fit the calibration of a model on the validation split of a data set, and on nothing else.

    Temperature scaling (Guo et al. 2017) of whole hypotheses, with optional shifts of the empty mask and of "none of
    these"; docs/decisions/0009-calibration.md explains it.

    Args:
        trained: The model, loaded without a calibration.
        store: The data set; its split "val" is used.
        samples: Draws per image (S). For a model with exact probabilities, the most masks that are taken.
        seed: Seed of the draws.
        limit: The most cases to use, spread evenly over the split; None for all.
        on_progress: Called with (cases done, cases in all) after each case.

    Returns:
        The fit. `fit.calibration.write(run)` stores it in the run's folder.

    Raises:
        UsageError: `limit` is below 1.
        InputError: The split is empty.
        DataError: The model cannot read the data, or there are fewer than two patients.

    Example:
        >>> from ambiseg.models.evaluation.calibrate_run import calibrate
        >>> from ambiseg.models.runs.trained import load_trained
        >>> from ambiseg.preprocessing.store.store import Store
        >>> def fitted_temperature(run, store):
        ...     trained = load_trained(run, calibrated=False)
        ...     return calibrate(trained, Store.open(store)).calibration.temperature
    """
    found, patients = choices(trained, store, SPLIT, samples=samples, seed=seed, limit=limit, on_progress=on_progress)
    return fit(found, patients, samples=samples, seed=seed, data=store.content_hash, weights=trained.weights_hash)


def fit(found: Sequence[Outcome], patients: Sequence[str], *, samples: int, seed: int, data: str, weights: str) -> Fit:
    """Fit the calibration to the `choices` of the validation split.

    Args:
        found: The outcome of each case [N].
        patients: The patient of each case [N].
        samples: Draws per image behind the outcomes.
        seed: Seed of these draws.
        data: Content hash of the data set.
        weights: Hash of the model's weights.

    Raises:
        DataError: There are fewer than two patients.
    """
    chosen, numbers, held_out = choose(found, patients)
    calibration = Calibration(
        temperature=float(1 / numbers[0]),
        empty=float(numbers[1]),
        none=float(numbers[2]),
        merge=MERGE,
        samples=samples,
        seed=seed,
        split=SPLIT,
        data_hash=data,
        weights_hash=weights,
    )
    return Fit(calibration, chosen, held_out, len(found), len(set(patients)))


def check_split(store: Store, split: str) -> None:
    """Check that a calibration can be tested on a split.

    Raises:
        UsageError: The split is the one of the fit, or "all", which contains it.
        InputError: The split is empty or does not exist.
    """
    if split in (SPLIT, "all"):
        raise UsageError(
            f"A calibration is fitted on {SPLIT!r}, so a check on {split!r} shows nothing: check it on 'test'."
        )
    chosen_rows(store, split)


def choices(
    trained: Trained,
    store: Store,
    split: str,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Outcome], list[str]]:
    """Find what the readers of a split chose among all hypotheses, with the probabilities that the model itself states.

    Args and errors are those of `calibrate`.

    Returns:
        The outcome of each case [N], and its patient [N].
    """
    check_data(trained, store)
    rows = chosen_rows(store, split, limit)
    crop, found = trained.record.crop, list[Outcome]()
    on_progress(0, len(rows))
    for row in rows:
        atoms = drawn_atoms(trained, store, row, samples, seed, crop)
        found.append(sides_of(store, row, atoms, crop, calibration=None).choices)
        on_progress(len(found), len(rows))
    return found, [store.index[row]["patient"] for row in rows]


def choose(found: Sequence[Outcome], patients: Sequence[str]) -> tuple[str, NDArray[np.float64], dict[str, float]]:
    """Choose what to fit by cross-validation, and fit it on all cases.

    Patients are left out in `FOLDS` parts, in the order of their names.

    Args:
        found: The outcome of each case [N] among all hypotheses.
        patients: The patient of each case [N].

    Returns:
        The chosen key of `CHOICES`, the parameters (1/T, empty, none) fitted on all cases, and the NLL of patients left
        out (nats per reader) of each choice.

    Raises:
        DataError: There are fewer than two patients.
    """
    names, member = np.unique(np.asarray(patients), return_inverse=True)
    if len(names) < 2:
        raise DataError(
            f"A calibration needs validation cases of at least two patients, got {len(names)}: use a larger split."
        )
    events = Events.of(found)
    fold = member % min(FOLDS, len(names))
    held_out = {name: _held_out(events, fold, free) for name, free in CHOICES.items()}
    chosen = min(held_out, key=lambda name: round(held_out[name], 6))
    return chosen, fitted(events, CHOICES[chosen]), held_out


@dataclass(frozen=True)
class Events:
    """Cases as arrays: `features` [N, K + 1, 3] of `calibration.scores`, `possible` [N, K + 1] (False where a case has
    fewer outcomes), and `hits` [N, K + 1], the share of readers of each outcome.
    """

    features: NDArray[np.float64]
    possible: NDArray[np.bool_]
    hits: NDArray[np.float64]

    @classmethod
    def of(cls, found: Sequence[Outcome]) -> "Events":
        """The events of outcomes; shorter ones are padded with impossible outcomes."""
        most = max(len(one.hits) for one in found)
        features, possible = np.zeros((len(found), most, 3)), np.zeros((len(found), most), bool)
        hits = np.zeros((len(found), most))
        for number, one in enumerate(found):
            count = len(one.hits)
            features[number, :count] = scores(one.probabilities, one.empty)
            possible[number, :count], hits[number, :count] = True, one.hits
        return cls(features, possible, hits)

    def of_cases(self, which: NDArray[np.bool_]) -> "Events":
        """Some of the cases."""
        return Events(self.features[which], self.possible[which], self.hits[which])

    def nll(self, numbers: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Mean negative log-likelihood (nats per reader) under the parameters (1/T, empty, none), and its gradient [3]."""
        logits = np.where(self.possible, self.features @ numbers, -np.inf)
        total = logsumexp(logits, axis=1, keepdims=True)
        surprise = np.where(self.possible, np.exp(logits - total), 0) - self.hits
        value = float((total[:, 0] - (self.hits * np.where(self.possible, logits, 0)).sum(1)).mean())
        return value, np.einsum("nk,nkf->f", surprise, self.features) / len(self.hits)


def fitted(events: Events, free: Sequence[bool]) -> NDArray[np.float64]:
    """The parameters (1/T, empty, none) of least NLL; those not free stay as in `IDENTITY`."""
    which = np.flatnonzero(free)
    if len(which) == 0:
        return IDENTITY

    def objective(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        numbers = IDENTITY.copy()
        numbers[which] = values
        value, gradient = events.nll(numbers)
        return value, gradient[which]

    found = minimize(objective, IDENTITY[which], jac=True, method="L-BFGS-B", bounds=[BOUNDS[i] for i in which])
    numbers = IDENTITY.copy()
    numbers[which] = found.x
    return numbers


def _held_out(events: Events, fold: NDArray[np.intp], free: Sequence[bool]) -> float:
    """Mean NLL of the cases of each fold under the fit on the other folds."""
    total = 0.0
    for number in np.unique(fold):
        here = fold == number
        total += events.of_cases(here).nll(fitted(events.of_cases(~here), free))[0] * here.sum()
    return float(total / len(fold))
