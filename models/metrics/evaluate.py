"""Evaluating a trained model on a split of a dataset store.

A case's random numbers are seeded by the evaluation's seed and the case's row, and cases go through the model one by
one: a case's figures do not depend on which other cases are evaluated.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.preprocessing.crops import centre_crop
from ambiseg.preprocessing.errors import DataError, UsageError
from ambiseg.preprocessing.store import Store

from ..predictive import Atoms
from ..randomness import generator_for, seed_of
from ..run import Trained
from .data import check_data, chosen_rows
from .evaluation import INDEX_COLUMNS, Case, Evaluation
from .modes import Group, by_group, mode_shares
from .overlap import overlaps
from .scores import PAPERS_DRAWS, SCORE_NAMES, image_scores
from .summary import Figure, summarise

MOST_MODES = 64  # an image, for the mode probabilities to be reported one by one


def evaluate(
    trained: Trained,
    store: Store,
    split: str,
    *,
    samples: int = PAPERS_DRAWS,
    seed: int = 0,
    limit: int | None = None,
    whole: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Compare the model's masks with the readers' on a split ("train", "val", "test" or "all") of `store`.

    samples: draws an image, or at most so many of the most probable masks of a model with finite support; 16 at least.
    limit: evaluate only so many cases, spread evenly over the split. Crops that no reader read are left out; crops
    larger than those of the training are cut to their centre, unless `whole` images are asked for. Where the odds of the
    masks are known, these take the place of the readers' equal weights. Raises InputError for a split without cases,
    UsageError for too few samples, DataError for data that the model cannot read.
    """
    if samples < PAPERS_DRAWS:
        raise UsageError(f"GED16 and HM-IoU16 need at least {PAPERS_DRAWS} samples an image, came {samples}.")
    check_data(trained, store)
    rows = chosen_rows(store, split, limit)
    size = max(store.size) if whole else trained.record.crop
    cases, exact = [], False
    on_progress(0, len(rows))
    for row in rows:
        case, draws = _case(trained, store, row, samples, seed, size)
        cases.append(case)
        exact = draws is None
        on_progress(len(cases), len(rows))
    return Evaluation(
        about=_about(trained, store, split, samples, seed, size) | _found(cases, samples, exact, store.known_odds),
        cases=tuple(cases),
        figures=_figures(cases, seed),
        modes=_modes(cases),
    )


def _case(trained: Trained, store: Store, row: int, samples: int, seed: int, size: int) -> tuple[Case, int | None]:
    """One row evaluated on its central `size` pixels, and the draws behind it (None when the model's support is exact)."""
    rows = np.array([row])
    atoms = _atoms(trained, store, rows, samples, seed, size)
    labels, weights = atoms.labels[0].cpu().numpy(), atoms.weights[0].double().cpu().numpy()
    weights /= weights.sum()
    masks = centre_crop(store.masks(rows)[0], size)
    odds = store.odds(rows)[0] if store.known_odds else None
    iou = overlaps(labels, masks, store.present[row], scored=store.scored)
    scores = image_scores(
        labels,
        weights,
        masks,
        store.present[row],
        draws=atoms.draws,
        rng=np.random.default_rng(seed_of(seed, "resample", int(row))),
        odds=odds,
        scored=store.scored,
        iou=iou,
    )
    index = store.index[row]
    case = Case(
        index={name: index[name] for name in INDEX_COLUMNS},
        readers=int(store.present[row].sum()),
        scores=scores,
        group="all" if store.group is None else index[store.group],
        modes=None if odds is None or len(odds) > MOST_MODES else np.stack((odds, mode_shares(iou, weights, odds))),
    )
    return case, atoms.draws


def _atoms(trained: Trained, store: Store, rows: NDArray[np.intp], samples: int, seed: int, size: int) -> Atoms:
    """The model's weighted masks for one row, [1, S, H, W]."""
    image = centre_crop(store.images(rows), size)
    probabilities = centre_crop(store.probabilities(rows), size) if trained.record.data.probabilities else None
    with torch.inference_mode():
        predictive = trained.predictive(image, probabilities)
        atoms = predictive.atoms(samples, generator_for(seed, "evaluate", int(rows[0])))
    if not (atoms.weights.isfinite().all() and atoms.marginal.isfinite().all()):
        raise DataError(f"The model gives no finite probabilities for row {rows[0]} of {store.path}: train it again.")
    return atoms


def _modes(cases: list[Case]) -> Mapping[str, Group]:
    """The mode probabilities by group, of cases whose modes are known."""
    known = [(case.group, case.modes) for case in cases if case.modes is not None]
    if not known:
        return {}
    truth, model = np.stack([modes for _, modes in known], 1)
    return by_group([group for group, _ in known], truth, model)


def _figures(cases: list[Case], seed: int) -> dict[str, Figure]:
    patients = [case.index["patient"] for case in cases]
    return {
        name: summarise(np.array([getattr(case.scores, name) for case in cases]), patients, np.random.default_rng(seed))
        for name in SCORE_NAMES
    }


def _about(trained: Trained, store: Store, split: str, samples: int, seed: int, size: int) -> dict[str, Any]:
    return {
        "ambiseg": version("ambiseg"),
        "run": trained.name,
        "weights_hash": trained.weights_hash,
        "method": trained.method.name,
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
    }


def _found(cases: list[Case], samples: int, exact: bool, known: bool) -> dict[str, Any]:
    """How many cases there were, what stands behind the figures, and the GED of a perfect model where it is known."""
    found = {
        "cases": len(cases),
        "weights": "exact" if exact else "draws",
        "estimators": {
            "distance": "1 - IoU of the scored foreground, mean over classes present in either mask; both empty: 0",
            "readers": "all masks that can be drawn, by their odds" if known else "those who read the image, alike",
            "ged*_v": "squared GED, V-statistic with self-pairs",
            "ged*_u": "squared GED, U-statistic without self-pairs (unbiased)",
            "*16": f"{PAPERS_DRAWS} draws an image" + (", resampled from the exact weights" if exact else ""),
            "low, high": "95 % bootstrap interval of the mean, patients resampled",
        },
    }
    if not known:
        return found
    diversity = float(np.mean([case.scores.reader_diversity for case in cases]))  # see `floor`
    floor = {"ged16_v": diversity / PAPERS_DRAWS, "ged_v": 0.0 if exact else diversity / samples}
    return found | {"floor": floor}
