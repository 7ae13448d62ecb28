"""From the cases of a split to its figures: means over the cases, and figures that only all cases together have."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..metrics.catalogue import CASE_MEASURES
from ..metrics.discrimination import auroc_figure
from ..metrics.modes import Group, by_group
from ..metrics.outcomes import hypothesis_bins
from ..metrics.reliability import Bins, pooled_ece, together
from ..metrics.summary import NAN, Figure, summarise
from .evaluation import Case

ECE = {  # the figure of each kind of bins
    "hypotheses": "hypothesis_ece",
    "top": "top_ece",
    "pixels": "pixel_ece",
    "marked_pixels": "marked_pixel_ece",
    "stated_pixels": "stated_pixel_ece",
    "stated_marked_pixels": "stated_marked_pixel_ece",
}


def figures(cases: Sequence[Case], seed: int) -> dict[str, Figure]:
    """Every figure of the catalogue, with its interval; `seed` is that of the bootstrap."""
    patients = [case.index["patient"] for case in cases]
    found = {
        name: summarise(np.array([case.scores[name] for case in cases]), patients, np.random.default_rng(seed))
        for name in CASE_MEASURES
    }
    found |= dict.fromkeys(ECE.values(), Figure(NAN, NAN, NAN, NAN, cases=0))
    for kind, bins in _bins(cases).items():
        found[ECE[kind]] = pooled_ece(bins, patients, np.random.default_rng(seed))
    ambiguity, disagree = (np.array([getattr(case, name) for case in cases]) for name in ("ambiguity", "disagree"))
    found["ambiguity_auroc"] = auroc_figure(ambiguity, disagree, patients, np.random.default_rng(seed))
    return found


def reliability(cases: Sequence[Case]) -> dict[str, Bins]:
    """The bins of all cases by kind, the keys of `ECE`: those of stated pixels only for a model that states them."""
    return {kind: together(bins) for kind, bins in _bins(cases).items()}


def modes(cases: Sequence[Case]) -> Mapping[str, Group]:
    """The mode probabilities by group, of cases whose modes are known."""
    known = [(case.group, case.modes) for case in cases if case.modes is not None]
    if not known:
        return {}
    truth, model = np.stack([modes for _, modes in known], 1)
    return by_group([group for group, _ in known], truth, model)


def _bins(cases: Sequence[Case]) -> dict[str, list[Bins]]:
    """The bins of each case, by kind."""
    found = {
        **hypothesis_bins([case.outcome for case in cases]),
        "pixels": [case.pixels for case in cases],
        "marked_pixels": [case.marked_pixels for case in cases],
    }
    stated = [case.stated for case in cases if case.stated is not None]
    if stated:
        found["stated_pixels"], found["stated_marked_pixels"] = (list(bins) for bins in zip(*stated, strict=True))
    return found
