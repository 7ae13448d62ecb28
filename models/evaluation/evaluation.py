"""An evaluation: its cases, its figures of the whole split, and the files that hold them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.files import whole_file
from ambiseg.preprocessing.tables import write_table

from ..metrics.catalogue import CASE_MEASURES
from ..metrics.modes import Group
from ..metrics.outcomes import Outcome
from ..metrics.reliability import Bins
from ..metrics.summary import Figure, FigureSummary
from .summary_document import BinsSummary, EvaluationAbout, EvaluationSummary, ModesSummary

INDEX_COLUMNS = ("row", "patient", "case", "lesion", "slice")
CASES = "cases.csv"

Cell = int | float | str
Columns = Mapping[str, list[Cell]]


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
    """

    about: EvaluationAbout
    cases: tuple[Case, ...]
    figures: Mapping[str, Figure]
    reliability: Mapping[str, Bins]
    modes: Mapping[str, Group] = field(default_factory=dict)

    def summary(self) -> EvaluationSummary:
        """Everything but the cases, as `summary.json` has it; None where a figure is not defined."""
        return EvaluationSummary(
            **dict(self.about),
            figures={name: FigureSummary.model_validate(one.summary()) for name, one in self.figures.items()},
            reliability={name: BinsSummary.model_validate(one.summary()) for name, one in self.reliability.items()},
            modes={name: ModesSummary.model_validate(one.summary()) for name, one in self.modes.items()} or None,
        )

    def write(self, folder: Path, *, parquet: bool = False) -> None:
        """Write the evaluation into `folder`: `cases.csv` with one row per case, and `summary.json`.

        Args:
            folder: An existing folder.
            parquet: Whether to write `cases.parquet`, too.

        Raises:
            UsageError: `parquet` is wanted, and pyarrow is not installed.
        """
        columns = case_columns(self.cases)
        if parquet:
            write_parquet(columns, folder / "cases.parquet")
        write_csv(columns, folder / CASES)
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


def write_csv(columns: Columns, file: Path) -> None:
    """Write columns as CSV for people; what is not defined stays blank."""
    rows = (dict(zip(columns, map(_text, row), strict=True)) for row in zip(*columns.values(), strict=True))
    write_table(file, rows, list(columns), for_people=True)


def write_parquet(columns: Columns, file: Path) -> None:
    """Write columns as Parquet; what is not defined is null. Raises UsageError without the package that writes it."""
    check_parquet()
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({name: pyarrow.array(values, from_pandas=True) for name, values in columns.items()})
    with whole_file(file) as path:
        pyarrow.parquet.write_table(table, path)


def check_parquet() -> None:
    """Raise a UsageError where the package that writes Parquet is missing, before the work that it would lose."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise UsageError(
            'A Parquet table needs pyarrow: run pip install "ambiseg[parquet]", or leave out `parquet`.'
        ) from error


def _text(value: Cell) -> Cell:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.9g}"
    return value
