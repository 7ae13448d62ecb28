"""The part of `summary.json` that is about whole lesions."""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from ..metrics.reliability import BinsSummary
from ..metrics.summary import Figure, FigureSummary

Natural = Annotated[int, Field(ge=0)]


class LesionsSummary(BaseModel):
    """The evaluation of whole lesions: masks are volumes, each reader's volume is one outcome."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    lesions: Natural
    """Number of lesions evaluated."""
    with_volume: Natural
    """Number of evaluated lesions whose voxels have a known size. Figures in mm are of these."""
    slices: Natural
    """Number of slices of the evaluated lesions."""
    patients: Natural
    """Number of their patients."""
    weights: Literal["draws", "exact"]
    """Whether the model's volumes are draws of equal weight or come with exact probabilities."""
    estimators: dict[str, str]
    """How the figures are computed, beyond what slices and lesions share."""
    figures: dict[str, FigureSummary]
    """Each figure of the model, by its name."""
    baselines: dict[str, dict[str, FigureSummary]] = {}
    """The same figures of simple answers: the likeliest mask alone, the mean map cut at one half, each reader by the others."""
    reliability: dict[str, BinsSummary] = {}
    """Reliability bins of presence (an event is a reader), thresholds of size, hypotheses, and the top hypothesis."""


class Moved(BaseModel):
    """How far a measure moves under a change: its mean over the cases with a 95 % interval, and its 95th percentile."""

    model_config = ConfigDict(frozen=True)

    mean: FiniteFloat | None
    low: FiniteFloat | None
    high: FiniteFloat | None
    percentile95: FiniteFloat | None
    cases: Natural

    @classmethod
    def of(cls, figure: Figure, percentile95: float) -> "Moved":
        """The document's form of a figure and its 95th percentile."""
        known = figure.summary()
        percentile = None if math.isnan(percentile95) else percentile95
        return cls(
            mean=known["mean"], low=known["low"], high=known["high"], percentile95=percentile, cases=figure.cases
        )


class StabilitySummary(BaseModel):
    """How far a model's answer moves when something changes that should not matter."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    cases: Natural
    """Number of lesions or slices."""
    patients: Natural
    """Number of their patients."""
    padded: Natural
    """Number of cases whose stored crop is too small for the largest shift, so that its border was repeated."""
    scales: dict[str, str] = {}
    """How changes are scaled."""
    changes: dict[str, dict[str, Moved]]
    """For each change, how far each measure moves: presence, volume, likeliest, lists, sets."""
