"""All figures of one image: the model's weighted masks against its readers' masks, from one table of IoUs."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ..hypotheses import rank
from .distances import ged
from .matching import hm_iou, systematic_resample
from .overlap import Overlaps, overlaps, pairwise_dice, pairwise_iou

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


SCORE_NAMES = tuple(field.name for field in fields(Scores))


def image_scores(
    labels: NDArray[np.uint8],
    weights: NDArray[np.float64],
    masks: NDArray[np.uint8],
    present: NDArray[np.bool_] | None = None,
    *,
    draws: int | None,
    rng: np.random.Generator,
) -> Scores:
    """Figures of masks `labels` [S, H, W] with weights [S] (sum 1) against the readers' `masks` [R, H, W].

    draws: as in `Atoms`, S for independent draws of equal weight (then the first 16 give the figures at 16; S >= 16), None
    for an exact support, from which 16 are drawn with `rng`. Raises DataError when no reader is `present` [R].
    """
    masks = masks if present is None else masks[present]
    iou = overlaps(labels, masks)
    some = np.arange(PAPERS_DRAWS) if draws == len(labels) else rng.choice(len(labels), PAPERS_DRAWS, p=weights)
    few = Overlaps(iou.draws[np.ix_(some, some)], iou.cross[some], iou.readers)
    at16, whole = ged(few, draws=PAPERS_DRAWS), ged(iou, weights, draws=draws)
    top = rank(labels, weights, top=1, draws=draws).masks
    empty_model = float(weights @ ~labels.any((1, 2)))
    empty_readers = float(np.mean(~masks.any((1, 2))))
    return Scores(
        ged16_v=at16.v,
        ged16_u=at16.u,
        overlap16=at16.overlap,
        sample_diversity16=at16.sample_diversity,
        reader_diversity=at16.reader_diversity,
        hm_iou16=hm_iou(few.cross),
        ged_v=whole.v,
        ged_u=whole.u,
        overlap=whole.overlap,
        sample_diversity=whole.sample_diversity,
        top_iou=float(pairwise_iou(top, masks).mean()),
        top_dice=float(pairwise_dice(top, masks).mean()),
        empty_model=empty_model,
        empty_readers=empty_readers,
        empty_error=abs(empty_model - empty_readers),
        empty_accuracy=float("nan") if empty_readers == 0.5 else float((empty_model > 0.5) == (empty_readers > 0.5)),
    )


def validation_scores(
    labels: NDArray[np.uint8],
    weights: NDArray[np.float64],
    masks: NDArray[np.uint8],
    present: NDArray[np.bool_],
    *,
    draws: int | None,
) -> dict[str, float]:
    """Means over images of a few cheap figures, for a look during training.

    labels [B, S, H, W] with weights [B, S]; readers' masks [B, R, H, W], which of them are present [B, R]; draws as in
    `Atoms`. Returns `ged` (V-statistic at S draws, weighted), `ged_u` (unbiased, over images with two readers or more),
    `overlap`, `diversity` (the model's) and `hm_iou` (at 16 masks that stand for the weighted set).
    """
    rows = []
    for image, weight, readers, here in zip(labels, weights.astype(np.float64), masks, present, strict=True):
        iou = overlaps(image, readers, here)
        found = ged(iou, weight / weight.sum(), draws=draws)
        matched = hm_iou(iou.cross[systematic_resample(weight, PAPERS_DRAWS)])
        rows.append((found.v, found.u, matched, found.overlap, found.sample_diversity))
    means = (defined_mean(np.array(column)) for column in zip(*rows, strict=True))
    return dict(zip(("ged", "ged_u", "hm_iou", "overlap", "diversity"), means, strict=True))


def defined_mean(values: NDArray[np.float64]) -> float:
    """Mean of the values that are not nan; nan when none is."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")
