"""Evaluating a trained model on a split of a dataset store.

A case's random numbers are seeded by the evaluation's seed and the case's row, and cases go through the model one by
one: a case's figures do not depend on which other cases are evaluated.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ambiseg.preprocessing.errors import DataError, UsageError
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.planes import centre_crop

from ..core.arrays import where_it_lies
from ..core.calibration import Calibration
from ..core.predictive import Atoms
from ..core.randomness import generator_for, seed_of
from ..metrics.modes import mode_shares
from ..metrics.reliability import Bins, pixel_reliability
from ..metrics.scores import PAPERS_DRAWS, image_scores
from ..metrics.sides import Sides, both_sides
from ..runs.trained import Trained
from . import pooled
from .about import about_evaluation
from .evaluation import INDEX_COLUMNS, Case, Evaluation
from .rows import check_data, chosen_rows

MOST_MODES = 64  # per image, for the mode probabilities to be reported one by one


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

    samples: draws per image, or at most so many of the most probable masks of a model with finite support; 16 at least.
    limit: evaluate only so many cases, spread evenly over the split. Crops that no reader read are left out; crops
    larger than those of the training are cut to their centre, unless `whole` images are asked for. Where the odds of the
    masks are known, these take the place of the readers' equal weights. Raises InputError for a split without cases,
    UsageError for too few samples, DataError for data that the model cannot read and for a model whose output is not
    finite.
    """
    if samples < PAPERS_DRAWS:
        raise UsageError(f"GED16 and HM-IoU16 need at least {PAPERS_DRAWS} samples per image, got {samples}.")
    check_data(trained, store)
    rows = chosen_rows(store, split, limit)
    size = max(store.size) if whole else trained.record.crop
    cases, exact = [], False
    on_progress(0, len(rows))
    for row in rows:
        atoms, stated = _drawn(trained, store, row, samples, seed, size)
        cases.append(_case(trained, store, row, atoms, stated, seed, size))
        exact = atoms.draws is None
        on_progress(len(cases), len(rows))
    return Evaluation(
        about=about_evaluation(trained, store, split, cases, samples=samples, seed=seed, size=size, exact=exact),
        cases=tuple(cases),
        figures=pooled.figures(cases, seed),
        reliability=pooled.reliability(cases),
        modes=pooled.modes(cases),
    )


def _case(trained: Trained, store: Store, row: int, atoms: Atoms, stated: Tensor | None, seed: int, size: int) -> Case:
    """One row evaluated on its central `size` pixels, from the model's weighted masks [1, S, H, W] and the pixels' class
    probabilities [1, K, H, W] that it states without a draw, if it does.
    """
    masks = _read_masks(store, row, size)
    sides = sides_of(store, row, atoms, size, trained.calibration)
    rng = np.random.default_rng(seed_of(seed, "resample", int(row)))

    def reliability(probabilities: Tensor) -> tuple[Bins, Bins]:
        return pixel_reliability(
            probabilities[0].float().cpu().numpy(), masks, sides.truth, store.manifest.scored_labels
        )

    pixels, marked = reliability(atoms.marginal)
    index = store.index[row]
    return Case(
        index={name: index[name] for name in INDEX_COLUMNS},
        readers=len(masks),
        scores=image_scores(sides, rng=rng, spacing_mm=spacing_of(store, row)),
        outcome=sides.outcome,
        pixels=pixels,
        marked_pixels=marked,
        stated=None if stated is None else reliability(stated),
        ambiguity=sides.ged.ambiguity,
        disagree=sides.disagree,
        group="all" if store.manifest.group is None else index[store.manifest.group],
        modes=_modes(sides),
    )


def sides_of(store: Store, row: int, atoms: Atoms, size: int, calibration: Calibration | None) -> Sides:
    """The model's weighted masks [1, S, H, W] of a row's central `size` pixels beside its readers' masks."""
    weights = atoms.weights[0].double().cpu().numpy()
    return both_sides(
        where_it_lies(atoms.labels[0]),
        weights / weights.sum(),
        _read_masks(store, row, size),
        draws=atoms.draws,
        odds=store.truth.probabilities(np.array([row]))[0] if store.manifest.known_odds else None,
        scored=store.manifest.scored_labels,
        calibration=calibration,
    )


def _read_masks(store: Store, row: int, size: int) -> NDArray[np.uint8]:
    """The masks [R, H, W] of those who read a row, or its modes, on its central `size` pixels."""
    return centre_crop(store.masks(np.array([row]))[0], size)[store.present[row]]


def _modes(sides: Sides) -> NDArray[np.float64] | None:
    """The true probabilities of the modes and the model's, [2, R]; None where they are not known, or too many."""
    if sides.odds is None or len(sides.odds) > MOST_MODES:
        return None
    return np.stack((sides.odds, mode_shares(sides.iou, sides.weights, sides.odds)))


def drawn_atoms(trained: Trained, store: Store, row: int, samples: int, seed: int, size: int) -> Atoms:
    """The model's weighted masks for the central `size` pixels of one row, [1, S, H, W]: the same for the same seed."""
    return _drawn(trained, store, row, samples, seed, size)[0]


def _drawn(trained: Trained, store: Store, row: int, samples: int, seed: int, size: int) -> tuple[Atoms, Tensor | None]:
    """The model's weighted masks as of `drawn_atoms`, and the class probabilities [1, K, H, W] that it states outright."""
    rows = np.array([row])
    image = centre_crop(store.images(rows), size)
    probabilities = centre_crop(store.class_probabilities(rows), size) if trained.record.data.probabilities else None
    with torch.inference_mode():
        predictive = trained.predictive(image, probabilities)
        atoms = predictive.atoms(samples, generator_for(seed, "evaluate", int(row)))
        stated = predictive.pixelwise()
    given = (atoms.weights, atoms.marginal, *(() if stated is None else (stated,)))
    if not all(numbers.isfinite().all() for numbers in given):
        raise DataError(f"The model gives no finite probabilities for row {row} of {store.path}: train it again.")
    return atoms, stated


def spacing_of(store: Store, row: int) -> tuple[float, float] | None:
    """A pixel's size (y, x): that of all crops, or the scan's own where crops kept their scans' pixels."""
    if store.spacing_mm is not None:
        return store.spacing_mm, store.spacing_mm
    y, x = (store.index[row][f"spacing_{axis}_mm"] for axis in "yx")
    return (float(y), float(x)) if y and x else None
