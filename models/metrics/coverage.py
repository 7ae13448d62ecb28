"""Credible sets: do the first few hypotheses contain a reader's choice as often as their probabilities say?

The credible set of level L is the shortest beginning of the ranked list whose probabilities add up to L. If the whole list
does not reach L, the residual joins it. Sets consist of whole hypotheses, so they state somewhat more than L. The
probability that they state is therefore compared with the share of readers whose choice they contain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .outcomes import Outcome

LEVELS = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Coverage:
    """The credible sets of one level, as means over images.

    Attributes:
        level: the probability that each set has to reach.
        stated: the probability that the sets state.
        held: the share of readers whose masks belong to the sets.
        size: how many hypotheses a set has.
    """

    level: float
    stated: float
    held: float
    size: float


def coverage(found: Sequence[Outcome], level: float) -> Coverage:
    """The credible sets of one level.

    Args:
        found: what readers chose among the listed hypotheses, for each image.
        level: the probability to reach, 0 to 1.

    Example:
        >>> chosen = Outcome(np.array([0.6, 0.3, 0.1]), np.array([0.5, 0.25, 0.25]), np.zeros(3, bool))
        >>> coverage([chosen], 0.8)
        Coverage(level=0.8, stated=0.8999999999999999, held=0.75, size=2.0)
    """
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
