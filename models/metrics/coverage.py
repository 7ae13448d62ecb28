"""Credible sets: do the first few hypotheses hold a reader's mask as often as their probabilities say?

The credible set of level L is the shortest beginning of the ranked list whose probabilities add up to L; where the whole
list does not reach L, the residual joins it. Sets are made of whole hypotheses, so they state somewhat more than L: what
is compared is the probability that they state and the share of readers whose mask they hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .outcomes import Outcome

LEVELS = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Coverage:
    """Credible sets of a level, means over images: probability stated, share of readers held, hypotheses in the set."""

    level: float
    stated: float
    held: float
    size: float


def coverage(found: Sequence[Outcome], level: float) -> Coverage:
    """How the credible sets of a level fare."""
    sizes = [_size(one, level) for one in found]
    return Coverage(
        level,
        stated=float(np.mean([one.probabilities[:size].sum() for one, size in zip(found, sizes, strict=True)])),
        held=float(np.mean([one.hits[:size].sum() for one, size in zip(found, sizes, strict=True)])),
        size=float(np.mean(sizes)),
    )


def _size(found: Outcome, level: float) -> int:
    """How many outcomes are in the set, the residual coming last."""
    reached = np.cumsum(found.probabilities) >= level - 1e-9
    return int(reached.argmax()) + 1 if reached.any() else len(reached)
