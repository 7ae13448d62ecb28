"""All figures of one image: the model's weighted masks against its readers' masks, from one table of IoUs.

Where the truth is known, all masks that can be drawn take the readers' place and their odds the readers' equal weights:
the readers' side of every figure is then exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ..hypotheses import rank
from .distances import equal_weights, ged
from .matching import hm_iou, systematic_resample
from .modes import mode_error
from .overlap import Overlaps, comparable, overlaps, pairwise_dice, pairwise_iou

PAPERS_DRAWS = 16  # the number of draws at which papers give GED and HM-IoU


@dataclass(frozen=True)
class Scores:
    """Figures of one image. d = 1 - IoU as in `overlap`; nan where a figure is not defined.

    `...16`: of 16 draws, whatever the model is, so that figures of different models may stand beside each other. Without
    16: of all draws asked for, or of the exact weighted set (no sampling error) when the model's support is finite.
    """

    ged16_v: float  # squared GED, V-statistic: the papers' GED16
    ged16_u: float  # squared GED, unbiased; nan with one reader
    overlap16: float  # E d(draw, reader); ged16_v = 2 overlap16 - sample_diversity16 - reader_diversity
    sample_diversity16: float  # E d(draw, draw'), self-pairs included
    reader_diversity: float  # E d(reader, reader'), self-pairs included
    hm_iou16: float  # Hungarian-matched IoU
    ged_v: float
    ged_u: float
    overlap: float
    sample_diversity: float
    top_iou: float  # of the most probable hypothesis with a reader, mean over readers
    top_dice: float
    empty_model: float  # the model's probability of the empty mask
    empty_readers: float  # share of the readers who marked nothing
    empty_error: float  # absolute difference of the two
    empty_accuracy: float  # 1 when model and majority of readers agree on whether there is anything; nan at a tie
    mode_error: float  # mean |p_model - p_true| over the image's distinct modes; nan without known odds


SCORE_NAMES = tuple(field.name for field in fields(Scores))


def image_scores(
    labels: NDArray[np.uint8],
    weights: NDArray[np.float64],
    masks: NDArray[np.uint8],
    present: NDArray[np.bool_] | None = None,
    *,
    draws: int | None,
    rng: np.random.Generator,
    odds: NDArray[np.float64] | None = None,
    scored: Sequence[int] | None = None,
    iou: Overlaps | None = None,
) -> Scores:
    """Figures of masks `labels` [S, H, W] with weights [S] (sum 1) against the readers' `masks` [R, H, W].

    draws: as in `Atoms`, S for independent draws of equal weight (then the first 16 give the figures at 16; S >= 16), None
    for an exact support, from which 16 are drawn with `rng`. odds [R]: the masks' probabilities where they are known.
    scored: the foreground classes that count, None for all. iou: the masks' `overlaps`, where they are known already.
    Raises DataError when no reader is `present` [R].
    """
    labels, masks = comparable(labels, masks, present, scored=scored)
    truth = equal_weights(len(masks)) if odds is None else odds
    iou = overlaps(labels, masks) if iou is None else iou
    some = np.arange(PAPERS_DRAWS) if draws == len(labels) else rng.choice(len(labels), PAPERS_DRAWS, p=weights)
    few = Overlaps(iou.draws[np.ix_(some, some)], iou.cross[some], iou.readers)
    at16 = ged(few, draws=PAPERS_DRAWS, reader_weights=odds)
    whole = ged(iou, weights, draws=draws, reader_weights=odds)
    top = rank(labels, weights, top=1, draws=draws).masks
    empty_model, empty_readers = float(weights @ _empty(labels)), float(truth @ _empty(masks))
    return Scores(
        ged16_v=at16.v,
        ged16_u=at16.u,
        overlap16=at16.overlap,
        sample_diversity16=at16.sample_diversity,
        reader_diversity=at16.reader_diversity,
        hm_iou16=_matched(few.cross, odds),
        ged_v=whole.v,
        ged_u=whole.u,
        overlap=whole.overlap,
        sample_diversity=whole.sample_diversity,
        top_iou=float(pairwise_iou(top, masks)[0] @ truth),
        top_dice=float(pairwise_dice(top, masks)[0] @ truth),
        empty_model=empty_model,
        empty_readers=empty_readers,
        empty_error=abs(empty_model - empty_readers),
        empty_accuracy=_agreement(empty_model, empty_readers),
        mode_error=float("nan") if odds is None else mode_error(iou, weights, odds),
    )


def validation_scores(
    labels: NDArray[np.uint8],
    weights: NDArray[np.float64],
    masks: NDArray[np.uint8],
    present: NDArray[np.bool_],
    *,
    draws: int | None,
    odds: NDArray[np.float64] | None = None,
    scored: Sequence[int] | None = None,
) -> dict[str, float]:
    """Means over images of a few cheap figures, for a look during training.

    labels [B, S, H, W] with weights [B, S]; readers' masks [B, R, H, W], which of them are present [B, R]; draws as in
    `Atoms`; odds [B, R] of the masks where they are known; scored: the foreground classes that count, None for all.
    Returns `ged` (V-statistic at S draws, weighted), `ged_u` (unbiased, over images with two readers or more),
    `overlap`, `diversity` (the model's), `hm_iou` (at 16 masks that stand for the weighted set) and, with odds,
    `mode_error`.
    """
    rows = []
    for number, weight in enumerate(weights.astype(np.float64)):
        known = None if odds is None else odds[number]
        iou = overlaps(labels[number], masks[number], present[number], scored=scored)
        weight /= weight.sum()
        found = ged(iou, weight, draws=draws, reader_weights=known)
        row = {"ged": found.v, "ged_u": found.u, "overlap": found.overlap, "diversity": found.sample_diversity}
        row["hm_iou"] = _matched(iou.cross[systematic_resample(weight, PAPERS_DRAWS)], known)
        if known is not None:
            row["mode_error"] = mode_error(iou, weight, known)
        rows.append(row)
    return {name: defined_mean(np.array([row[name] for row in rows])) for name in rows[0]}


def _matched(cross: NDArray[np.float64], odds: NDArray[np.float64] | None) -> float:
    """HM-IoU from IoUs [S, R]; with known odds, 16 masks stand for the weighted readers' side."""
    return hm_iou(cross if odds is None else cross[:, systematic_resample(odds, PAPERS_DRAWS)])


def _empty(masks: NDArray) -> NDArray[np.bool_]:
    """Which masks [N, ...] mark nothing."""
    return masks.reshape(len(masks), -1).max(1, initial=0) == 0


def _agreement(model: float, readers: float) -> float:
    """Whether two probabilities of the empty mask lie on the same side of 1/2: 1 or 0, nan when the readers' is 1/2."""
    return float("nan") if abs(readers - 0.5) < 1e-9 else float((model > 0.5) == (readers > 0.5))


def defined_mean(values: NDArray[np.float64]) -> float:
    """Mean of the values that are not nan; nan when none is."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")
