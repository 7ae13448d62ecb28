"""Fitting a run's calibration to the readers of the validation split, and judging it on another split.

Slices are fitted on slices, volumes on whole lesions where the store has them. For a model that states how probable it is
that a reader marks a slice, the extent of lesions is fitted first, as it makes the volumes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.store.lesion_rows import LesionRows
from ambiseg.preprocessing.store.store import Store

from ..core.calibration import Calibration, Reweighting, reweighted
from ..core.lesion_slices import Extent
from ..core.overlap import marked_counts
from ..evaluation.evaluate_run import drawn, sides_of
from ..evaluation.rows import chosen_rows, readable
from ..lesions.by_lesion import whole_lesions
from ..lesions.lesion_masks import LesionAtoms, drawn_lesion, readers_of, sides_of_lesion
from ..metrics.outcomes import Outcome
from ..metrics.sides import Sides, relisted
from ..runs.trained import Trained
from .fitting import Event, Fitted, Slices, fit, fit_extent
from .judgement import Judgement, judge

SPLIT = "val"
SAMPLES = 256  # as many as `predict` draws
ROUNDING = 1e-9  # means of the same numbers in another order
FEW_UNMARKED = 0.01  # a smaller share of slices that nobody marked: slices were chosen by what readers marked

WORSE = {  # how much a figure of the check may rise: of its own size, and in all
    "nll": (0.01, 0.0),
    "brier": (0.01, 0.0),
    "ece": (0.0, 0.005),
    "top_ece": (0.0, 0.005),
}

OnProgress = Callable[[int, int], None]
_Choices = tuple[Outcome, Outcome, str]  # of readers before and after calibration, and the patient


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
    work = _Work(trained, store, SPLIT, samples, seed, limit, on_progress)
    events, marking = list[Event](), dict[int, float]()
    for row, sides, stated in work.slices():
        events.append(event(sides, store.index[row].patient))
        if stated is not None:
            marking[row] = stated
    of_slices = fit(events)
    calibration = Calibration(
        slices=of_slices.numbers,
        extent=_extent(store, work.lesions, marking),
        samples=samples,
        seed=seed,
        split=SPLIT,
        data_hash=store.content_hash,
        weights_hash=trained.weights_hash,
    )
    work = replace(work, trained=replace(trained, calibration=calibration))
    lesions = [event(sides, lesion.patient) for lesion, _, sides in work.volumes()]
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
    volumes = fitted.lesions is not None
    work = _Work(trained, store, split, samples, seed, limit, on_progress, volumes)

    def both(sides: Sides, labels: NDArray[np.uint8], numbers: Reweighting | None, patient: str) -> _Choices:
        calibrated = relisted(sides, *reweighted(sides.weights, labels, numbers, sides.left_out))
        return sides.outcome, calibrated.outcome, patient

    slices = [both(sides, sides.labels, fitted.slices, store.index[row].patient) for row, sides, _ in work.slices()]
    lesions = [both(sides, atoms.labels, fitted.lesions, lesion.patient) for lesion, atoms, sides in work.volumes()]
    return Check(split, _judged(slices, seed), _judged(lesions, seed) if lesions else None)


def _judged(cases: Sequence[_Choices], seed: int) -> Pair:
    """The judgement of cases: the readers' choices before and after, and the patient."""
    before, after, patients = zip(*cases, strict=True)
    return Pair(judge(before, patients, seed), judge(after, patients, seed), len(cases), len(set(patients)))


def _extent(store: Store, lesions: Sequence[LesionRows], marking: Mapping[int, float]) -> Extent | None:
    """The extent fitted to lesions all of whose slices have a stated probability; None where the model states none."""
    rows = [lesion.rows for lesion in lesions if all(int(row) in marking for row in lesion.rows)]
    if not rows:
        return None
    marked = [np.asarray(store.masks(slices).any((2, 3)))[:, store.present[slices].all(0)] for slices in rows]
    unmarked = np.mean(np.concatenate([~each.any(1) for each in marked]))
    among = marked[0].shape[1] if unmarked < FEW_UNMARKED and marked[0].shape[1] > 1 else None
    stated = [np.array([marking[int(row)] for row in slices]) for slices in rows]
    return fit_extent([Slices(one, other) for one, other in zip(stated, marked, strict=True)], among)


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


def event(sides: Sides, patient: str) -> Event:
    """What a model states of an image or lesion, and what its readers did, in pixels or voxels."""
    return Event(patient, sides.weights, marked_counts(sides.labels), marked_counts(sides.masks), sides.truth)


@dataclass(frozen=True)
class _Work:
    """The cases of a split: its slices, then its lesions, with progress over both."""

    trained: Trained
    store: Store
    split: str
    samples: int
    seed: int
    limit: int | None
    on_progress: OnProgress
    volumes_too: bool = True

    @cached_property
    def rows(self) -> NDArray[np.intp]:
        """The slices, one at least."""
        return chosen_rows(self.store, self.split, self.limit)

    @cached_property
    def lesions(self) -> list[LesionRows]:
        """The whole lesions; none where the store has no such, or where only slices are wanted."""
        return whole_lesions(self.store, self.split, self.limit) if self.volumes_too else []

    @cached_property
    def total(self) -> int:
        """The number of cases."""
        return len(self.rows) + len(self.lesions)

    def slices(self) -> Iterator[tuple[int, Sides, float | None]]:
        """Each row with its two sides, not calibrated, and the stated probability that a reader marks something."""
        crop = self.trained.record.crop
        self.on_progress(0, self.total)
        for done, row in enumerate(map(int, self.rows), 1):
            atoms, predictive = drawn(self.trained, self.store, row, self.samples, self.seed, crop)
            stated = predictive.marking()
            yield row, sides_of(self.store, row, atoms, crop), None if stated is None else float(stated[0])
            self.on_progress(done, self.total)

    def volumes(self) -> Iterator[tuple[LesionRows, LesionAtoms, Sides]]:
        """Each lesion with the model's volumes and its two sides, not calibrated."""
        crop, scored = self.trained.record.crop, self.store.manifest.scored_labels
        for done, lesion in enumerate(self.lesions, len(self.rows) + 1):
            atoms = drawn_lesion(self.trained, self.store, lesion, self.samples, self.seed, crop)
            yield lesion, atoms, sides_of_lesion(atoms, readers_of(self.store, lesion), scored, None).sides
            self.on_progress(done, self.total)
