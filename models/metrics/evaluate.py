"""Evaluating a trained model on a split of a dataset store, and writing what was found.

A case's random numbers are seeded by the evaluation's seed and the case's row, and cases go through the model one by
one: a case's figures do not depend on which other cases are evaluated.
"""

import csv
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.preprocessing.crops import centre_crop
from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.files import whole_file
from ambiseg.preprocessing.store import Store

from ..randomness import generator_for, seed_of
from ..run import RunRecord, Trained
from .scores import PAPERS_DRAWS, SCORE_NAMES, Scores, image_scores
from .summary import Figure, summarise

INDEX_COLUMNS = ("row", "patient", "case", "lesion", "slice")


@dataclass(frozen=True)
class Case:
    """One crop: where it comes from (the store's index columns), how many readers read it, and its scores."""

    index: Mapping[str, str]
    readers: int
    scores: Scores


@dataclass(frozen=True)
class Evaluation:
    """What was evaluated (`about`: model, data, split, estimators, samples, seed, versions), each case, each figure."""

    about: Mapping[str, Any]
    cases: tuple[Case, ...]
    figures: Mapping[str, Figure]

    def summary(self) -> dict[str, Any]:
        """`about` and `figures` as plain values for JSON; None where a figure is not defined."""
        figures = {name: _without_nan(asdict(figure)) for name, figure in self.figures.items()}
        return {**self.about, "figures": figures}

    def write(self, folder: Path) -> None:
        """Write `cases.csv` (a row a case) and `summary.json` into `folder`."""
        with whole_file(folder / "cases.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow((*INDEX_COLUMNS, "readers", *SCORE_NAMES))
            writer.writerows(_row(case) for case in self.cases)
        with whole_file(folder / "summary.json") as path:
            path.write_text(json.dumps(self.summary(), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def evaluate(
    trained: Trained,
    store: Store,
    split: str,
    *,
    samples: int = PAPERS_DRAWS,
    seed: int = 0,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Compare the model's masks with the readers' on a split ("train", "val", "test" or "all") of `store`.

    samples: draws an image, or at most so many of the most probable masks of a model with finite support; 16 at least.
    limit: evaluate only so many cases, spread evenly over the split. Crops that no reader read are left out; crops
    larger than those of the training are cut to their centre. Raises InputError for a split without cases, UsageError
    for too few samples, DataError for data that the model cannot read.
    """
    if samples < PAPERS_DRAWS:
        raise UsageError(f"GED16 and HM-IoU16 need at least {PAPERS_DRAWS} samples an image, came {samples}.")
    _check_data(trained, store)
    rows = _chosen_rows(store, split, limit)
    cases, exact = [], False
    on_progress(0, len(rows))
    for row in rows:
        case, draws = _case(trained, store, row, samples, seed)
        cases.append(case)
        exact = draws is None
        on_progress(len(cases), len(rows))
    return Evaluation(
        about=_about(trained, store, split, samples, seed, len(rows), exact),
        cases=tuple(cases),
        figures=_figures(cases, seed),
    )


def data_for(record: RunRecord, path: Path | None = None) -> Store:
    """The data set to evaluate a run on: the one at `path`, or the run's own where it lay when the run was trained.

    Raises InputError when there is none, DataError when the run's own is no longer what the run was trained on.
    """
    if path is not None:
        return Store.open(path)
    own = Path(record.data.path)
    if not own.exists():
        raise InputError(f"The run's data set is no longer at {own}: say with --data where it is.")
    store = Store.open(own)
    if store.content_hash != record.data.content_hash:
        raise DataError(
            f"The data set at {own} has changed since the run was trained on it: restore it, or say with --data {own} "
            "that it is to be evaluated on as other data."
        )
    return store


def _check_data(trained: Trained, store: Store) -> None:
    if store.channels != trained.method.channels:
        raise DataError(
            f"The model reads {trained.method.channels} channels, the images of {store.path} have {store.channels}: "
            "evaluate on data like the model's own."
        )
    names = tuple(trained.record.data.class_names)
    if store.class_names != names:
        raise DataError(
            f"The model knows the classes {', '.join(names)}, {store.path} has {', '.join(store.class_names)}: "
            "evaluate on data like the model's own."
        )
    if store.intensity.unit != trained.record.data.intensity.unit:
        raise DataError(
            f"The model reads intensities in {trained.record.data.intensity.unit}, {store.path} holds "
            f"{store.intensity.unit}: evaluate on data like the model's own."
        )


def _chosen_rows(store: Store, split: str, limit: int | None) -> NDArray[np.intp]:
    if limit is not None and limit < 1:
        raise UsageError(f"The limit must be at least one case, came {limit}.")
    rows = store.rows(split)
    rows = rows[store.present[rows].any(1)]
    if len(rows) == 0:
        raise InputError(f"The split {split!r} of {store.path} has no case: choose another --split.")
    if limit is None or limit >= len(rows):
        return rows
    return rows[np.arange(limit) * len(rows) // limit]


def _case(trained: Trained, store: Store, row: int, samples: int, seed: int) -> tuple[Case, int | None]:
    """One row evaluated, and the draws behind it (None when the model's support is exact)."""
    rows = np.array([row])
    image = centre_crop(store.images(rows), trained.record.crop)
    masks = centre_crop(store.masks(rows)[0], trained.record.crop)
    with torch.inference_mode():
        atoms = trained.predictive(image).atoms(samples, generator_for(seed, "evaluate", int(row)))
    if not (atoms.weights.isfinite().all() and atoms.marginal.isfinite().all()):
        raise DataError(f"The model gives no finite probabilities for row {row} of {store.path}: train it again.")
    weights = atoms.weights[0].double().cpu().numpy()
    scores = image_scores(
        atoms.labels[0].cpu().numpy(),
        weights / weights.sum(),
        masks,
        store.present[row],
        draws=atoms.draws,
        rng=np.random.default_rng(seed_of(seed, "resample", int(row))),
    )
    index = {name: store.index[row][name] for name in INDEX_COLUMNS}
    return Case(index, int(store.present[row].sum()), scores), atoms.draws


def _figures(cases: list[Case], seed: int) -> dict[str, Figure]:
    patients = [case.index["patient"] for case in cases]
    return {
        name: summarise(np.array([getattr(case.scores, name) for case in cases]), patients, np.random.default_rng(seed))
        for name in SCORE_NAMES
    }


def _about(
    trained: Trained, store: Store, split: str, samples: int, seed: int, cases: int, exact: bool
) -> dict[str, Any]:
    return {
        "ambiseg": version("ambiseg"),
        "run": trained.name,
        "weights_hash": trained.weights_hash,
        "method": trained.method.name,
        "trained_on": trained.record.data.content_hash,
        "data": store.manifest["name"],
        "data_hash": store.content_hash,
        "split": split,
        "cases": cases,
        "cases_in_split": len(store.rows(split)),
        "crop": min(trained.record.crop, *store.size),
        "spacing_mm": store.spacing_mm,
        "samples": samples,
        "seed": seed,
        "weights": "exact" if exact else "draws",
        "estimators": {
            "distance": "1 - IoU of the foreground, mean over classes present in either mask; both empty: 0",
            "ged*_v": "squared GED, V-statistic with self-pairs",
            "ged*_u": "squared GED, U-statistic without self-pairs (unbiased)",
            "*16": f"{PAPERS_DRAWS} draws an image" + (", resampled from the exact weights" if exact else ""),
            "low, high": "95 % bootstrap interval of the mean, patients resampled",
        },
    }


def _row(case: Case) -> list[Any]:
    scores = ("" if math.isnan(value) else f"{value:.9g}" for value in vars(case.scores).values())
    return [*case.index.values(), case.readers, *scores]


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}
