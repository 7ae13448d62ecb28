"""What readers chose among a model's hypotheses: the events that the hypotheses' probabilities are about.

A reader's mask counts for the hypothesis that it is nearest to, d = 1 - IoU as in `overlap`, among all of the model's
hypotheses (at the same distance for the more probable one). Where that one is not among those listed, and where the mask
overlaps none of them, it counts for the residual: "none of these".
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..hypotheses import Hypotheses
from .overlap import pairwise_iou

TOP = 8  # hypotheses listed, as `predict` lists them
FLOOR = (
    1e-3  # a smaller probability counts as this one in a logarithm, so that one reader does not make a mean infinite
)


@dataclass(frozen=True)
class Outcome:
    """The listed hypotheses of one image, the most probable first, then the residual; [K + 1] each.

    probabilities: the model's, sum 1; hits: the share of readers (or, where the truth is known, the odds of masks) that
    counts for each, sum 1; empty: whether it is the empty mask (the residual is not).
    """

    probabilities: NDArray[np.float64]
    hits: NDArray[np.float64]
    empty: NDArray[np.bool_]

    def believed(self, probabilities: NDArray[np.float64]) -> "Outcome":
        """The same choices with other probabilities [K + 1] of the same hypotheses, the most probable of them first."""
        order = np.append(np.argsort(-probabilities[:-1], kind="stable"), len(probabilities) - 1)
        return Outcome(probabilities[order], self.hits[order], self.empty[order])


def outcome(hypotheses: Hypotheses, masks: NDArray[np.uint8], truth: NDArray[np.float64], *, top: int = TOP) -> Outcome:
    """What readers with weights `truth` [R] (sum 1) and `masks` [R, ...] chose.

    hypotheses: all that the model has (`rank` with no limit), on the same pixels; the `top` most probable are listed.
    """
    listed = min(top, len(hypotheses.masks))
    iou = pairwise_iou(hypotheses.masks, masks)
    chosen = np.where(iou.max(0) > 0, np.minimum(iou.argmax(0), listed), listed)
    kept = hypotheses.first(listed)
    return Outcome(
        probabilities=np.append(kept.probabilities, kept.residual),
        hits=np.bincount(chosen, truth, listed + 1),
        empty=np.append(~kept.masks.reshape(listed, -1).any(1), False),
    )


def nll(found: Outcome) -> float:
    """Mean negative log-probability of what a reader chose, nats."""
    return float(-found.hits @ np.log(np.maximum(found.probabilities, FLOOR)))


def brier(found: Outcome) -> float:
    """Brier score: the mean over readers of the squared distance of the probabilities and what the reader chose (Brier 1950).

    0 is perfect, 2 the worst. A reader who chose k adds |p|^2 - 2 p_k + 1.
    """
    p = found.probabilities
    return float(p @ p - 2 * found.hits @ p + found.hits.sum())
