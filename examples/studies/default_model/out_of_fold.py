"""What the runs of a cross-validation say together: every case judged by a model that had not seen its patient."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ambiseg.models.benchmarks.trials.measured import Measured
from ambiseg.models.evaluation.stored import Kind, StoredEvaluation, read_evaluation
from ambiseg.models.metrics.summary import summarise

FIGURES = ("ged16_v", "ged16_u", "hm_iou16")
OF_LESIONS = ("ged16_u", "hm_iou16", "top_dice", "presence_brier", "log1p_volume_crps")
JUDGED: dict[Kind, tuple[str, ...]] = {"slice": FIGURES, "lesion": OF_LESIONS}


def out_of_fold(name: str, steps: int, runs: Sequence[Measured]) -> dict[str, object]:
    """A row of folds.csv. Of each figure: the mean over all cases with its interval by patient, and the least and largest mean
    of the folds and of the seeds. Figures of whole lesions begin with "lesion_".
    """
    folds, seeds = {fold_of(run) for run in runs}, {run.seed for run in runs}
    row: dict[str, object] = {"recipe": name, "steps": steps, "folds": len(folds), "seeds": len(seeds)}
    for kind, figures in JUDGED.items():
        found = [(run, each) for run in runs if (each := judged(run, kind)) is not None]
        if not found:
            continue
        row[f"{kind}s"] = len({case for _, each in found for case in each.rows})  # each once, however many seeds
        for figure in figures:
            column = column_of(figure, kind)
            row[column] = interval(figure, [each for _, each in found])
            row[f"{column}_of_folds"] = span(figure, found, fold_of)
            row[f"{column}_of_seeds"] = span(figure, found, lambda run: run.seed)
    return row


def column_of(figure: str, kind: Kind) -> str:
    """The column of folds.csv that holds a figure of a kind of cases."""
    return figure if kind == "slice" else f"lesion_{figure}"


def judged(run: Measured, kind: Kind) -> StoredEvaluation | None:
    """The evaluation of a run's cases of a kind; None where it has none."""
    if kind == "slice":
        return run.evaluation
    return read_evaluation(run.evaluation.folder, "test", kind) if run.has_lesions else None


def interval(figure: str, found: Sequence[StoredEvaluation]) -> str:
    """A figure's mean over the cases of some evaluations, and its interval by patient."""
    patients = [patient for one in found for patient in one.patients]
    values = np.concatenate([one.scores[figure] for one in found])
    whole = summarise(values, patients, np.random.default_rng(0))
    return f"{whole.mean:.4f} ({whole.low:.4f} to {whole.high:.4f})"


def span(figure: str, found: Sequence[tuple[Measured, StoredEvaluation]], part: Callable[[Measured], object]) -> str:
    """The least and the largest mean of the parts into which runs fall."""
    values: dict[object, list[NDArray[np.float64]]] = {}
    for run, one in found:
        values.setdefault(part(run), []).append(one.scores[figure])
    means = [float(np.nanmean(np.concatenate(own))) for own in values.values()]
    return f"{min(means):.4f} to {max(means):.4f}"


def fold_of(run: Measured) -> str:
    """The name of a run's fold."""
    return run.evaluation.folder.parents[2].name
