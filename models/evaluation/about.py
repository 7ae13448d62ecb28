"""What an evaluation says about itself, gathered from the model, the data and the cases."""

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.store.store import Store

from ..core.hypotheses import GAIN, TOP
from ..core.symptoms import MaskSets, symptoms
from ..metrics.catalogue import DRAWS
from ..metrics.reliability import BINS
from ..runs.trained import Trained
from ..runs.training_list import Seen, seen
from .evaluation import Case
from .scaled_store import ScaledStore
from .summary_document import FIXED_DRAWS, CalibrationUsed, EvaluationAbout, SeenInTraining


def about_evaluation(
    trained: Trained,
    store: Store,
    split: str,
    cases: Sequence[Case],
    *,
    samples: int,
    seed: int,
    size: int,
    exact: bool,
    before: Seen | None = None,
) -> EvaluationAbout:
    """Describe the evaluation of a model on the central `size` pixels of the cases of a split of `store`.

    exact: whether the model's masks have exact weights; before: how much of the split trained the model, None if unknown.
    """
    fitted = trained.calibration
    return EvaluationAbout(
        ambiseg=version("ambiseg"),
        run=trained.name,
        weights_hash=trained.weights_hash,
        method=trained.method.name,
        calibrated=None if fitted is None else CalibrationUsed.model_validate(fitted.model_dump()),
        trained_on=trained.record.data.content_hash,
        data=store.manifest.name,
        data_hash=store.content_hash,
        split=split,
        cases_in_split=len(store.rows(split)),
        crop=[min(side, size) for side in store.size],
        spacing_mm=store.spacing_mm,
        known_odds=store.manifest.known_odds,
        scored=None if store.manifest.scored is None else list(store.manifest.scored),
        group=store.manifest.group,
        reader=trained.reader or None,
        samples=samples,
        seed=seed,
        estimators=estimators(store.manifest.known_odds)
        | ({"readers": f"{trained.reader} alone"} if trained.reader else {}),
        cases=len(cases),
        weights="exact" if exact else "draws",
        seen=None if before is None else SeenInTraining(**vars(before)),
        notes=[
            *([before.sentence(split)] if before else []),
            *([f"The hypotheses are those for the reader {trained.reader}."] if trained.reader else []),
            *([store.note] if isinstance(store, ScaledStore) else []),
            *notes_on(cases),
        ],
        floor=perfect_means(cases, samples, exact) if store.manifest.known_odds else None,
    )


def seen_before(trained: Trained, store: Store, rows: NDArray[np.intp]) -> Seen | None:
    """How much of some rows [N] of a store trained the model; None where the model does not say. Raises DataError."""
    known = trained.trained_on()
    return None if known is None else seen(known, store, rows)


def estimators(known_odds: bool) -> dict[str, str]:
    """How figures are computed: only evaluations with the same estimators are comparable."""
    return {
        "distance": "1 - IoU of the scored foreground, mean over classes present in either mask; both empty: 0",
        "readers": "all masks that can be drawn, by their odds" if known_odds else "those who read the image, alike",
        "ged*_v": "squared GED, V-statistic with self-pairs",
        "ged*_u": "squared GED, U-statistic without self-pairs (unbiased)",
        "*16, *50, *100": FIXED_DRAWS,
        "hypotheses": f"masks that represent the whole set best, {TOP} at most, each {GAIN} nearer to it (transport distance)",
        "*ece": f"{BINS} bins of equal width, events of all cases pooled",
        "low, high": "95 % bootstrap interval, patients resampled",
    }


def perfect_means(cases: Sequence[Case], samples: int, exact: bool) -> dict[str, float]:
    """The expected GED of a perfect model, by figure, of cases whose masks' probabilities are known.

    A perfect model's V-statistic of n draws expects the readers' diversity / n.
    """
    diversity = float(np.mean([case.scores["reader_diversity"] for case in cases]))
    floor = {f"ged{n}_v": diversity / n for n in DRAWS if exact or n <= samples}
    return floor | {"ged_v": 0.0 if exact else diversity / samples}


def notes_on(cases: Sequence[Case]) -> list[str]:
    """Sentences on signs that the model has not learned a distribution, and on figures that are not defined."""
    names = ("sample_diversity", "reader_diversity", "empty_model", "empty_readers")
    notes = symptoms(MaskSets.of({name: [case.scores[name] for case in cases] for name in names}))
    disagreeing = sum(case.disagree for case in cases)
    if 0 < disagreeing < len(cases):
        return notes
    case = "every case" if disagreeing else "no case"
    return [*notes, f"In {case} two readers' masks share nothing, so the AUROC of the ambiguity is not defined."]
