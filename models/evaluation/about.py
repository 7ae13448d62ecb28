"""What an evaluation says about itself: model, data, split, estimators, number of draws, seed, version."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from ambiseg.preprocessing.store.store import Store

from ..core.hypotheses import MERGE
from ..metrics.catalogue import DRAWS
from ..metrics.outcomes import TOP
from ..metrics.reliability import BINS
from ..runs.trained import Trained
from .evaluation import Case


def about_request(trained: Trained, store: Store, split: str, samples: int, seed: int, size: int) -> dict[str, Any]:
    """What was asked for: the model on the central `size` pixels of a split of `store`."""
    return {
        "ambiseg": version("ambiseg"),
        "run": trained.name,
        "weights_hash": trained.weights_hash,
        "method": trained.method.name,
        "calibrated": None if trained.calibration is None else trained.calibration.model_dump(),
        "trained_on": trained.record.data.content_hash,
        "data": store.manifest["name"],
        "data_hash": store.content_hash,
        "split": split,
        "cases_in_split": len(store.rows(split)),
        "crop": [min(side, size) for side in store.size],
        "spacing_mm": store.spacing_mm,
        "known_odds": store.known_odds,
        "scored": None if store.scored is None else [store.class_names[label] for label in store.scored],
        "group": store.group,
        "samples": samples,
        "seed": seed,
        "estimators": estimators(store.known_odds),
    }


def estimators(known_odds: bool) -> dict[str, str]:
    """How figures are computed: only evaluations of which all of this is equal may stand beside each other."""
    return {
        "distance": "1 - IoU of the scored foreground, mean over classes present in either mask; both empty: 0",
        "readers": "all masks that can be drawn, by their odds" if known_odds else "those who read the image, alike",
        "ged*_v": "squared GED, V-statistic with self-pairs",
        "ged*_u": "squared GED, U-statistic without self-pairs (unbiased)",
        "*16, *50, *100": "of so many draws an image; of exact weights resampled",
        "hypotheses": f"masks nearer than {MERGE} merged, {TOP} listed, the others and those that overlap none: residual",
        "*ece": f"{BINS} bins of equal width, events of all cases pooled",
        "low, high": "95 % bootstrap interval, patients resampled",
    }


def about_cases(cases: Sequence[Case], samples: int, exact: bool, known_odds: bool) -> dict[str, Any]:
    """How many cases there were, what stands behind the figures, what cannot be said, and the GED of a perfect model
    where it is known.
    """
    found = {"cases": len(cases), "weights": "exact" if exact else "draws", "notes": _notes(cases)}
    if not known_odds:
        return found
    diversity = float(np.mean([case.scores["reader_diversity"] for case in cases]))  # see `floor`
    floor = {f"ged{n}_v": diversity / n for n in DRAWS if exact or n <= samples}
    return {**found, "floor": floor | {"ged_v": 0.0 if exact else diversity / samples}}


def _notes(cases: Sequence[Case]) -> list[str]:
    """Sentences on figures that are not defined."""
    disagreeing = sum(case.disagree for case in cases)
    if 0 < disagreeing < len(cases):
        return []
    case = "every case" if disagreeing else "no case"
    return [f"In {case} two readers' masks share nothing, so the AUROC of the ambiguity is not defined."]
