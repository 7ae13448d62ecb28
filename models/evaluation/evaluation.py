"""An evaluation: its cases, its figures of the whole split, and the files that hold them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..lesions.by_lesion import LesionEvaluation
from ..lesions.stability import Stability, stability_columns
from ..metrics.catalogue import CASE_MEASURES
from ..metrics.modes import Group
from ..metrics.outcomes import Outcome
from ..metrics.reliability import Bins, bins_summaries
from ..metrics.summary import Figure, figure_summaries
from .case_table import Columns, write_csv, write_parquet
from .summary_document import EvaluationAbout, EvaluationSummary, ModesSummary

INDEX_COLUMNS = ("row", "patient", "case", "lesion", "slice")
CASES, LESIONS, STABILITY = "cases.csv", "lesions.csv", "stability.csv"


@dataclass(frozen=True)
class Case:
    """What was found in one crop.

    Attributes:
        index: Where it comes from: the store's index columns.
        readers: Number of readers who read it; where the truth is known, the number of modes (R).
        scores: Figures by the names of `CASE_MEASURES`; nan where one is not defined.
        outcome: Which of the hypotheses the readers' masks are nearest to.
        pixels: Reliability of all pixels.
        marked_pixels: Reliability of the pixels that a reader marks or the model finds likely.
        ambiguity: Expected distance of two of the model's masks, 0..1.
        disagree: Whether two readers' masks do not overlap at all.
        stated: The same two reliabilities of pixel probabilities that the model states without a draw; None for most models.
        group: The case's value in the store's group column, "all" without one.
        modes: The modes' true probabilities and the model's [2, R]; None where the truth is not known.
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
    """An evaluation of a model: what it was of, its cases, and its figures.

    Attributes:
        about: The model, the data, the split, the estimators, and the numbers of cases and draws.
        cases: What was found in each case, in the order of the data set.
        figures: The figures of the whole split, one for every name of `CATALOGUE`.
        reliability: The bins of "hypotheses", "top", "pixels" and "marked_pixels", and of "stated_pixels" and
            "stated_marked_pixels" for a model that states pixel probabilities without a draw.
        modes: The mode probabilities of each group of cases, where the truth is known; else empty.
        lesions: The evaluation of whole lesions; None where there are none, or where only slices were wanted.
        stability: How still the model stands on "lesions" and on "slices"; empty unless it was wanted.
    """

    about: EvaluationAbout
    cases: tuple[Case, ...]
    figures: Mapping[str, Figure]
    reliability: Mapping[str, Bins]
    modes: Mapping[str, Group] = field(default_factory=dict)
    lesions: LesionEvaluation | None = None
    stability: Mapping[str, Stability] = field(default_factory=dict)

    def summary(self) -> EvaluationSummary:
        """Everything but the cases, as `summary.json` has it; None where a figure is not defined."""
        return EvaluationSummary(
            **dict(self.about),
            figures=figure_summaries(self.figures),
            reliability=bins_summaries(self.reliability),
            modes={name: ModesSummary.model_validate(one.summary()) for name, one in self.modes.items()} or None,
            lesions=None if self.lesions is None else self.lesions.summary(),
            stability={name: one.summary() for name, one in self.stability.items()} or None,
        )

    def write(self, folder: Path, *, parquet: bool = False) -> None:
        """Write the evaluation into `folder`: `cases.csv` with one row per case, and `summary.json`.

        Where whole lesions were evaluated, `lesions.csv` has one row per lesion. `stability.csv` has one row per case and
        change, where stability was measured.

        Args:
            folder: An existing folder.
            parquet: Whether to write the tables as Parquet, too.

        Raises:
            UsageError: `parquet` is wanted, and pyarrow is not installed.
        """
        tables = {CASES: case_columns(self.cases)}
        if self.lesions is not None:
            tables[LESIONS] = self.lesions.columns()
        if self.stability:
            tables[STABILITY] = stability_columns(self.stability)
        for name, columns in tables.items():
            if parquet:
                write_parquet(columns, (folder / name).with_suffix(".parquet"))
            write_csv(columns, folder / name)
        self.summary().write(folder)


def case_columns(cases: Sequence[Case]) -> Columns:
    """The table by its columns: the store's index, readers, whether they disagree, ambiguity, group, every figure."""
    return {
        "row": [int(case.index["row"]) for case in cases],
        **{name: [case.index[name] for case in cases] for name in INDEX_COLUMNS[1:]},
        "readers": [case.readers for case in cases],
        "disagree": [int(case.disagree) for case in cases],
        "ambiguity": [case.ambiguity for case in cases],
        "group": [case.group for case in cases],
        **{name: [case.scores[name] for case in cases] for name in CASE_MEASURES},
    }
