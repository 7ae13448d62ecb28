"""The folds of a recipe against a trained model, on patients that neither has seen.

    python examples/studies/default_model/against.py --data data/lidc-128-repack -o default-model --recipes all-three

The model (`--model`, by default `lidc-gated`) was trained on the store's own training split and chosen on its validation
split, so that its test split is left. There each crop and each lesion is judged by the fold's model that had not seen its
patient. Both have the calibrations that belong to them. Differences are the recipe's figure less the model's, case by case;
intervals are by patient, and p is Wilcoxon's of the patients' mean differences. Writes against.csv for the folds that are done.
"""

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from out_of_fold import JUDGED, judged
from study import LAST, Study, fold_runs, show

from ambiseg.models.benchmarks.trials.lidc_trials import SAMPLES
from ambiseg.models.bundle.find import find_model
from ambiseg.models.comparison.compare_runs import compare
from ambiseg.models.evaluation.about import seen_before
from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.evaluation.evaluation import Evaluation
from ambiseg.models.evaluation.rows import readable
from ambiseg.models.evaluation.stored import Kind, StoredEvaluation
from ambiseg.models.runs.trained import load_trained
from ambiseg.preprocessing.errors import InputError
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.tables import write_table
from ambiseg.terminal.console import plain_errors


def against(study: Study, recipe: str, steps: int, theirs: Evaluation) -> list[dict[str, object]]:
    """The rows of against.csv for a recipe, one per kind of case and figure."""
    runs = [run for run in fold_runs(study, steps) if run.entry == recipe]
    if not runs:
        raise InputError(
            f"{study.folder} holds no fold of {recipe!r} that is done after {steps} steps: run `study.py folds` first."
        )
    rows = list[dict[str, object]]()
    for kind, figures in JUDGED.items():
        ours = scores([one for run in runs if (one := judged(run, kind)) is not None])
        model = cases_of(theirs, kind, set(ours), study.folder)
        if not model.rows:
            continue
        own = {figure: np.array([ours[row][figure] for row in model.rows]) for figure in figures}
        rows += [
            {
                "recipe": recipe,
                "steps": steps,
                "by": kind,
                "figure": one.figure,
                "cases": one.cases,
                "patients": one.patients,
                "folds": f"{one.second_mean:.4f}",
                "model": f"{one.first_mean:.4f}",
                "difference": f"{one.difference:+.4f} ({one.low:+.4f} to {one.high:+.4f})",
                "p": f"{one.p:.4f}",
            }
            for one in compare([model, replace(model, name=recipe, scores=own)], figures).differences
        ]
    return rows


def cases_of(found: Evaluation, kind: Kind, wanted: Collection[str], folder: Path) -> StoredEvaluation:
    """The cases of an evaluation whose rows are wanted."""
    if kind == "slice":
        every = [(str(case.index["row"]), case.index["patient"], case.scores) for case in found.cases]
    else:
        lesions = () if found.lesions is None else found.lesions.cases
        every = [(str(int(case.lesion.rows.min())), case.lesion.patient, case.own.scores) for case in lesions]
    kept = [case for case in every if case[0] in wanted]
    return StoredEvaluation(
        name=found.about.run,
        folder=folder,
        about=found.summary(),
        rows=tuple(row for row, _, _ in kept),
        patients=tuple(patient for _, patient, _ in kept),
        scores={figure: np.array([own[figure] for _, _, own in kept]) for figure in JUDGED[kind]},
        by=kind,
    )


def scores(evaluations: Sequence[StoredEvaluation]) -> Mapping[str, Mapping[str, float]]:
    """The figures of each case by its row in the store, means over the seeds."""
    found: dict[str, dict[str, list[float]]] = {}
    for one in evaluations:
        for place, row in enumerate(one.rows):
            for figure in JUDGED[one.by]:
                found.setdefault(row, {}).setdefault(figure, []).append(float(one.scores[figure][place]))
    return {row: {figure: fmean(values) for figure, values in own.items()} for row, own in found.items()}


def write_against(study: Study, recipes: Sequence[str], steps: int, model: str) -> None:
    """Write and print against.csv: the folds of the recipes against a run folder, or a model that comes with ambiseg."""
    trained = load_trained(find_model(model), torch.device("cpu"), keep_memory=True)
    data = readable(trained, study.store)
    if seen_before(trained, data, data.rows("test")):
        raise InputError(
            f"{trained.name} saw crops of the test split of {study.store.path} in training: choose another --model."
        )
    theirs = evaluate(trained, data, "test", samples=SAMPLES)
    rows = [row for recipe in recipes for row in against(study, recipe, steps, theirs)]
    write_table(study.folder / "against.csv", rows, list(rows[0]))
    show(rows)


def main() -> None:
    """Write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipes", nargs="+", required=True)
    parser.add_argument("--model", default="lidc-gated", help="a run folder, or a model that comes with ambiseg")
    parser.add_argument("--steps", type=int, default=LAST, help="the --steps of `folds`")
    parser.add_argument("--limit", type=int, default=None, help="the --limit of `folds`")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the output folder of study.py")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    study = Study(Store.open(asked.data), asked.output, limit=asked.limit)
    write_against(study, asked.recipes, asked.steps, asked.model)


if __name__ == "__main__":
    with plain_errors():
        main()
