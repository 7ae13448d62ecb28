"""Runs compared case by case on the same data: paired differences, their intervals and tests.

Slices of one lesion, and lesions of one patient, resemble each other. The interval of the mean difference of cases
therefore resamples whole patients, and the test is of the patients' mean differences, one number per patient.
"""

import difflib
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from ambiseg.preprocessing.errors import DataError, UsageError

from ..evaluation.stored import AGAIN, TABLES, Kind, StoredEvaluation
from ..metrics.catalogue import MEASURES
from ..metrics.summary import bootstrap_interval
from .comparable import SAME, check_comparable
from .comparison import LEVEL, ComparedRun, Comparison, Difference
from .paired import by_patient, holm, rank_biserial, signed_rank

FIGURES = ("ged16_v", "ged16_u", "hm_iou16", "top_dice", "best_dice")
LESION_FIGURES = ("ged16_u", "hm_iou16", "top_dice", "presence_brier", "volume_crps", "log1p_volume_crps")


def compare(
    evaluations: Sequence[StoredEvaluation],
    figures: Sequence[str] = FIGURES,
    *,
    all_pairs: bool = False,
    seed: int = 0,
) -> Comparison:
    """Compare every run with the first, or every one with every other, figure by figure.

    Differences are the second run's figure less the first's, over the cases in which both have it. Wilcoxon's signed-rank
    test is of the patients' mean differences; p-values are corrected by Holm (1979) for all tests of the comparison.

    Args:
        evaluations: Two or more evaluations of the same cases, as of `read_evaluations`.
        figures: Names of figures that cases have, columns of `cases.csv` or `lesions.csv`.
        all_pairs: Whether to compare each run with each other one.
        seed: Seed of the bootstrap.

    Returns:
        All differences with their 95 % intervals, tests and effect sizes, and notes for the reader.

    Raises:
        UsageError: Cases do not have one of the figures.
        DataError: The evaluations cannot be compared.

    Example:
        >>> from ambiseg.models.comparison.compare_runs import compare
        >>> from ambiseg.models.evaluation.stored import read_evaluations
        >>> def better(*runs):
        ...     return compare(read_evaluations(runs, "test"), ["ged16_u"]).differences[0].better
    """
    figures = list(dict.fromkeys(figures))
    for figure in figures:
        _check_figure(figure, evaluations[0].by)
    check_comparable(evaluations, figures)
    pairs = list(combinations(evaluations, 2)) if all_pairs else [(evaluations[0], one) for one in evaluations[1:]]
    found = [_difference(figure, first, second, seed) for figure in figures for first, second in pairs]
    corrected = holm([one.p for one in found])
    differences = tuple(one.model_copy(update={"p_holm": p}) for one, p in zip(found, corrected, strict=True))
    first = evaluations[0]
    return Comparison(
        **{name: getattr(first.about, name) for name in ("data", *SAME, "estimators")},
        by=first.by,
        cases=len(first.rows),
        patients=len(set(first.patients)),
        seed=seed,
        interval="95 % bootstrap interval of the mean difference of cases, patients resampled",
        test="Wilcoxon signed-rank test of the patients' mean differences, zeros by Pratt, p corrected by Holm",
        effect="matched-pairs rank-biserial correlation of the patients' mean differences",
        runs=tuple(_run(one) for one in evaluations),
        differences=differences,
        notes=tuple(_notes(evaluations, differences)),
    )


def _check_figure(figure: str, by: Kind) -> None:
    usual = FIGURES if by == "slice" else LESION_FIGURES
    measures = TABLES[by][1]
    if figure in measures:
        return
    if figure in MEASURES:
        what = "of the whole split, which no single case has" if MEASURES[figure].pooled else f"that no {by} has"
        raise UsageError(f"{figure} is a figure {what}: choose one that {by}s have, such as {', '.join(usual)}.")
    near = difflib.get_close_matches(figure, measures, n=4, cutoff=0.5) or usual
    raise UsageError(f"There is no figure {figure!r}: did you mean {' or '.join(near)}?")


def _difference(figure: str, first: StoredEvaluation, second: StoredEvaluation, seed: int) -> Difference:
    for one in (first, second):
        if figure not in one.scores:
            raise DataError(f"{one.folder} has no column {figure!r} in its cases: {AGAIN}.")
    before, after = first.scores[figure], second.scores[figure]
    both = ~np.isnan(before) & ~np.isnan(after)
    if not both.any():
        raise DataError(f"{first.name} and {second.name} have no case in which {figure} is defined: leave it out.")
    values = after[both] - before[both]
    patients = np.array(first.patients)[both]
    means = by_patient(values, patients)
    low, high = bootstrap_interval(values, patients, np.random.default_rng(seed))
    mean = float(values.mean())
    return Difference(
        figure=figure,
        first=first.name,
        second=second.name,
        first_mean=float(before[both].mean()),
        second_mean=float(after[both].mean()),
        difference=mean,
        low=low,
        high=high,
        p=signed_rank(means),
        p_holm=float("nan"),
        effect=rank_biserial(means),
        better=_better(figure, mean, first.name, second.name),
        cases=len(values),
        patients=len(means),
        left_out=int((~both).sum()),
    )


def _better(figure: str, difference: float, first: str, second: str) -> str | None:
    way = MEASURES[figure].better
    if way is None or difference == 0:
        return None
    return second if (difference < 0) == (way == "lower") else first


def _run(evaluation: StoredEvaluation) -> ComparedRun:
    about = dict(evaluation.about)
    own = {"name": evaluation.name, "folder": str(evaluation.folder)}
    return ComparedRun.model_validate({name: about.get(name) for name in ComparedRun.model_fields} | own)


def _notes(evaluations: Sequence[StoredEvaluation], differences: Sequence[Difference]) -> list[str]:
    """Notes for the reader of the table."""
    notes = []
    for name, words in (
        ("seed", "The draws' seeds differ"),
        ("samples", "The numbers of samples differ, but these figures do not depend on them"),
        ("ambiseg", "The evaluations were made by different versions of ambiseg"),
        ("trained_on", "The runs were trained on different data"),
    ):
        values = [str(getattr(one.about, name)) for one in evaluations]
        if len(set(values)) > 1:
            notes.append(f"{words}: {', '.join(value[:12] for value in values)}.")
    calibrated = [one.name for one in evaluations if one.about.calibrated]
    if 0 < len(calibrated) < len(evaluations):
        notes.append(f"Not all runs are calibrated, only {' and '.join(calibrated)}.")
    left_out = [f"{one.left_out} for {one.figure}" for one in differences if one.left_out]
    if left_out:
        notes.append(f"Cases left out because a figure is not defined for both runs: {', '.join(left_out)}.")
    patients = min(one.patients for one in differences)
    least = min(1.0, len(differences) * 2 ** (1 - patients))  # all signs alike, and corrected for all tests
    if least >= LEVEL:
        tests = f"{len(differences)} tests" if len(differences) > 1 else "one test"
        notes.append(
            f"With {patients} {'patients' if patients > 1 else 'patient'} and {tests} no corrected p can go below "
            f"{least:.3g}: too few patients to show a difference."
        )
    return notes
