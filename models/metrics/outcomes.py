"""What readers chose among a model's hypotheses: the events that the hypotheses' probabilities are about.

A reader's mask counts for the hypothesis that it is nearest to, d = 1 - IoU as in `overlap`, among all of the model's
hypotheses (at the same distance for the more probable one). Where the mask overlaps none of them it counts for the last
outcome, "none of these". Where only the first few hypotheses are listed, the others join that one as the residual.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.calibration import FLOOR
from ..core.hypotheses import Hypotheses
from ..core.overlap import pairwise_iou
from .reliability import Bins, binned

TOP = 8  # hypotheses listed, as `predict` lists them


@dataclass(frozen=True)
class Outcome:
    """The hypotheses of one image, the most probable first, then the residual; [K + 1] each.

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

    def first(self, top: int = TOP) -> "Outcome":
        """As many hypotheses listed as `predict` lists; the others join the residual."""
        listed = min(top, len(self.hits) - 1)
        probabilities, hits = (
            np.append(values[:listed], values[listed:].sum()) for values in (self.probabilities, self.hits)
        )
        return Outcome(probabilities, hits, np.append(self.empty[:listed], False))


def outcome(hypotheses: Hypotheses, masks: NDArray[np.uint8], truth: NDArray[np.float64]) -> Outcome:
    """What readers with weights `truth` [R] (sum 1) and `masks` [R, ...] chose among all of a model's hypotheses."""
    count = len(hypotheses.masks)
    iou = pairwise_iou(hypotheses.masks, masks)
    chosen = np.where(iou.max(0) > 0, iou.argmax(0), count)
    return Outcome(
        probabilities=np.append(hypotheses.probabilities, hypotheses.residual),
        hits=np.bincount(chosen, truth, count + 1).astype(np.float64),
        empty=np.append(hypotheses.empty, False),
    )


def hypothesis_bins(found: Sequence[Outcome]) -> dict[str, list[Bins]]:
    """Each image's reliability bins: "hypotheses", of all that are listed and the residual, and "top", of the first."""
    return {
        "hypotheses": [binned(one.probabilities, one.hits) for one in found],
        "top": [binned(one.probabilities[:1], one.hits[:1]) for one in found],
    }


def nll(found: Outcome) -> float:
    """Mean negative log-probability of what a reader chose, nats; a probability below `FLOOR` counts as that, so that one
    reader cannot make a mean infinite.
    """
    return float(-found.hits @ np.log(np.maximum(found.probabilities, FLOOR)))


def brier(found: Outcome) -> float:
    """Brier score: the mean over readers of the squared distance of the probabilities and what the reader chose (Brier 1950).

    0 is perfect, 2 the worst. A reader who chose k adds |p|^2 - 2 p_k + 1.
    """
    p = found.probabilities
    return float(p @ p - 2 * found.hits @ p + found.hits.sum())
