"""Fitting a run's calibration to the readers of the validation split, or of a cross-validation, and judging it on others.

Slices are fitted on slices, volumes on whole lesions where the store has them. For a model that states how probable it is
that a reader marks a slice, the extent of lesions is fitted first, as it makes the volumes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.store.store import Store

from ..core.calibration import Calibration
from ..evaluation.folds import FOLDS, HELD_OUT, Fold
from ..evaluation.rows import chosen_rows, readable
from ..runs.trained import Trained
from .fitting import Fitted, fit
from .judgement import Judgement, judge
from .stated import Choices, OnProgress, Stated, Work, unfitted

SPLIT = "val"
SAMPLES = 256  # as many as `predict` draws
ROUNDING = 1e-9  # means of the same numbers in another order

WORSE = {  # how much a figure of the check may rise: of its own size, and in all
    "nll": (0.01, 0.0),
    "brier": (0.01, 0.0),
    "ece": (0.0, 0.005),
    "top_ece": (0.0, 0.005),
}


@dataclass(frozen=True)
class Fit:
    """A fitted calibration, and how it was chosen.

    Attributes:
        calibration: The fitted numbers.
        slices: Their fit on slices.
        lesions: Their fit on lesions; None where the store has no whole lesions.
    """

    calibration: Calibration
    slices: Fitted
    lesions: Fitted | None


@dataclass(frozen=True)
class Pair:
    """The judgement of the hypotheses of the same cases with the model's own probabilities, and with calibrated ones."""

    before: Judgement
    after: Judgement
    cases: int
    patients: int

    def worse(self) -> list[str]:
        """The names of the figures that a calibration made worse, by more than `WORSE` allows."""
        figures = {name: (self.before.figures[name].mean, self.after.figures[name].mean) for name in WORSE}
        return [
            name
            for name, (before, after) in figures.items()
            if after > before * (1 + WORSE[name][0]) + WORSE[name][1] + ROUNDING
        ]


@dataclass(frozen=True)
class Check:
    """A calibration judged on a split: on its slices, and on its lesions where the calibration has numbers for them."""

    split: str
    slices: Pair
    lesions: Pair | None

    def worse(self) -> dict[str, list[str]]:
        """The figures that the calibration made worse, of "slices" and "lesions"; empty where it did no harm."""
        pairs = {"slices": self.slices, "lesions": self.lesions}
        found = {kind: pair.worse() for kind, pair in pairs.items() if pair is not None}
        return {kind: names for kind, names in found.items() if names}


def calibrate(
    trained: Trained,
    store: Store,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    limit: int | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Fit:
    """Fit the calibration of a model on the validation split of a data set, and on nothing else.

    docs/decisions/0009-calibration.md explains what is fitted, and how it is chosen.

    Args:
        trained: The model, loaded without a calibration.
        store: The data set; its split "val" is used.
        samples: Draws per image (S). For a model with exact probabilities, the most masks that are taken.
        seed: Seed of the draws.
        limit: The most slices to use, spread evenly over the split; None for all.
        on_progress: Called with (cases done, cases in all) after each slice and lesion.

    Returns:
        The fit. `fit.calibration.write(run)` stores it in the run's folder.

    Raises:
        UsageError: `limit` is below 1.
        InputError: The split is empty.
        DataError: The model cannot read the data, or there are fewer than two patients.

    Example:
        >>> from ambiseg.models.calibration.calibrate_run import calibrate
        >>> from ambiseg.models.runs.trained import load_trained
        >>> from ambiseg.preprocessing.store.store import Store
        >>> def presence_shift(run, store):
        ...     trained = load_trained(run, calibrated=False)
        ...     return calibrate(trained, Store.open(store)).calibration.slices.presence_shift
    """
    store = readable(trained, store)
    work = Work(trained, store, SPLIT, samples, seed, limit, on_progress)
    return _fit(Stated.of([work]), unfitted(trained, store.content_hash, SPLIT, work))


def calibrate_folds(
    whole: Trained,
    folds: Sequence[Fold],
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    limit: int | None = None,
    on_fit: OnProgress = lambda done, total: None,
    on_check: OnProgress = lambda done, total: None,
) -> tuple[Fit, Check]:
    """Fit the calibration of a model that was trained on all patients, on what the runs of a cross-validation state of patients
    that they did not see.

    The check judges each fold with numbers that were fitted on the other folds; only the extent of lesions is that of all.

    Args:
        whole: The model, loaded without a calibration.
        folds: The runs of the cross-validation, of the same settings.
        samples: As for `calibrate`.
        seed: As for `calibrate`.
        limit: As for `calibrate`, of each fold.
        on_fit: Called with (cases done, cases of the fold) after each case of the fit; it begins anew with each fold.
        on_check: The same for the check.

    Raises:
        UsageError, DataError: As `calibrate` does.
    """

    works = [
        Work(trained, readable(trained, fold.store), HELD_OUT, samples, seed, limit, on_fit)
        for fold in folds
        for trained in [replace(fold.trained, calibration=None)]
    ]
    stated = Stated.of(works)
    about = unfitted(whole, whole.record.data.content_hash, FOLDS, works[0])
    fitted = _fit(stated, about)
    slices, lesions = list[Choices](), list[Choices]()
    for number, work in enumerate(works):
        apart = _fit(stated.without(number), about).calibration
        judged = replace(
            work,
            trained=replace(work.trained, calibration=apart),
            on_progress=on_check,
            volumes_too=fitted.lesions is not None,
        )
        slices += judged.choices_of_slices()
        lesions += judged.choices_of_lesions()
    return fitted, Check(FOLDS, _judged(slices, seed), _judged(lesions, seed) if lesions else None)


def _fit(stated: Stated, about: Calibration) -> Fit:
    """The numbers of slices, and those of lesions where there are lesions of two patients or more."""
    of_slices = fit([one for events in stated.slices for one in events])
    calibration = about.model_copy(update={"slices": of_slices.numbers, "extent": stated.extent})
    lesions = [one for events in stated.lesions for one in events]
    if len({one.patient for one in lesions}) < 2:
        return Fit(calibration, of_slices, None)
    of_lesions = fit(lesions)
    return Fit(calibration.model_copy(update={"lesions": of_lesions.numbers}), of_slices, of_lesions)


def check(
    trained: Trained,
    store: Store,
    split: str,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    limit: int | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Check:
    """Judge the hypotheses of a split with and without the model's calibration.

    Args:
        trained: The model with its calibration.
        store: The data set.
        split: The split.
        samples: As for `calibrate`.
        seed: Seed of the draws and of the bootstrap.
        limit: As for `calibrate`.
        on_progress: As for `calibrate`.

    Raises:
        InputError: The split is empty.
        DataError: The model cannot read the data.
    """
    fitted = trained.calibration
    if fitted is None:
        raise UsageError(f"{trained.name} has no calibration to check: run `ambiseg calibrate` first.")
    store = readable(trained, store)
    work = Work(trained, store, split, samples, seed, limit, on_progress, volumes_too=fitted.lesions is not None)
    slices, lesions = work.choices_of_slices(), work.choices_of_lesions()
    return Check(split, _judged(slices, seed), _judged(lesions, seed) if lesions else None)


def _judged(cases: Sequence[Choices], seed: int) -> Pair:
    """The judgement of cases: the readers' choices before and after, and the patient."""
    before, after, patients = zip(*cases, strict=True)
    return Pair(judge(before, patients, seed), judge(after, patients, seed), len(cases), len(set(patients)))


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
