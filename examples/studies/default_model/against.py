"""The folds of a recipe against a trained model, on patients that neither has seen.

    python examples/studies/default_model/against.py --data data/lidc-128-repack -o default-model --recipes all-three

The model (`--model`, by default `lidc-gated`) was trained on the store's own training split and chosen on its validation
split, so that its test split is left. There each crop is judged by the fold's model that had not seen its
patient. Differences are the recipe's figure less the model's, crop by crop; intervals are by patient, and p is Wilcoxon's of
the patients' mean differences. Writes against.csv for the folds that are done.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from study import FIGURES, Study, fold_places, show

from ambiseg.models.benchmarks.trials.lidc_tables import read_results
from ambiseg.models.benchmarks.trials.lidc_trials import SAMPLES
from ambiseg.models.benchmarks.trials.measured import Measured
from ambiseg.models.bundle.find import find_model
from ambiseg.models.comparison.paired import by_patient, signed_rank
from ambiseg.models.evaluation.about import seen_before
from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.evaluation.evaluation import Evaluation
from ambiseg.models.evaluation.rows import readable
from ambiseg.models.metrics.summary import summarise
from ambiseg.models.runs.trained import load_trained
from ambiseg.preprocessing.errors import InputError, plain_errors
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.tables import write_table


def against(study: Study, recipe: str, theirs: Evaluation) -> list[dict[str, object]]:
    """The rows of against.csv for a recipe, one per figure."""
    runs = [run for place in fold_places(study) for run in read_results(place, limit=study.limit)["test"]]
    ours = scores([run for run in runs if run.entry == recipe])
    cases = [case for case in theirs.cases if case.index["row"] in ours]
    if not cases:
        raise InputError(f"{study.folder} holds no fold of {recipe!r} that is done: run `study.py folds` first.")
    patients = [case.index["patient"] for case in cases]
    rows = []
    for figure in FIGURES:
        mine = np.array([ours[case.index["row"]][figure] for case in cases])
        other = np.array([case.scores[figure] for case in cases])
        found = summarise(mine - other, patients, np.random.default_rng(0))
        rows.append(
            {
                "recipe": recipe,
                "figure": figure,
                "crops": len(cases),
                "patients": len(set(patients)),
                "folds": f"{mine.mean():.4f}",
                "model": f"{other.mean():.4f}",
                "difference": f"{found.mean:+.4f} ({found.low:+.4f} to {found.high:+.4f})",
                "p": f"{signed_rank(by_patient(mine - other, patients)):.4f}",
            }
        )
    return rows


def scores(runs: Sequence[Measured]) -> Mapping[str, Mapping[str, float]]:
    """The figures of each row of the store, means over the seeds."""
    found: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        for place, row in enumerate(run.evaluation.rows):
            for figure in FIGURES:
                found.setdefault(row, {}).setdefault(figure, []).append(float(run.evaluation.scores[figure][place]))
    return {row: {figure: float(np.mean(values)) for figure, values in own.items()} for row, own in found.items()}


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
