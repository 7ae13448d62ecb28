"""Evaluating a trained model on whole lesions: the slices of a lesion are one case, and its masks are volumes.

A store has whole lesions where its readers keep their places (`same_readers`): mask r of all slices is then the volume that
one reader marked. Each reader's volume, also that of a reader who marked the lesion nowhere, is one outcome of the model's
weighted set of volumes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError, InputError
from ambiseg.preprocessing.store.lesion_rows import LesionRows, keeps_readers, lesions_of
from ambiseg.preprocessing.store.splits import spread_evenly
from ambiseg.preprocessing.store.store import Store

from ..core.calibration import reweighting
from ..core.randomness import seed_of
from ..metrics.catalogue import LESION_CASE_MEASURES
from ..metrics.lesion_scores import Baseline, Judged, baseline_scores, forecast_of, lesion_scores, volumes_of
from ..metrics.reliability import Bins, bins_summaries
from ..metrics.size_forecast import LEVELS
from ..metrics.summary import NAN, Figure, figure_summaries
from .case_work import CaseWork
from .lesion_masks import drawn_lesion, readers_of, sides_of_lesion
from .lesion_pooled import lesion_bins, lesion_figures
from .lesions_document import LesionsSummary

ESTIMATORS = {
    "masks": "volumes on the whole stored crop; the model's mark nothing beyond its own crop",
    "volume*_crps": "E|X - y| - E|X - X'| / 2 of the weighted set, mean over readers",
    "quantiles": "the smallest volume at which the cumulated weight reaches the level",
    "if marked": "masks that mark something, weights scaled to 1; readers who marked the lesion, all alike",
    "thresholds": "mean diameter of 6, 8, 15 mm, volume of 100, 250 mm3; an event is a reader and a threshold",
    "presence": "an event is a reader; probabilities below .001 count as .001 in the NLL",
    "other readers": "each reader's volume forecast by the others, alike; overlaps are means over pairs",
}
BASELINES: tuple[Baseline, ...] = ("likeliest mask", "mean map", "other readers")
QUANTILES = {f"{name}_mm3": at for name, at in LEVELS.items()}  # of the volume if marked, as lesions.csv has them


@dataclass(frozen=True)
class LesionCase:
    """What was found in one lesion.

    Attributes:
        lesion: where it comes from.
        readers_mm3: the volume that each reader marked [R], mm3; in voxels where the size of a voxel is not known.
        forecast_mm3: the model's expected volume and its quantiles (`QUANTILES`), given that the lesion is marked, by column;
            nan where they are not defined.
        own: the figures of the model.
        baselines: the figures of the baselines, by name.
        exact: whether the model's weights are exact.
    """

    lesion: LesionRows
    readers_mm3: NDArray[np.float64]
    forecast_mm3: Mapping[str, float]
    own: Judged
    baselines: Mapping[Baseline, Judged]
    exact: bool


@dataclass(frozen=True)
class LesionEvaluation:
    """An evaluation by lesion.

    Attributes:
        cases: what was found in each lesion, in the order of the data set.
        exact: whether the model's volumes have exact weights.
        figures: the figures of the split, one for every name of `LESION_CATALOGUE`.
        baselines: the same of each baseline.
        reliability: the bins of "presence", "thresholds", "hypotheses" and "top".
    """

    cases: tuple[LesionCase, ...]
    exact: bool
    figures: Mapping[str, Figure]
    baselines: Mapping[Baseline, Mapping[str, Figure]]
    reliability: Mapping[str, Bins]

    def summary(self) -> LesionsSummary:
        """Everything but the lesions one by one, as `summary.json` has it."""
        places = [case.lesion for case in self.cases]
        return LesionsSummary(
            lesions=len(places),
            with_volume=sum(place.voxel_mm3 is not None for place in places),
            slices=sum(len(place.rows) for place in places),
            patients=len({place.patient for place in places}),
            weights="exact" if self.exact else "draws",
            estimators=ESTIMATORS,
            figures=figure_summaries(self.figures),
            baselines={name: figure_summaries(figures) for name, figures in self.baselines.items()},
            reliability=bins_summaries(self.reliability),
        )

    def columns(self) -> dict[str, list[int | float | str]]:
        """The table of lesions by its columns: origin, size, the readers' volumes, the model's forecast, every figure."""
        places = [case.lesion for case in self.cases]
        return {
            "row": [int(place.rows.min()) for place in places],
            "patient": [place.patient for place in places],
            "case": [place.case for place in places],
            "lesion": [place.lesion for place in places],
            "slices": [len(place.rows) for place in places],
            "voxel_mm3": [NAN if place.voxel_mm3 is None else place.voxel_mm3 for place in places],
            "readers": [len(case.readers_mm3) for case in self.cases],
            "marked": [int((case.readers_mm3 > 0).sum()) for case in self.cases],
            "readers_mm3": [_listed(case) for case in self.cases],
            **{name: [case.forecast_mm3[name] for case in self.cases] for name in ("expected_mm3", *QUANTILES)},
            **{name: [case.own.scores[name] for case in self.cases] for name in LESION_CASE_MEASURES},
        }


def has_lesions(store: Store, split: str) -> bool:
    """Whether a split has whole lesions of known size: readers keep their places, and a voxel's size is known of some."""
    return keeps_readers(store) and any(lesion.voxel_mm3 for lesion in lesions_of(store, store.rows(split)))


