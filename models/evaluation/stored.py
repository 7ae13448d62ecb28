"""Evaluations read back from the folders that `ambiseg evaluate` wrote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.tables import Table, as_meant, read_table

from ..metrics.catalogue import CASE_MEASURES, LESION_CASE_MEASURES
from .evaluation import CASES, LESIONS
from .summary_document import AGAIN, SUMMARY, EvaluationSummary

Kind = Literal["slice", "lesion"]
TABLES: dict[Kind, tuple[str, tuple[str, ...]]] = {  # the table of each kind of case, and the figures in it
    "slice": (CASES, CASE_MEASURES),
    "lesion": (LESIONS, LESION_CASE_MEASURES),
}


@dataclass(frozen=True)
class StoredEvaluation:
    """An evaluation that was read from its folder.

    Attributes:
        name: Name of the run, or its folder where several runs share the name.
        folder: Folder of the evaluation.
        about: The content of `summary.json`.
        rows: Row of each case [N] in the data set, as text; of a lesion its first.
        patients: Patient of each case [N].
        scores: Figures of the cases [N] by name; nan where one is not defined.
        by: What a case is. Figures are named in `CASE_MEASURES`, or in `LESION_CASE_MEASURES`.
    """

    name: str
    folder: Path
    about: EvaluationSummary
    rows: tuple[str, ...]
    patients: tuple[str, ...]
    scores: Mapping[str, NDArray[np.float64]]
    by: Kind = "slice"


def read_evaluation(path: Path, split: str, by: Kind = "slice") -> StoredEvaluation:
    """Read an evaluation.

    Args:
        path: A run folder, or the folder of an evaluation.
        split: The split whose evaluation to read from a run folder; an evaluation's own folder is read whatever its split.
        by: What a case is.

    Returns:
        The evaluation with its cases.

    Raises:
        InputError: There is no evaluation, or lesions were not evaluated.
        DataError: It is damaged, or of another version.
    """
    folder = _folder(path, split)
    about = EvaluationSummary.read(folder)
    name, measures = TABLES[by]
    if by == "lesion" and (about.lesions is None or not (folder / name).is_file()):
        raise InputError(f"{folder} holds no whole lesions: evaluate the run again with {by!r} as `by`.")
    cases = _cases(folder / name)
    return StoredEvaluation(
        name=about.run,
        folder=folder,
        about=about,
        rows=_rows(cases),
        patients=tuple(as_meant(case["patient"]) for case in cases.rows),
        scores={measure: _column(cases, measure) for measure in measures if measure in cases.columns},
        by=by,
    )


def read_evaluations(paths: Sequence[Path], split: str, by: Kind = "slice") -> tuple[StoredEvaluation, ...]:
    """Read two or more evaluations to be compared.

    Args:
        paths: Run folders, or folders of evaluations.
        split: The split whose evaluations to read from run folders.
        by: What a case is.

    Returns:
        The evaluations in the same order. Runs that share a name are called by their folders.

    Raises:
        UsageError: There are fewer than two, or one is given twice.
        InputError: There is no evaluation.
        DataError: One is damaged, or of another version.
    """
    if len(paths) < 2:
        raise UsageError(f"A comparison needs two runs or more, got {len(paths)}.")
    found = [read_evaluation(path, split, by) for path in paths]
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
            f"{path} has not been evaluated on {split!r}: run `ambiseg evaluate {path}` first, with {split!r} as `split`."
        )
    raise InputError(f"{path} is neither a run nor an evaluation: expected a folder with run.json, or with {SUMMARY}.")


def _cases(path: Path) -> Table:
    """The table of cases, one at least."""
    table = read_table(path, "one row per case")
    table.need("row", "patient")
    if not table.rows:
        raise DataError(f"{path} holds no case: {AGAIN}.")
    return table


def _rows(table: Table) -> tuple[str, ...]:
    """Each case's row in the data set."""
    rows = tuple(str(table.whole_number(case, "row")) for case in table.rows)
    if len(set(rows)) < len(rows):
        raise DataError(f"{table.path} holds a case twice: {AGAIN}.")
    return rows


def _column(table: Table, name: str) -> NDArray[np.float64]:
    return np.array([table.number(case, name) if case[name] else np.nan for case in table.rows])
