"""What an evaluation found, case by case and as figures of the whole split, and how it is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.documents import write_json

from ..metrics.modes import Group
from ..metrics.outcomes import Outcome
from ..metrics.reliability import Bins
from ..metrics.summary import Figure
from .case_table import case_columns, write_csv, write_parquet


@dataclass(frozen=True)
class Case:
    """One crop: where it comes from (the store's index columns), how many readers read it, and what was found.

    scores: `CASE_MEASURES`; outcome: what readers chose among the hypotheses; pixels, marked_pixels: reliability of all
    pixels, and of those that a reader marks or the model finds likely; stated: the same two of the pixels' probabilities
    that the model states without a draw, None for most models; ambiguity: expected distance of two of the model's masks;
    disagree: whether the masks of two readers share nothing.

    Where the truth is known, `readers` is the number of modes, and `modes` [2, R] are their true probabilities and the
    model's; `group` is the case's value of the store's group column, "all" without one.
    """

    index: Mapping[str, str]
    readers: int
    scores: Mapping[str, float]
    outcome: Outcome
    pixels: Bins
    marked_pixels: Bins
    ambiguity: float
    disagree: bool
    stated: tuple[Bins, Bins] | None = None
    group: str = "all"
    modes: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Evaluation:
    """What was evaluated (`about`: model, data, split, estimators, samples, seed, versions), each case, each figure.

    figures: every name of `CATALOGUE`; reliability: the bins of "hypotheses", "top", "pixels" and "marked_pixels", and of
    "stated_pixels" and "stated_marked_pixels" for a model that states pixels without a draw; `modes`: where the truth is
    known, the mode probabilities of each group of cases.
    """

    about: Mapping[str, Any]
    cases: tuple[Case, ...]
    figures: Mapping[str, Figure]
    reliability: Mapping[str, Bins]
    modes: Mapping[str, Group] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Everything but the cases as plain values for JSON; None where a figure is not defined."""
        figures = {name: figure.summary() for name, figure in self.figures.items()}
        bins = {name: one.summary() for name, one in self.reliability.items()}
        groups = {name: group.summary() for name, group in self.modes.items()}
        return {**self.about, "figures": figures, "reliability": bins, **({"modes": groups} if groups else {})}

    def write(self, folder: Path, *, parquet: bool = False) -> None:
        """Write `cases.csv` (a row a case), `summary.json` and, if asked for, `cases.parquet` into `folder`."""
        columns = case_columns(self.cases)
        if parquet:
            write_parquet(columns, folder / "cases.parquet")
        write_csv(columns, folder / "cases.csv")
        write_json(folder / "summary.json", self.summary())
