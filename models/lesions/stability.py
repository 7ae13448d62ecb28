"""How still a model stands: what changes in its answer when something changes that should not matter.

For each case the answer to the unchanged view is compared with the answer to each changed view (see `perturbations`):

    presence  change of P(no lesion), by the whole weighted set
    volume    relative change of the median volume, if marked
    likeliest change of the probability of the most probable hypothesis that marks something
    lists     transport distance of the two lists of hypotheses, their probabilities scaled to 1
    sets      transport distance of the two whole weighted sets

All changes are absolute. The transport distance is the least cost, with 1 - IoU, of turning one weighted list into the other
(the first Wasserstein distance; `metrics.matching`), 0 to 1. The yardstick is another reader: the same five numbers for the
mask of one reader and that of another, whose answers are single masks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.store.lesion_rows import LesionRows
from ambiseg.preprocessing.store.store import IGNORE, Store
from ambiseg.preprocessing.volumes.scanner_noise import LUNG_HU

from ..core.calibration import Reweighting, reweighted, reweighting
from ..core.hypotheses import Hypotheses, rank
from ..core.lesion_slices import LesionSlices
from ..core.randomness import seed_of
from ..metrics.matching import transport_distance
from ..metrics.summary import NAN, Figure, mean_of_defined, summarise
from ..metrics.volume_scores import VolumeForecast
from ..runs.trained import Trained
from .case_work import CaseWork
from .lesion_masks import lesion_atoms, places_mm, readers_of
from .lesions_document import Moved, StabilitySummary
from .perturbations import CHANGES, RANGE_HU, Flags, Scene, View, unchanged

MEASURES = ("presence", "volume", "likeliest", "lists", "sets")
READERS = "another reader"  # the yardstick's name among the changes
SCALES = {
    "shift": "whole pixels, in a random direction; slices at one end are left out",
    "HU": f"in stores of relative grey values the whole range counts as {RANGE_HU:g} HU",
    "second scan": f"noise of {LUNG_HU:g} HU standard deviation, correlation .58 of neighbours, is added to the scan's own",
    "pixels": "a model of fixed pixels sees them resampled to its own, any other model sees them as they are",
}


@dataclass(frozen=True)
class Answer:
    """A model's answer, on the frame of a scene.

    Attributes:
        masks: of the weighted set [S, Z, Y, X].
        weights: of these masks [S], sum 1; calibrated if the model is.
        listed: the hypotheses that `predict` would list.
    """

    masks: Flags
    weights: NDArray[np.float64]
    listed: Hypotheses

    @classmethod
    def of(
        cls, masks: Flags, weights: NDArray[np.float64], draws: int | None, calibration: Reweighting | None
    ) -> "Answer":
        """The answer with its list, calibrated."""
        labels = masks.astype(np.uint8)
        weights, _ = reweighted(weights, labels, calibration)
        return cls(masks, weights, rank(labels, weights, draws=draws))

    @property
    def forecast(self) -> VolumeForecast:
        """The volume as a weighted set, in voxels."""
        return VolumeForecast(self.masks.reshape(len(self.masks), -1).sum(1).astype(np.float64), self.weights)

    @property
    def median(self) -> float:
        """The median volume if marked, in voxels; nan where nothing is marked."""
        given = self.forecast.marked
        return NAN if given is None else float(given.quantiles((0.5,))[0])


@dataclass(frozen=True)
class StabilityCase:
    """The changes of one case: numbers by `MEASURES` for each change that the case allows, and for another reader."""

    lesion: LesionRows
    padded: bool
    changes: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Stability:
    """How still a model stands on some cases; all of them whole lesions, or all of them slices."""

    cases: tuple[StabilityCase, ...]
    seed: int

    @property
    def names(self) -> list[str]:
        """The changes that any case allows, in the order of `CHANGES`; the yardstick last."""
        return [name for name in (*CHANGES, READERS) if any(name in case.changes for case in self.cases)]

    def values(self, change: str, measure: str) -> NDArray[np.float64]:
        """A measure of a change in each case [N]; nan where the case does not allow it, or where it is not defined."""
        return np.array([case.changes.get(change, {}).get(measure, NAN) for case in self.cases])

    def moved(self, change: str, measure: str) -> tuple[Figure, float]:
        """The mean of a measure over the cases, with its 95 % interval by patient, and its 95th percentile."""
        values = self.values(change, measure)
        figure = summarise(values, [case.lesion.patient for case in self.cases], np.random.default_rng(self.seed))
        return figure, NAN if figure.cases == 0 else float(np.nanquantile(values, 0.95))

    def summary(self) -> StabilitySummary:
        """As `summary.json` has it."""
        return StabilitySummary(
            cases=len(self.cases),
            patients=len({case.lesion.patient for case in self.cases}),
            padded=sum(case.padded for case in self.cases),
            scales=SCALES,
            changes={
                change: {measure: Moved.of(*self.moved(change, measure)) for measure in MEASURES}
                for change in self.names
            },
        )


def stability_columns(found: Mapping[str, Stability]) -> dict[str, list[int | float | str]]:
    """A table with one row per case and change: where it comes from, and the measures.

    Args:
        found: by kind, "lesions" and "slices".
    """
    rows = [
        (kind, case, change)
        for kind, stability in found.items()
        for case in stability.cases
        for change in stability.names
        if change in case.changes
    ]
    return {
        "kind": [kind for kind, _, _ in rows],
        "row": [int(case.lesion.rows.min()) for _, case, _ in rows],
        "patient": [case.lesion.patient for _, case, _ in rows],
        "case": [case.lesion.case for _, case, _ in rows],
        "lesion": [case.lesion.lesion for _, case, _ in rows],
        "change": [change for _, _, change in rows],
        **{measure: [case.changes[change][measure] for _, case, change in rows] for measure in MEASURES},
    }


def check_stability(trained: Trained) -> None:
    """Raise UsageError for a model that reads another segmenter's class probabilities, which the changes would have to change,
    too.
    """
    if trained.record.data.probabilities:
        raise UsageError(
            "Stability is not measured for a model that reads another segmenter's class probabilities: leave out `stability`."
        )


def compared(before: Answer, after: Answer) -> dict[str, float]:
    """What changed between two answers on one frame: absolute changes and transport distances, by `MEASURES`.

    Example:
        >>> small, large = np.zeros((1, 1, 1, 4), bool), np.ones((1, 1, 1, 4), bool)
        >>> small[..., :2] = True
        >>> found = compared(*(Answer.of(masks, np.ones(1), None, None) for masks in (small, large)))
        >>> found["presence"], found["volume"], found["sets"]
        (0.0, 1.0, 0.5)
    """
    lists = [one.listed.probabilities / one.listed.probabilities.sum() for one in (before, after)]
    return {
        "presence": abs(after.forecast.presence - before.forecast.presence),
        "volume": abs(after.median / before.median - 1),
        "likeliest": abs(after.listed.likeliest - before.listed.likeliest),
        "lists": transport_distance(before.listed.masks, after.listed.masks, *lists),
        "sets": transport_distance(before.masks, after.masks, before.weights, after.weights),
    }


def stability_case(work: CaseWork, case: LesionRows) -> StabilityCase:
    """How still a model stands on a lesion, or on a single slice as a lesion of one row.

    All foreground classes that count are one. Where the store holds other slices of a lesion, all of them are shown at once.

    Raises:
        DataError: The model's probabilities are not finite.
    """
    trained, store, samples, size, seed = work.trained, work.store, work.samples, work.size, work.seed
    images = store.images(case.rows).astype(np.float32)
    scene = Scene(images, min(size, *images.shape[2:]), store.intensity, case.pixel_mm, trained.record.data.spacing_mm)
    first = int(case.rows.min())

    place, numbers = np.array(places_mm(store, case)), reweighting(trained.calibration, flat=len(case.rows) == 1)

    def answer(view: View) -> tuple[Flags, NDArray[np.float64], int | None]:
        slices = LesionSlices((place if view.slices is None else place[view.slices]).tolist(), extent=trained.extent)
        atoms = lesion_atoms(trained, view.images, slices, samples, seed_of(seed, "stability", first, view.seed))
        return view.back(_marks(atoms.labels, store)), atoms.weights, atoms.draws

    masks, weights, draws = answer(unchanged(scene))
    plain = Answer.of(masks, weights, draws, numbers)
    changes = {}
    for name, change in CHANGES.items():
        view = change(scene, np.random.default_rng(seed_of(seed, name, first)))
        if view is None:
            continue
        before = plain
        if view.slices is not None:
            before = Answer.of(masks[:, view.slices], weights, draws, numbers)
        changes[name] = compared(before, Answer.of(*answer(view), numbers))
    return StabilityCase(case, scene.padded, changes | _between_readers(store, case))


def _marks(labels: NDArray[np.uint8], store: Store) -> Flags:
    """Where labels are of a class that counts."""
    scored = store.manifest.scored_labels
    return np.asarray(labels != 0 if scored is None else np.isin(labels, scored))


def _between_readers(store: Store, case: LesionRows) -> dict[str, dict[str, float]]:
    """The yardstick: the same measures from one reader's mask to another's, means over all ordered pairs."""
    if store.manifest.known_odds:
        return {}
    masks = readers_of(store, case)
    masks = masks * (masks != IGNORE)
    answers = [Answer.of(_marks(mask[None], store), np.ones(1), None, None) for mask in masks]
    found = [compared(one, other) for one, other in permutations(answers, 2)]
    if not found:
        return {}
    return {READERS: {measure: mean_of_defined([one[measure] for one in found]) for measure in MEASURES}}
