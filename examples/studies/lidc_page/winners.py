"""Which entry of a benchmark is the best by a figure, where the paired comparison of its cases confirms it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ambiseg.models.comparison.compare_runs import compare
from ambiseg.models.evaluation.stored import StoredEvaluation
from ambiseg.models.metrics.catalogue import MEASURES


def winners(entries: Mapping[str, Sequence[StoredEvaluation]], figures: Sequence[str]) -> dict[str, str]:
    """The entry that is better than every other one, by figure; figures without such an entry are left out.

    entries: the evaluations of each entry, one per seed; a case counts with its mean over the seeds. Better is what
    `compare` finds: Wilcoxon's test of the patients' mean differences, corrected by Holm for the entry's comparisons.
    Raises DataError when the evaluations cannot be compared.
    """
    if len(entries) < 2:
        return {}
    together = [over_seeds(name, evaluations) for name, evaluations in entries.items()]
    found = {figure: _winner(together, figure) for figure in figures}
    return {figure: name for figure, name in found.items() if name is not None}


def _winner(evaluations: Sequence[StoredEvaluation], figure: str) -> str | None:
    sign = 1 if MEASURES[figure].better == "lower" else -1
    best = min(evaluations, key=lambda one: sign * np.nanmean(one.scores[figure]))
    others = [one for one in evaluations if one is not best]
    differences = compare([best, *others], [figure]).differences
    return best.name if all(one.verdict == "first" for one in differences) else None


def over_seeds(name: str, evaluations: Sequence[StoredEvaluation]) -> StoredEvaluation:
    """One evaluation of this name whose cases have their mean scores over the seeds."""
    scores = {figure: np.mean([one.scores[figure] for one in evaluations], 0) for figure in evaluations[0].scores}
    return replace(evaluations[0], name=name, scores=scores)
