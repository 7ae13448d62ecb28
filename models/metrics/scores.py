"""All figures of one image: the model's weighted masks against the readers' masks, from one table of IoUs.

Where the truth is known, all masks that can be drawn replace the readers' masks, and their odds replace the equal weights.
The readers' side of every figure is then exact.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.overlap import Overlaps, pairwise_dice, pairwise_iou
from .catalogue import CASE_MEASURES, DRAWS
from .distances import ged
from .matching import hm_iou, ot_iou, systematic_resample
from .modes import mode_error
from .outcomes import brier, nll
from .sides import Sides
from .summary import NAN
from .surface import mean_surface_distance_mm

PAPERS_DRAWS = DRAWS[0]  # the number of draws at which HM-IoU and D_max are given


def image_scores(
    sides: Sides, *, rng: np.random.Generator, spacing_mm: Sequence[float] | None = None
) -> dict[str, float]:
    """All figures of one image.

    Figures at n draws are of the first n draws of a sampler. From an exact support all draws are taken at once with `rng`,
    so that the first 16 of 50 are the 16.

    Args:
        sides: the model's and the readers' masks.
        rng: for draws from an exact support.
        spacing_mm: size of a pixel along each axis, in mm, where it is known.

    Returns:
        The figures by the names in `CASE_MEASURES`, in that order; nan where a figure is not defined.
    """
    drawn = drawn_masks(sides.weights, sides.draws, max(DRAWS), rng)
    found = {name: value for n in DRAWS for name, value in energy_at(n, sides, drawn).items()}
    found |= _matching(sides, drawn[:PAPERS_DRAWS]) | _weighted(sides) | _hypotheses(sides, spacing_mm) | _empty(sides)
    return {name: found[name] for name in CASE_MEASURES}


def drawn_masks(weights: NDArray[np.float64], draws: int | None, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """The masks that represent n independent draws; fewer if fewer were drawn.

    Every figure that refers to a number of draws uses these, in validation and in evaluation.

    Args:
        weights: of the model's masks [S], sum 1.
        draws: as in `Atoms`. Of a sampler (not None) the first n masks are taken, of an exact support n are drawn.
        n: how many.
        rng: for draws from an exact support.

    Returns:
        Indices of masks [n].
    """
    return np.arange(min(n, len(weights))) if draws is not None else rng.choice(len(weights), n, p=weights)


def energy_at(n: int, sides: Sides, drawn: NDArray[np.intp]) -> dict[str, float]:
    """The energy distance of the first n of the masks drawn (indices), with its terms; nan when fewer were drawn."""
    names = (f"ged{n}_v", f"ged{n}_u", f"overlap{n}", f"sample_diversity{n}")
    if len(drawn) < n:
        return dict.fromkeys(names, NAN)
    some, iou = drawn[:n], sides.iou
    found = ged(
        Overlaps(iou.draws[np.ix_(some, some)], iou.cross[some], iou.readers), draws=n, reader_weights=sides.odds
    )
    return dict(zip(names, (found.v, found.u, found.overlap, found.sample_diversity), strict=True))


def _matching(sides: Sides, drawn: NDArray[np.intp]) -> dict[str, float]:
    """How well the drawn masks (indices [16]) pair off with the readers', and the mean best Dice over the readers."""
    dice = pairwise_dice(sides.labels[drawn], sides.masks)
    return {"hm_iou16": matched(sides.iou.cross[drawn], sides.odds), "d_max16": float(dice.max(0) @ sides.truth)}


def matched(cross: NDArray[np.float64], odds: NDArray[np.float64] | None) -> float:
    """HM-IoU from IoUs [S, R] of S draws; with known odds, 16 masks represent the weighted readers' side."""
    return hm_iou(cross if odds is None else cross[:, systematic_resample(odds, PAPERS_DRAWS)])


def _weighted(sides: Sides) -> dict[str, float]:
    """Figures of all of the model's masks by their weights."""
    whole = sides.ged
    return {
        "reader_diversity": whole.reader_diversity,
        "ged_v": whole.v,
        "ged_u": whole.u,
        "overlap": whole.overlap,
        "sample_diversity": whole.sample_diversity,
        "ot_iou": ot_iou(sides.iou.cross, sides.weights, sides.truth),
        "mode_error": NAN if sides.odds is None else mode_error(sides.iou, sides.weights, sides.odds),
    }


def _hypotheses(sides: Sides, spacing_mm: Sequence[float] | None) -> dict[str, float]:
    """How close the listed hypotheses come to the readers on average, and whether readers confirm their probabilities."""
    chosen = sides.outcome
    listed = sides.hypotheses.masks
    dice = pairwise_dice(listed, sides.masks) @ sides.truth
    return {
        "top_iou": float(pairwise_iou(listed[:1], sides.masks)[0] @ sides.truth),
        "top_dice": float(dice[0]),
        "best_dice": float(dice.max()),
        "top_surface_mm": NAN if spacing_mm is None else _surface_mm(listed[0], sides, spacing_mm),
        "hypothesis_nll": nll(chosen),
        "hypothesis_brier": brier(chosen),
    }


def _surface_mm(mask: NDArray[np.uint8], sides: Sides, spacing_mm: Sequence[float]) -> float:
    """Mean surface distance of a mask to the readers' that are not empty."""
    here = sides.truth > 0
    distances, truth = mean_surface_distance_mm(mask, sides.masks[here], spacing_mm), sides.truth[here]
    known = ~np.isnan(distances)
    return float(distances[known] @ truth[known] / truth[known].sum()) if known.any() else NAN


def _empty(sides: Sides) -> dict[str, float]:
    """The model's and the readers' probability of the empty mask."""
    model, readers = (
        float(weights @ (masks.reshape(len(masks), -1).max(1, initial=0) == 0))
        for masks, weights in ((sides.labels, sides.weights * (1 - sides.left_out)), (sides.masks, sides.truth))
    )
    return {
        "empty_model": model,
        "empty_readers": readers,
        "empty_error": abs(model - readers),
        "empty_accuracy": _agreement(model, readers),
    }


def _agreement(model: float, readers: float) -> float:
    """Whether two probabilities of the empty mask lie on the same side of 1/2: 1 or 0, nan when the readers' is 1/2."""
    return NAN if abs(readers - 0.5) < 1e-9 else float((model > 0.5) == (readers > 0.5))
