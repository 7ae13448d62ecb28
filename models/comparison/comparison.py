"""What a comparison found: each difference of two runs, what the runs have in common, and how it is written."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ambiseg.preprocessing.documents import write_json
from ambiseg.preprocessing.tables import write_table

LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """One figure of two runs, over the cases in which both have it.

    first_mean, second_mean: means of the cases; difference: second less first, `low` to `high` its 95 % bootstrap interval
    by patient; p: of the signed-rank test of the patients' mean differences, p_holm: corrected for all tests of the
    comparison; effect: rank-biserial correlation, positive where the second run's figure is larger; better: the run with the
    better mean, None when they are equal or no way is better; left_out: cases in which one run lacks the figure.
    """

    figure: str
    first: str
    second: str
    first_mean: float
    second_mean: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    effect: float
    better: str | None
    cases: int
    patients: int
    left_out: int

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


@dataclass(frozen=True)
class Comparison:
    """What the runs have in common (`about`), what each is (`runs`), all differences, and what a reader should know."""

    about: Mapping[str, Any]
    runs: tuple[Mapping[str, Any], ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """Plain values for JSON; None where nothing can be said."""
        differences = [_plain(difference) for difference in self.differences]
        return {**self.about, "runs": list(self.runs), "differences": differences, "notes": list(self.notes)}

    def write(self, folder: Path) -> None:
        """Write `comparison.json` and `comparison.csv` (a row a difference) into `folder`."""
        write_json(folder / "comparison.json", self.summary())
        rows = [_plain(difference) for difference in self.differences]
        write_table(folder / "comparison.csv", rows, list(rows[0]), for_people=True)


def _plain(difference: Difference) -> dict[str, Any]:
    values = asdict(difference) | {"significant": difference.significant}
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}