def whole_lesions(store: Store, split: str, limit: int | None = None) -> list[LesionRows]:
    """The `chosen_lesions` of a split, none where it has no whole lesions of known size."""
    return chosen_lesions(store, split, limit) if has_lesions(store, split) else []


def chosen_lesions(store: Store, split: str, limit: int | None = None) -> list[LesionRows]:
    """The lesions of a split all of whose slices at least one reader read.

    Args:
        store: The data set.
        split: "train", "val", "test" or "all".
        limit: About so many slices are chosen, of whole lesions spread evenly over the split; None for all.

    Raises:
        InputError: The split has no such lesion.
        DataError: The store does not keep readers in their places.
    """
    if not keeps_readers(store):
        raise DataError(
            f"The readers of {store.path} change their places from slice to slice, so there are no volumes to compare "
            "with: evaluate by slice."
        )
    lesions = [each for each in lesions_of(store, store.rows(split)) if store.present[each.rows].all(0).any()]
    if not lesions:
        raise InputError(f"The split {split!r} of {store.path} has no lesion: choose another `split`.")
    if limit is None:
        return lesions
    count = round(limit * len(lesions) / sum(len(each.rows) for each in lesions))
    return [lesions[number] for number in spread_evenly(max(count, 1), len(lesions))]


def lesion_case(work: CaseWork, lesion: LesionRows) -> LesionCase:
    """Compare a model's weighted volumes of a lesion with the readers' volumes.

    Raises:
        DataError: The model's probabilities are not finite.
    """
    atoms = drawn_lesion(work.trained, work.store, lesion, work.samples, work.seed, work.size)
    calibration = reweighting(work.trained.calibration, flat=False)
    scored = work.store.manifest.scored_labels
    found = sides_of_lesion(atoms, readers_of(work.store, lesion), scored, calibration)
    sides, spacing = found.sides, lesion.spacing_mm
    rng = np.random.default_rng(seed_of(work.seed, "resample", int(lesion.rows.min())))
    given = None if spacing is None else forecast_of(sides, lesion.voxel_mm3).marked
    numbers = (
        {}
        if given is None
        else dict(zip(QUANTILES, map(float, given.quantiles(tuple(QUANTILES.values()))), strict=True))
    )
    return LesionCase(
        lesion=lesion,
        readers_mm3=volumes_of(sides.masks, lesion.voxel_mm3),
        forecast_mm3={
            "expected_mm3": NAN if given is None else given.expected,
            **dict.fromkeys(QUANTILES, NAN),
            **numbers,
        },
        own=lesion_scores(sides, rng=rng, spacing_mm=spacing),
        baselines=baseline_scores(sides, found.mean_map, rng=rng, spacing_mm=spacing),
        exact=atoms.draws is None,
    )


def evaluated_lesions(cases: Sequence[LesionCase], seed: int = 0) -> LesionEvaluation:
    """The figures of lesions, at least one, with 95 % intervals by patient, and those of the baselines.

    Args:
        cases: What was found in each lesion, by `lesion_case`.
        seed: Seed of the bootstrap.
    """
    patients = [case.lesion.patient for case in cases]
    own = [case.own for case in cases]
    return LesionEvaluation(
        cases=tuple(cases),
        exact=cases[-1].exact,
        figures=lesion_figures(own, patients, seed),
        baselines={name: _of_baseline(cases, name, seed) for name in BASELINES},
        reliability=lesion_bins(own),
    )


def _of_baseline(cases: Sequence[LesionCase], name: Baseline, seed: int) -> dict[str, Figure]:
    """The figures of a baseline, of the lesions that have it."""
    here = [case for case in cases if name in case.baselines]
    return lesion_figures([case.baselines[name] for case in here], [case.lesion.patient for case in here], seed)


def _listed(case: LesionCase) -> str:
    """The readers' volumes as text, separated by `;`; blank where the size of a voxel is not known."""
    return "" if case.lesion.voxel_mm3 is None else ";".join(f"{volume:.6g}" for volume in case.readers_mm3)
