"""The folds of a cross-validation by patient: what a model's settings give on patients that training did not see.

A model that was trained on all patients can be judged on none of them. Its settings can: each fold's run was trained with them
on the other folds' patients and is tested on its own (Stone 1974). All folds together say what a model of these settings,
trained on a part of the patients, does on new ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.errors import InputError, UsageError
from ambiseg.preprocessing.store.store import Store

from ..lesions.by_lesion import evaluated_lesions
from ..runs.config import TrainConfig
from ..runs.run_folder import RECORD
from ..runs.trained import Trained, load_trained
from . import pooled
from .about import notes_on, seen_before
from .evaluate_run import By, evaluate
from .evaluation import Evaluation
from .rows import data_for
from .summary_document import EvaluationAbout

FOLDS = "folds"  # the name of all test splits together
HELD_OUT = "test"
APART = ("seed", "validation", "hardware")  # settings in which the runs of a cross-validation may differ


@dataclass(frozen=True)
class Fold:
    """A run of a cross-validation, with the data of which it did not see the test split."""

    trained: Trained
    store: Store


def runs_in(folder: Path) -> list[Path]:
    """The run folders in a folder, by name."""
    return sorted(file.parent for file in folder.glob(f"*/{RECORD}"))


def open_folds(runs: Sequence[Path], whole: Trained, device: torch.device) -> list[Fold]:
    """The folds of a cross-validation.

    Args:
        runs: Their run folders (see `runs_in`).
        whole: The model that was trained on all patients with the same settings.
        device: Where to load the runs.

    Raises:
        InputError: There are fewer than two runs; one of them is `whole`, has other settings or saw patients of its test split;
            or patients are in the test splits of two folds.
        DataError: A run or its data are damaged.
    """
    if len(runs) < 2:
        raise InputError(
            f"Got {counted(len(runs), 'run')} of a cross-validation, expected two or more: name the folder that holds one run "
            "folder per fold."
        )
    folds, tested = list[Fold](), set[str]()
    for run in runs:
        trained = load_trained(run, device, keep_memory=True)
        if trained.weights_hash == whole.weights_hash:
            raise InputError(f"{run} is the model itself: expected a model that is none of the folds.")
        if (wrong := differing(trained.record.config, whole.record.config)) is not None:
            raise InputError(f"{run} was trained with other settings ({wrong}) than {whole.name}: expected the same.")
        store = data_for(trained.record)
        patients = {store.index[row].patient for row in store.rows(HELD_OUT)}
        before = seen_before(trained, store, store.rows(HELD_OUT))
        if before:
            raise InputError(f"{run} is no fold of a cross-validation: {before.sentence(HELD_OUT)}")
        if not patients.isdisjoint(tested):
            raise InputError(
                f"{counted(len(patients & tested), 'patient')} in the test split of {store.path} are in that of another fold, "
                "too: expected every patient once, as `ambiseg data split` deals them out with `folds`."
            )
        tested |= patients
        folds.append(Fold(trained, store))
    return folds


def check_alone(**settings: Any) -> None:
    """Raise UsageError for settings, by name, that do not go with folds and are not as usual: nothing, or the test split."""
    wrong = [f"`{name}`" for name, value in settings.items() if value not in (None, False, 0, HELD_OUT)]
    if wrong:
        raise UsageError(f"With `fold_runs`, which are judged on their own test splits, leave out {', '.join(wrong)}.")


def differing(one: TrainConfig, other: TrainConfig) -> str | None:
    """The name of a setting that two trainings do not share; None where all are the same, but for `APART`."""
    mine, theirs = (each.model_dump(exclude=set(APART)) for each in (one, other))
    return next((name for name, value in mine.items() if theirs[name] != value), None)


def evaluate_folds(
    whole: Trained,
    folds: Sequence[Fold],
    *,
    samples: int = 100,
    seed: int = 0,
    limit: int | None = None,
    by: By = "auto",
    workers: Any = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Evaluate each fold's run on its test split, and give the figures of all folds' cases together: out of fold.

    Args:
        whole: The model that was trained on all patients with the same settings. It is named by the evaluation, not used.
        folds: The folds.
        samples: As for `evaluate`.
        seed: As for `evaluate`.
        limit: The most cases of each fold.
        by: As for `evaluate`.
        workers: As for `evaluate`.
        on_progress: Called with (cases done, cases of the fold) after each case; it begins anew with each fold.

    Returns:
        The evaluation, whose split is named "folds".

    Raises:
        UsageError, InputError, DataError: As `evaluate` does.
    """
    found = [
        evaluate(
            fold.trained,
            fold.store,
            HELD_OUT,
            samples=samples,
            seed=seed,
            limit=limit,
            by=by,
            workers=workers,
            on_progress=on_progress,
        )
        for fold in folds
    ]
    cases = [case for one in found for case in one.cases]
    lesions = [case for one in found if one.lesions for case in one.lesions.cases]
    return Evaluation(
        about=_about(whole, [one.about for one in found], notes_on(cases)),
        cases=tuple(cases),
        figures=pooled.figures(cases, seed),
        reliability=pooled.reliability(cases),
        modes=pooled.modes(cases),
        lesions=evaluated_lesions(lesions, seed) if lesions else None,
    )


def _about(whole: Trained, folds: Sequence[EvaluationAbout], notes: Sequence[str]) -> EvaluationAbout:
    """What the evaluations of the folds say of themselves, together."""
    cases, data = [one.cases for one in folds], whole.record.data
    floors = [one.floor for one in folds if one.floor is not None]
    floor = {
        name: sum(each[name] * count for each, count in zip(floors, cases, strict=True)) / sum(cases)
        for name in (floors[0] if floors else {})
    }
    return folds[0].model_copy(
        update={
            "run": whole.name,
            "weights_hash": whole.weights_hash,
            "trained_on": data.content_hash,
            "data": data.name,
            "data_hash": data.content_hash,
            "split": FOLDS,
            "cases": sum(cases),
            "cases_in_split": sum(one.cases_in_split or 0 for one in folds),
            "seen": None,
            "floor": floor or None,
            "notes": [sentence(len(folds)), *notes],
        }
    )


def sentence(folds: int) -> str:
    """What out-of-fold figures are."""
    return (
        f"Out of fold: these are figures of {folds} models of the same settings, each trained without the patients that it is "
        "tested on, not of the model that was trained on all of them."
    )
