"""Whether a model's ambiguity separates the images on which readers disagree from the others: area under the ROC curve.

The AUROC is the probability that an image of disagreement has the higher score of the two, a tie counting half (Mann &
Whitney 1947; Hanley & McNeil 1982). It is computed from ranks, with weights, so that a bootstrap costs one sort.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .summary import NAN, Figure, resampled_patients

AT_ONCE = 100  # resamples


def auroc(
    scores: NDArray[np.float64], truth: NDArray[np.bool_], weights: NDArray[np.number] | None = None
) -> NDArray[np.float64]:
    """Area under the ROC curve.

    Args:
        scores: of the cases [N].
        truth: which cases are positive [N].
        weights: of the cases [..., N], one set for each figure (default: 1).

    Returns:
        AUROCs [...], 0 to 1; nan where there are no positive cases, or no others.

    Example:
        >>> float(auroc(np.array([0.1, 0.4, 0.8]), np.array([False, True, True])))
        1.0
    """
    order = np.argsort(scores, kind="stable")
    weight = np.ones(len(scores)) if weights is None else weights.astype(np.float64)
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf) != 0)
    positive, negative = (np.add.reduceat((weight * kind)[..., order], starts, -1) for kind in (truth, ~truth))
    below = np.cumsum(negative, -1) - negative / 2
    pairs = positive.sum(-1) * negative.sum(-1)
    return np.divide((positive * below).sum(-1), pairs, out=np.full(np.shape(pairs), NAN), where=pairs > 0)


def auroc_figure(
    scores: NDArray[np.float64], truth: NDArray[np.bool_], patients: Sequence[str], rng: np.random.Generator
) -> Figure:
    """AUROC of all cases whose score is defined, with a 95 % bootstrap percentile interval by patient.

    Args:
        scores: of the cases [N]; nan where not defined.
        truth: which cases are positive [N].
        patients: of the cases [N].
        rng: of the resamples. Those in which all cases are positive, or none, are left out.
    """
    known = ~np.isnan(scores)
    scores, truth, names = scores[known], truth[known], np.array(patients)[known]
    if len(scores) == 0 or truth.all() or not truth.any():
        return Figure(NAN, NAN, NAN, NAN, cases=len(scores))
    times, member = resampled_patients(names, rng)
    parts = [auroc(scores, truth, times[start : start + AT_ONCE, member]) for start in range(0, len(times), AT_ONCE)]
    interval = (NAN, NAN) if times.shape[1] < 2 else np.nanquantile(np.concatenate(parts), (0.025, 0.975))
    return Figure(float(auroc(scores, truth)), NAN, float(interval[0]), float(interval[1]), cases=len(scores))
