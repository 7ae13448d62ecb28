"""From the cases of a split to its figures: means of what each case has, and what only all cases together have."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..metrics.catalogue import CASE_MEASURES
from ..metrics.discrimination import auroc_figure
from ..metrics.modes import Group, by_group
from ..metrics.outcomes import hypothesis_bins
from ..metrics.reliability import Bins, pooled_ece, together
from ..metrics.summary import Figure, summarise
from .evaluation import Case

ECE = {"hypotheses": "hypothesis_ece", "top": "top_ece", "pixels": "pixel_ece", "marked_pixels": "marked_pixel_ece"}


def figures(cases: Sequence[Case], seed: int) -> dict[str, Figure]:
    """Every figure of the catalogue; `seed` is that of the bootstrap."""
    patients = [case.index["patient"] for case in cases]
    found = {
        name: summarise(np.array([case.scores[name] for case in cases]), patients, np.random.default_rng(seed))
        for name in CASE_MEASURES
    }
    for kind, bins in _bins(cases).items():
        found[ECE[kind]] = pooled_ece(bins, patients, np.random.default_rng(seed))
    ambiguity, disagree = (np.array([getattr(case, name) for case in cases]) for name in ("ambiguity", "disagree"))
    found["ambiguity_auroc"] = auroc_figure(ambiguity, disagree, patients, np.random.default_rng(seed))
    return found


def reliability(cases: Sequence[Case]) -> dict[str, Bins]:
    """The bins of all cases: of hypotheses with the residual, of the top hypothesis, of pixels, of marked pixels."""
    return {kind: together(bins) for kind, bins in _bins(cases).items()}


def modes(cases: Sequence[Case]) -> Mapping[str, Group]:
    """The mode probabilities by group, of cases whose modes are known."""
    known = [(case.group, case.modes) for case in cases if case.modes is not None]
    if not known:
        return {}
    truth, model = np.stack([modes for _, modes in known], 1)
    return by_group([group for group, _ in known], truth, model)


def _bins(cases: Sequence[Case]) -> dict[str, list[Bins]]:
    """Each case's bins of each kind."""
    return {
        **hypothesis_bins([case.outcome for case in cases]),
        "pixels": [case.pixels for case in cases],
        "marked_pixels": [case.marked_pixels for case in cases],
    }
