"""The folds of a recipe against a trained model, on patients that neither has seen.

    python examples/studies/default_model/against.py --data data/lidc-128-repack -o default-model --recipes all-three

The model (`--model`, by default `lidc-gated`) was trained on the store's own training split and chosen on its validation
split, so that its test split is left. There each crop is judged by the fold's model that had not seen its
patient. Differences are the recipe's figure less the model's, crop by crop; intervals are by patient, and p is Wilcoxon's of
the patients' mean differences. Writes against.csv for the folds that are done.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from study import FIGURES, Study, fold_places, show

from ambiseg.models.benchmarks.trials.lidc_tables import read_results
from ambiseg.models.benchmarks.trials.lidc_trials import SAMPLES
from ambiseg.models.benchmarks.trials.measured import Measured
from ambiseg.models.bundle.find import find_model
from ambiseg.models.comparison.compare_runs import compare
from ambiseg.models.evaluation.about import seen_before
from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.evaluation.evaluation import Evaluation
from ambiseg.models.evaluation.rows import readable
from ambiseg.models.evaluation.stored import StoredEvaluation
from ambiseg.models.runs.trained import load_trained
from ambiseg.preprocessing.errors import InputError
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.tables import write_table
from ambiseg.terminal.console import plain_errors


def against(study: Study, recipe: str, theirs: Evaluation) -> list[dict[str, object]]:
    """The rows of against.csv for a recipe, one per figure."""
    runs = [run for place in fold_places(study) for run in read_results(place, limit=study.limit)["test"]]
    ours = scores([run for run in runs if run.entry == recipe])
    cases = [case for case in theirs.cases if case.index["row"] in ours]
    if not cases:
        raise InputError(f"{study.folder} holds no fold of {recipe!r} that is done: run `study.py folds` first.")
    model = StoredEvaluation(
        name=theirs.about.run,
        folder=study.folder,
        about=theirs.summary(),
        rows=tuple(case.index["row"] for case in cases),
        patients=tuple(case.index["patient"] for case in cases),
        scores={figure: np.array([case.scores[figure] for case in cases]) for figure in FIGURES},
    )
    own = {figure: np.array([ours[row][figure] for row in model.rows]) for figure in FIGURES}
    return [
        {
            "recipe": recipe,
            "figure": one.figure,
            "crops": one.cases,
            "patients": one.patients,
            "folds": f"{one.second_mean:.4f}",
            "model": f"{one.first_mean:.4f}",
            "difference": f"{one.difference:+.4f} ({one.low:+.4f} to {one.high:+.4f})",
            "p": f"{one.p:.4f}",
        }
        for one in compare([model, replace(model, name=recipe, scores=own)], FIGURES).differences
    ]


def scores(runs: Sequence[Measured]) -> Mapping[str, Mapping[str, float]]:
    """The figures of each row of the store, means over the seeds."""
    found: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        for place, row in enumerate(run.evaluation.rows):
            for figure in FIGURES:
                found.setdefault(row, {}).setdefault(figure, []).append(float(run.evaluation.scores[figure][place]))
    return {row: {figure: fmean(values) for figure, values in own.items()} for row, own in found.items()}


def main() -> None:
    """Write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipes", nargs="+", required=True)
    parser.add_argument("--model", default="lidc-gated", help="a run folder, or a model that comes with ambiseg")
    parser.add_argument("--limit", type=int, default=None, help="the --limit of `folds`")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the output folder of study.py")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    study = Study(Store.open(asked.data), asked.output, limit=asked.limit)
    trained = load_trained(find_model(asked.model), torch.device("cpu"), calibrated=False, keep_memory=True)
    data = readable(trained, study.store)
    if seen_before(trained, data, data.rows("test")):
        raise InputError(
            f"{trained.name} saw crops of the test split of {asked.data} in training: choose another --model."
        )
    theirs = evaluate(trained, data, "test", samples=SAMPLES, by="slice")
    rows = [row for recipe in asked.recipes for row in against(study, recipe, theirs)]
    write_table(study.folder / "against.csv", rows, list(rows[0]))
    show(rows)


if __name__ == "__main__":
    with plain_errors():
        main()
