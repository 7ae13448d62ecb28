"""The whole study of the default model, from the packed crops to the tables of its page.

    ambiseg preprocess packed lidc128
    python examples/studies/default_model/everything.py --data data/lidc-128-repack -o default-model

The parts, each as study.py describes it, with the recipes that `recipes.py` names for them:

1. all recipes for 1,000 steps from one seed;
2. the finalists for as many steps from three seeds;
3. the candidates for 5,000 steps from two seeds; the one with the best score is chosen, on validation patients alone;
4. the chosen recipe on the five folds of a cross-validation from two seeds;
5. the chosen recipe on all patients;
6. its folds against the model that comes with ambiseg, on patients that neither has seen;
7. the cost of all this.

It takes some 40 core-hours. It may be stopped or killed at any time; the same command goes on.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from against import write_against
from page import write_page
from recipes import CANDIDATES, FINALISTS, RECIPES
from study import LAST, ROUNDS, WATTS, Study, cost, cross_validate, from_all_seeds, search, train_on_all

from ambiseg.models.benchmarks.trials.entries import Entry
from ambiseg.preprocessing.store.store import Store
from ambiseg.terminal.console import plain_errors

LONG = 5000  # steps after which the candidates are judged


def everything(study: Study, model: str, *, long: int = LONG, last: int = LAST) -> str:
    """Do what is left of the study; the chosen recipe.

    long, last: steps of the candidates, and of the folds and the last model; model: what the folds are set against.
    """
    search(study, RECIPES, ROUNDS[:1])
    from_all_seeds(replace(study, seeds=(0, 1, 2)), named(FINALISTS), ROUNDS[0].steps)
    chosen = from_all_seeds(replace(study, seeds=(0, 1)), named(CANDIDATES), long)[0]
    print(f"Chosen: {chosen}", flush=True)
    folds = replace(study, seeds=(0, 1), limit=None)
    cross_validate(folds, named([chosen]), last)
    train_on_all(folds, *named([chosen]), last)
    write_against(folds, [chosen], last, model)
    cost(study.folder, WATTS)
    write_page(study.folder)
    return chosen


def named(names: Sequence[str]) -> list[Entry]:
    """The recipes of these names."""
    return [entry for entry in RECIPES if entry.name in names]


def main() -> None:
    """Do what is left of the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=400, help="the most validation crops by which recipes are judged")
    parser.add_argument("--model", default="lidc-gated", help="that the folds are set against")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    study = Study(Store.open(asked.data), asked.output, workers=asked.workers, limit=asked.limit)
    everything(study, asked.model)


if __name__ == "__main__":
    with plain_errors():
        main()
