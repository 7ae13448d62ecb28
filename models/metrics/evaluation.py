"""What an evaluation found, case by case and as figures of the whole split, and how it is written."""

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.files import whole_file

from .modes import Group
from .scores import SCORE_NAMES, Scores
from .summary import Figure

INDEX_COLUMNS = ("row", "patient", "case", "lesion", "slice")


@dataclass(frozen=True)
class Case:
    """One crop: where it comes from (the store's index columns), how many readers read it, and its scores.

    Where the truth is known, `readers` is the number of modes, and `modes` [2, R] are their true probabilities and the
    model's; `group` is the case's value of the store's group column, "all" without one.
    """

    index: Mapping[str, str]
    readers: int
    scores: Scores
    group: str = "all"
    modes: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Evaluation:
    """What was evaluated (`about`: model, data, split, estimators, samples, seed, versions), each case, each figure.

    `modes`: where the truth is known, the mode probabilities of each group of cases.
    """

    about: Mapping[str, Any]
    cases: tuple[Case, ...]
    figures: Mapping[str, Figure]
    modes: Mapping[str, Group] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """`about`, `figures` and `modes` as plain values for JSON; None where a figure is not defined."""
        figures = {name: _without_nan(asdict(figure)) for name, figure in self.figures.items()}
        groups = {name: group.summary() for name, group in self.modes.items()}
        return {**self.about, "figures": figures, **({"modes": groups} if groups else {})}

    def write(self, folder: Path) -> None:
        """Write `cases.csv` (a row a case) and `summary.json` into `folder`."""
        with whole_file(folder / "cases.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow((*INDEX_COLUMNS, "readers", *SCORE_NAMES))
            writer.writerows(_row(case) for case in self.cases)
        with whole_file(folder / "summary.json") as path:
            path.write_text(json.dumps(self.summary(), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _row(case: Case) -> list[Any]:
    scores = ("" if math.isnan(value) else f"{value:.9g}" for value in vars(case.scores).values())
    return [*case.index.values(), case.readers, *scores]


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}
