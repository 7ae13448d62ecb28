"""Means over images of a few cheap figures, for a look during training."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Masks
from ..core.overlap import overlaps
from ..metrics.distances import ged
from ..metrics.modes import mode_error
from ..metrics.scores import PAPERS_DRAWS, drawn_masks, matched
from ..metrics.summary import NAN


def validation_scores(
    labels: Masks,
    weights: NDArray[np.float64],
    masks: NDArray[np.uint8],
    present: NDArray[np.bool_],
    *,
    draws: int | None,
    odds: NDArray[np.float64] | None = None,
    scored: Sequence[int] | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Means over images of a few cheap figures, for a look during training.

    labels [B, S, H, W] with weights [B, S]; readers' masks [B, R, H, W], which of them are present [B, R]; draws as in
    `Atoms`; odds [B, R] of the masks where they are known; scored: the foreground classes that count, None for all; seed: of
    the masks drawn from an exact support.
    Returns `ged` (V-statistic at S draws, weighted), `ged_u` (unbiased, over images with two readers or more),
    `overlap`, `diversity` (the model's), `hm_iou` (of 16 draws, as in `image_scores`) and, with odds, `mode_error`.
    """
    rows = []
    for number, weight in enumerate(weights.astype(np.float64)):
        known = None if odds is None else odds[number]
        iou = overlaps(labels[number], masks[number], present[number], scored=scored)
        weight /= weight.sum()
        found = ged(iou, weight, draws=draws, reader_weights=known)
        row = {"ged": found.v, "ged_u": found.u, "overlap": found.overlap, "diversity": found.sample_diversity}
        drawn = drawn_masks(weight, draws, PAPERS_DRAWS, np.random.default_rng((seed, number)))
        row["hm_iou"] = matched(iou.cross[drawn], known)
        if known is not None:
            row["mode_error"] = mode_error(iou, weight, known)
        rows.append(row)
    return {name: defined_mean(np.array([row[name] for row in rows])) for name in rows[0]}


def defined_mean(values: NDArray[np.float64]) -> float:
    """Mean of the values that are not nan; nan when none is."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else NAN
