"""What merging_models.py measures for one image: the list by threshold, by number of draws, and by way of merging.

Every function returns figures by name; merging_models.py describes them.
"""

import math

import numpy as np
from merging_study import WAYS
from numpy.typing import NDArray

from ambiseg.models.core.hypotheses import MERGE, Hypotheses, rank, wilson_intervals
from ambiseg.models.core.overlap import pairwise_iou
from ambiseg.models.metrics.distances import equal_weights
from ambiseg.models.metrics.outcomes import TOP, Outcome, nll, outcome
from ambiseg.models.metrics.reliability import Bins, binned

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
DRAWS = (64, 128, 256, 512, 1024)
USUAL, OTHERS, FRESH = 256, 2048, 4096
COMPARED = ("leaders", "k-medoids", "k-medoids, apart (chosen)")
RARE = 0.02  # hypotheses with lower probability are left out of the intervals' coverage
Figures = dict[str, float]


def threshold_figures(labels: NDArray, weights: NDArray, masks: NDArray, truth: NDArray) -> list[tuple[Figures, Bins]]:
    """The figures of one image's list for each threshold, and the reliability of its probabilities."""
    iou, found = pairwise_iou(labels), []
    for merge in THRESHOLDS:
        hypotheses = rank(labels, weights, top=len(labels), merge=merge, iou=iou)
        choices = outcome(hypotheses, masks, truth).first()
        near = pairwise_iou(hypotheses.masks, masks)
        figures = {
            "n": len(hypotheses.masks),
            "p1": hypotheses.probabilities[0],
            "beyond": choices.probabilities[-1],
            "nll": nll(choices),
            "excess": nll(choices) - entropy(choices),
            "iou": near.max(0) @ truth,
            "iou8": near[:TOP].max(0) @ truth,
        }
        found.append((figures, binned(choices.probabilities, choices.hits)))
    return found


def draws_figures(labels: NDArray, fresh: NDArray) -> list[Figures]:
    """The figures of one image's list from the first of `labels`, for each threshold and number of draws."""
    iou, others_iou, found = pairwise_iou(labels), pairwise_iou(fresh[:OTHERS]), []
    for merge in THRESHOLDS:
        others = ranked(fresh[:OTHERS], merge, others_iou)
        for n in DRAWS:
            own = ranked(labels[:n], merge, iou[:n, :n])
            start = ranked(labels[: n // 2], merge, iou[: n // 2, : n // 2])
            nearest = outcome(others, own.masks, own.probabilities / own.probabilities.sum()).hits
            expected = math.erf(1.96 / math.sqrt(2 * (1 + n / FRESH)))
            found.append(
                {
                    "n": len(own.masks),
                    "expected": expected,
                    "shift": variation(others.probabilities, nearest),
                    "counting": variation(others.probabilities, shares(others.masks, labels[:n])),
                    "p1 moves": abs(own.probabilities[0] - others.probabilities[0]),
                    "same": pairwise_iou(own.masks[:1], others.masks[:1])[0, 0] >= 0.7,
                    **coverage("", own.probabilities, n, shares(own.masks, fresh)),
                    **coverage(
                        "halves ", shares(start.masks, labels[n // 2 : n])[:-1], n // 2, shares(start.masks, fresh)
                    ),
                }
            )
    return found


def ways_figures(labels: NDArray, others: NDArray, fresh: NDArray) -> list[Figures]:
    """The figures of one image's list from `labels`, compared with the list from `others`, for each way of merging."""
    found = []
    for way in COMPARED:
        (masks, p), (other_masks, other_p) = (WAYS[way](drawn, MERGE) for drawn in (labels, others))
        near = pairwise_iou(other_masks, masks)
        moved = np.bincount(np.where(near.max(0) > 0, near.argmax(0), len(other_p)), p, len(other_p) + 1)
        listed = pairwise_iou(masks[:TOP])
        np.fill_diagonal(listed, 0)
        found.append(
            {
                "n": len(p),
                "close": (listed.max(1) > 1 - MERGE).mean(),
                "error": variation(p, shares(masks, fresh)),
                "shift": variation(other_p, moved),
                "p1 moves": abs(p[0] - other_p[0]),
                "to nearest": (1 - pairwise_iou(fresh, masks).max(1)).mean(),
            }
        )
    return found


def ranked(labels: NDArray, merge: float, iou: NDArray) -> Hypotheses:
    """All hypotheses of draws of equal weight."""
    return rank(labels, equal_weights(len(labels)), top=len(labels), merge=merge, iou=iou)


def shares(hypotheses: NDArray, masks: NDArray) -> NDArray:
    """The share of masks nearest to each of N hypotheses, and as last entry that of the masks that overlap none, [N + 1]."""
    listed = Hypotheses(hypotheses, equal_weights(len(hypotheses)), None, 0.0, None)
    return outcome(listed, masks, equal_weights(len(masks))).hits


def variation(p: NDArray, f: NDArray) -> float:
    """Total variation of probabilities [N] from shares [N + 1]."""
    return float(np.abs(np.append(p, 0) - f).sum() / 2)


def coverage(prefix: str, p: NDArray, n: int, f: NDArray) -> Figures:
    """The number of intervals of p [N], counted from n draws, how many contain f [N + 1], and the sum of their widths."""
    low, high = wilson_intervals(p, n)[p > RARE].T
    inside = (low <= f[:-1][p > RARE]) & (f[:-1][p > RARE] <= high)
    return {f"{prefix}intervals": len(low), f"{prefix}covered": inside.sum(), f"{prefix}width": (high - low).sum()}


def entropy(choices: Outcome) -> float:
    """Entropy of what the readers chose, nats."""
    hits = choices.hits[choices.hits > 0]
    return float(-hits @ np.log(hits))
