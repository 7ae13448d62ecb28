"""Evaluations read back from their folders, as `ambiseg evaluate` wrote them."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ambiseg.preprocessing.errors import DataError, InputError, UsageError

from ..metrics.catalogue import CASE_MEASURES

SUMMARY, CASES = "summary.json", "cases.csv"
AGAIN = "make it anew with `ambiseg evaluate`"


class About(BaseModel):
    """What of `summary.json` is read, as `evaluation.about` says it; other versions may say more."""

    model_config = ConfigDict(strict=True)

    ambiseg: str
    run: str
    weights_hash: str
    method: str
    calibrated: dict[str, Any] | None
    trained_on: str
    data: str
    data_hash: str
    split: str
    crop: list[int]
    spacing_mm: float | None
    known_odds: bool
    scored: list[str] | None
    samples: int
    seed: Annotated[int, Field(ge=0)]
    estimators: dict[str, str]
    weights: Literal["draws", "exact"]
    floor: dict[str, float] = {}


@dataclass(frozen=True)
class StoredEvaluation:
    """An evaluation as it lies in `folder`.

    name: the run's; about: what `summary.json` says; rows, patients [N]: each case's row in the data set and its patient;
    scores: each case's figures [N] by the names of `CASE_MEASURES`, nan where one is not defined.
    """

    name: str
    folder: Path
    about: Mapping[str, Any]
    rows: tuple[str, ...]
    patients: tuple[str, ...]
    scores: Mapping[str, NDArray[np.float64]]


def read_evaluation(path: Path, split: str) -> StoredEvaluation:
    """The evaluation of a run folder on `split`, or the evaluation that lies in `path` itself, whatever its split.

    Raises InputError where there is none, DataError for one that is damaged or of another version.
    """
    folder = _folder(path, split)
    about = _summary(folder / SUMMARY)
    cases = _cases(folder / CASES)
    return StoredEvaluation(
        name=str(about["run"]),
        folder=folder,
        about=about,
        rows=tuple(case["row"] for case in cases),
        patients=tuple(case["patient"] for case in cases),
        scores={name: _column(cases, name, folder / CASES) for name in CASE_MEASURES if name in cases[0]},
    )


def read_evaluations(paths: Sequence[Path], split: str) -> tuple[StoredEvaluation, ...]:
    """Two or more evaluations, each with a name of its own: runs of the same name are called by their folders."""
    if len(paths) < 2:
        raise UsageError(f"A comparison needs two runs or more, came {len(paths)}.")
    found = [read_evaluation(path, split) for path in paths]
    for number, one in enumerate(found):
        if any(one.folder.resolve() == other.folder.resolve() for other in found[:number]):
            raise UsageError(f"{paths[number]} is given twice: compare different runs.")
    names = [one.name for one in found]
    return tuple(
        one if names.count(one.name) == 1 else replace(one, name=str(path))
        for one, path in zip(found, paths, strict=True)
    )


def _folder(path: Path, split: str) -> Path:
    """Where the evaluation lies: `path` itself or its folder of `split`."""
    if not path.is_dir():
        raise InputError(f"There is no folder {path}: name a run or the folder of an evaluation.")
    for folder in (path, path / f"evaluation-{split}"):
        if (folder / SUMMARY).is_file() and (folder / CASES).is_file():
            return folder
    if (path / "run.json").is_file():
        raise InputError(
            f"{path} has not been evaluated on the split {split!r}: run `ambiseg evaluate {path} --split {split}` first."
        )
    raise InputError(f"{path} is neither a run nor an evaluation: expected a folder with run.json, or with {SUMMARY}.")


def _summary(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged: {AGAIN}.") from error
    try:
        About.model_validate(about)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"])) or "anything"
        raise DataError(f"{path} does not say {place} as expected: {AGAIN}.") from error
    return about


def _cases(path: Path) -> list[dict[str, str]]:
    """The lines of cases.csv, at least one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            cases = list(csv.DictReader(file, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged: {AGAIN}.") from error
    if not cases:
        raise DataError(f"{path} holds no case: {AGAIN}.")
    for name in ("row", "patient"):
        if name not in cases[0]:
            raise DataError(f"{path} has no column {name!r}: {AGAIN}.")
    if any(None in case or None in case.values() for case in cases):  # a line of another length
        raise DataError(f"{path} is damaged: {AGAIN}.")
    return cases


def _column(cases: Sequence[Mapping[str, str]], name: str, path: Path) -> NDArray[np.float64]:
    try:
        return np.array([float(case[name]) if case[name] else np.nan for case in cases])
    except ValueError as error:
        raise DataError(f"{path} holds something else than numbers in the column {name!r}: {AGAIN}.") from error
