"""The benchmark's table of whole lesions: means over seeds of the runs that were evaluated on them."""

from typing import Any, cast

from ambiseg.models.benchmarks.trials.lidc_tables import lesion_section
from ambiseg.models.benchmarks.trials.measured import Measured
from ambiseg.models.evaluation.stored import StoredEvaluation
from ambiseg.models.lesions.lesions_document import LesionsSummary
from ambiseg.models.metrics.catalogue import LESION_CATALOGUE
from ambiseg.models.metrics.summary import FigureSummary


class About:
    """The part of a summary that the table reads."""

    def __init__(self, brier: float | None) -> None:
        figures = {one.name: FigureSummary(mean=0.5, low=None, high=None) for one in LESION_CATALOGUE}
        figures["presence_brier"] = FigureSummary(mean=brier, low=None, high=None)
        self.lesions = None
        if brier is not None:
            self.lesions = LesionsSummary(
                lesions=1234, with_volume=9, slices=40, patients=7, weights="exact", estimators={}, figures=figures
            )


def measured(entry: str, seed: int, brier: float | None) -> Measured:
    about = cast("Any", About(brier))
    return Measured(
        entry, seed, cast("Any", None), cast("Any", None), StoredEvaluation("r", cast("Any", None), about, (), (), {})
    )


def test_means_over_seeds() -> None:
    text = lesion_section({"gated": [measured("gated", seed, brier) for seed, brier in enumerate((0.2, 0.3))]})
    assert text.startswith("\nBy lesion, 1,234 lesions of 7 patients:\n")
    (row,) = [line for line in text.splitlines() if "`gated`" in line]
    assert ".250 ± .071" in row
    assert ".500 ± .000" in row


def test_entries_without_lesions_are_left_out() -> None:
    known, unknown = measured("gated", 0, 0.2), measured("modal", 0, None)
    assert "modal" not in lesion_section({"gated": [known], "modal": [unknown]})
    assert lesion_section({"modal": [unknown]}) == ""
    assert lesion_section({"gated": [known, measured("gated", 1, None)]}) == ""
