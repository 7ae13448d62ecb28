"""The hypotheses that readers chose: the events to which the probabilities of the hypotheses refer.

The mask of a reader counts for its nearest hypothesis, with d = 1 - IoU as in `core.overlap`, among the listed hypotheses
(at equal distance for the more probable one). A mask that overlaps none of them counts for the last outcome, "none of
these", whose probability is the residual.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.hypotheses import Hypotheses
from ..core.overlap import pairwise_iou
from .reliability import Bins, binned

FLOOR = 1e-3  # a few hundred readers cannot show that something is impossible


@dataclass(frozen=True)
class Outcome:
    """The N hypotheses of one image, the most probable first, then the residual.

    Attributes:
        probabilities: the model's [N + 1], sum 1.
        hits: the share of readers who chose each [N + 1], sum 1; where the truth is known, the odds of the masks instead.
        empty: which is the empty mask [N + 1]; the residual is not.
    """

    probabilities: NDArray[np.float64]
    hits: NDArray[np.float64]
    empty: NDArray[np.bool_]


def outcome(hypotheses: Hypotheses, masks: NDArray[np.uint8], truth: NDArray[np.float64]) -> Outcome:
    """The choices of readers among the hypotheses of a model.

    Args:
        hypotheses: of one image.
        masks: of the readers [R, ...].
        truth: weights of the readers [R], sum 1.
    """
    count = len(hypotheses.masks)
    iou = pairwise_iou(hypotheses.masks, masks)
    chosen = np.where(iou.max(0) > 0, iou.argmax(0), count)
    return Outcome(
        probabilities=np.append(hypotheses.probabilities, hypotheses.residual),
        hits=np.bincount(chosen, truth, count + 1).astype(np.float64),
        empty=np.append(hypotheses.empty, False),
    )


def hypothesis_bins(found: Sequence[Outcome]) -> dict[str, list[Bins]]:
    """The reliability bins of each image: "hypotheses" has all that are listed and the residual, "top" the first alone."""
    return {
        "hypotheses": [binned(one.probabilities, one.hits) for one in found],
        "top": [binned(one.probabilities[:1], one.hits[:1]) for one in found],
    }


def nll(found: Outcome) -> float:
    """Mean negative log-probability of the readers' choices, in nats; 0 is perfect.

    A probability below `FLOOR` counts as `FLOOR`, so that one reader cannot make a mean infinite.

    Example:
        >>> chosen = Outcome(np.array([0.5, 0.5]), np.array([1.0, 0.0]), np.zeros(2, bool))
        >>> round(nll(chosen), 4), brier(chosen)
        (0.6931, 0.5)
    """
    return float(-found.hits @ np.log(np.maximum(found.probabilities, FLOOR)))


def brier(found: Outcome) -> float:
    """Brier score: mean over readers of the squared distance between the probabilities and the reader's choice (Brier 1950).

    0 is perfect, 2 the worst. A reader who chose k adds |p|^2 - 2 p_k + 1.
    """
    p = found.probabilities
    return float(p @ p - 2 * found.hits @ p + found.hits.sum())
