"""How good the probabilities of hypotheses are: likelihood, calibration errors and credible sets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..metrics.coverage import LEVELS, Coverage, coverage
from ..metrics.outcomes import Outcome, brier, hypothesis_bins, nll
from ..metrics.reliability import Bins, pooled_ece, together
from ..metrics.summary import Figure, summarise


@dataclass(frozen=True)
class Judgement:
    """How well the probabilities of listed hypotheses agree with what readers drew.

    Attributes:
        figures: Figures with intervals by patient: "nll" (nats per reader), "brier", "ece" of all listed hypotheses and
            the residual, "top_ece" of the first hypothesis.
        bins: Reliability bins of "hypotheses" and "top".
        coverage: What credible sets of each level state and hold.
    """

    figures: dict[str, Figure]
    bins: dict[str, Bins]
    coverage: tuple[Coverage, ...]


def judge(found: Sequence[Outcome], patients: Sequence[str], seed: int = 0) -> Judgement:
    """Judge the probabilities of all hypotheses by what readers chose among them.

    Args:
        found: The outcome of each case [N].
        patients: The patient of each case [N].
        seed: Seed of the bootstrap.

    Returns:
        Figures with 95 % intervals by patient, reliability bins and credible sets.
    """
    bins = hypothesis_bins(found)
    scores = {"nll": np.array([nll(one) for one in found]), "brier": np.array([brier(one) for one in found])}
    return Judgement(
        figures={
            **{name: summarise(values, patients, np.random.default_rng(seed)) for name, values in scores.items()},
            "ece": pooled_ece(bins["hypotheses"], patients, np.random.default_rng(seed)),
            "top_ece": pooled_ece(bins["top"], patients, np.random.default_rng(seed)),
        },
        bins={name: together(each) for name, each in bins.items()},
        coverage=tuple(coverage(found, level) for level in LEVELS),
    )
