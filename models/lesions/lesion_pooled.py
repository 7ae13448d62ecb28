"""From the lesions of a split to its figures: means over the lesions, over the readers who marked them, and pooled ones.

A figure that refers to the readers who marked a lesion is a mean over all of these readers, not over lesions: a lesion that
four readers marked counts four times as much as one that a single reader marked.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..metrics.catalogue import LESION_CATALOGUE
from ..metrics.discrimination import auroc_figure
from ..metrics.lesion_scores import Judged
from ..metrics.outcomes import hypothesis_bins
from ..metrics.reliability import Bins, binned, pooled_ece, together
from ..metrics.summary import NAN, Figure, ratio_of_sums, summarise
from ..metrics.volume_scores import GIVEN_MARKED, INTERVALS

WIDTHS = tuple(f"volume_width_{level}" for level in INTERVALS)
NONE = np.zeros(0)
ECE = {
    "presence": "presence_ece",
    "thresholds": "threshold_ece",
    "hypotheses": "hypothesis_ece",
    "top": "top_ece",
}  # the figure of each kind of bins


def lesion_figures(found: Sequence[Judged], patients: Sequence[str], seed: int) -> dict[str, Figure]:
    """Every figure of the lesion catalogue.

    Args:
        found: the figures of each lesion [N]; none of them gives figures that are not defined.
        patients: of the lesions [N].
        seed: of the bootstrap.
    """
    if not found:
        return {measure.name: Figure(NAN, NAN, NAN, NAN, cases=0) for measure in LESION_CATALOGUE}
    figures = {
        measure.name: _mean(measure.name, found, patients, seed) for measure in LESION_CATALOGUE if not measure.pooled
    }
    figures |= _pooled(found, patients, seed)
    return {measure.name: figures[measure.name] for measure in LESION_CATALOGUE}


def lesion_bins(found: Sequence[Judged]) -> dict[str, Bins]:
    """The reliability bins of all lesions by kind; those of hypotheses only where there are hypotheses."""
    return {kind: together(bins) for kind, bins in _bins(found).items()}


def _mean(name: str, found: Sequence[Judged], patients: Sequence[str], seed: int) -> Figure:
    """A figure that single lesions have: its mean over lesions, or over the readers who marked them; widths by geometry."""
    values, rng = np.array([one.scores[name] for one in found]), np.random.default_rng(seed)
    if name in GIVEN_MARKED:
        counts = np.array([float(one.verdict.counted) for one in found])
        return ratio_of_sums(np.where(counts > 0, values, 0) * counts, counts, patients, rng)
    if name in WIDTHS:
        known = ~np.isnan(values)
        logs = np.log(np.where(known, values, 1.0))
        return ratio_of_sums(logs, known.astype(float), patients, rng, scale=np.exp)
    return summarise(values, patients, rng)


def _pooled(found: Sequence[Judged], patients: Sequence[str], seed: int) -> dict[str, Figure]:
    """The figures that only all lesions together have."""
    verdicts = [one.verdict for one in found]
    above, below, ratios = (
        np.array([getattr(one, name) for one in verdicts], float) for name in ("expected", "volume", "log_ratio")
    )
    counts = np.array([float(one.counted) for one in verdicts])
    readers = [patient for patient, one in zip(patients, verdicts, strict=True) for _ in one.marked]
    auroc = auroc_figure(
        np.concatenate([one.stated for one in verdicts]),
        np.concatenate([one.marked for one in verdicts]),
        readers,
        np.random.default_rng(seed),
    )
    figures = dict.fromkeys(ECE.values(), Figure(NAN, NAN, NAN, NAN, cases=0))
    for kind, bins in _bins(found).items():
        figures[ECE[kind]] = pooled_ece(bins, patients, np.random.default_rng(seed))
    return figures | {
        "presence_auroc": replace(auroc, cases=len(found)),
        "volume_bias": ratio_of_sums(
            above, below, patients, np.random.default_rng(seed), scale=lambda ratio: ratio - 1
        ),
        "volume_bias_log": ratio_of_sums(ratios, counts, patients, np.random.default_rng(seed), scale=np.expm1),
    }


def _bins(found: Sequence[Judged]) -> dict[str, list[Bins]]:
    """The bins of each lesion, by kind. An event of presence is one reader, of a threshold one reader and threshold."""
    bins = {"presence": [binned(one.verdict.stated, one.verdict.marked.astype(float)) for one in found]}
    if any(one.sizes is not None for one in found):
        bins["thresholds"] = [
            binned(NONE, NONE) if one.sizes is None else binned(one.sizes.stated, one.sizes.reached) for one in found
        ]
    outcomes = [one.outcome for one in found if one.outcome is not None]
    return bins | hypothesis_bins(outcomes) if len(outcomes) == len(found) else bins
