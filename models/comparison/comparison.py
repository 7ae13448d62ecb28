"""`comparison.json`: what runs have in common, what each is, and each difference of two of them."""

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, computed_field

from ambiseg.preprocessing.documents import read_json, write_json
from ambiseg.preprocessing.tables import write_table

from ..evaluation.stored import Kind
from ..evaluation.summary_document import CalibrationUsed

LEVEL = 0.05
COMPARISON = "comparison.json"

# A number that may not be defined: nan here, null in documents.
Number = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    PlainSerializer(lambda value: None if math.isnan(value) else value, return_type=float | None, when_used="json"),
]


class Difference(BaseModel):
    """One figure of two runs, over the cases in which both have it.

    Attributes:
        figure: Name of the figure, as in `CATALOGUE`.
        first: Name of the first run.
        second: Name of the second run.
        first_mean: Mean of the first run's cases.
        second_mean: Mean of the second run's cases.
        difference: The second mean less the first.
        low: Lower end of the 95 % bootstrap interval of the difference, by patient; nan with a single patient.
        high: Upper end of that interval.
        p: p-value of the signed-rank test of the patients' mean differences.
        p_holm: The same, corrected for all tests of the comparison.
        effect: Matched-pairs rank-biserial correlation, positive where the second run's figure is larger.
        better: The run with the better mean; None when both are equal or neither way is better.
        cases: Number of cases in which both runs have the figure.
        patients: Number of patients of these cases.
        left_out: Number of cases in which one run lacks the figure.
    """

    model_config = ConfigDict(frozen=True)

    figure: str
    first: str
    second: str
    first_mean: Number
    second_mean: Number
    difference: Number
    low: Number
    high: Number
    p: Number
    p_holm: Number
    effect: Number
    better: str | None
    cases: int
    patients: int
    left_out: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def significant(self) -> bool:
        """Whether the corrected p lies below .05."""
        return self.p_holm < LEVEL

    @property
    def verdict(self) -> Literal["first", "second", "undecided", "-"]:
        """Which run is better; a dash where they differ and neither way is better."""
        if not self.significant:
            return "undecided"
        if self.better is None:
            return "-"
        return "second" if self.better == self.second else "first"


class ComparedRun(BaseModel):
    """A run of a comparison: its name there, the folder of its evaluation, and what the evaluation says about it."""

    model_config = ConfigDict(frozen=True)

    name: str
    folder: str
    method: str
    weights_hash: str
    trained_on: str
    weights: Literal["draws", "exact"]
    samples: int
    seed: int
    calibrated: CalibrationUsed | None
    ambiseg: str


class Comparison(BaseModel):
    """A comparison of runs: what they have in common, what each is, all differences, and notes for the reader.

    Attributes:
        by: What a case is.
        interval: What the intervals are, in words.
        test: What the test is, in words.
        effect: What the effect size is, in words.
        seed: Seed of the bootstrap.
    """

    model_config = ConfigDict(frozen=True)

    data: str
    data_hash: str
    split: str
    crop: list[int]
    spacing_mm: float | None
    scored: list[str] | None
    known_odds: bool
    estimators: dict[str, str]
    by: Kind = "slice"
    cases: int
    patients: int
    seed: int
    interval: str
    test: str
    effect: str
    runs: tuple[ComparedRun, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    @property
    def noun(self) -> str:
        """What a case is called."""
        return "case" if self.by == "slice" else self.by

    def write(self, folder: Path) -> None:
        """Write `comparison.json` and `comparison.csv`, with one row per difference, into `folder`."""
        write_json(folder / COMPARISON, self)
        rows = [difference.model_dump(mode="json") for difference in self.differences]
        write_table(folder / "comparison.csv", rows, list(rows[0]), for_people=True)

    @classmethod
    def read(cls, folder: Path) -> "Comparison":
        """The comparison in `folder`. Raises DataError when it is damaged."""
        return read_json(folder / COMPARISON, cls, "run `ambiseg compare` again")
