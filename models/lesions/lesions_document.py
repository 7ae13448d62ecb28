"""The part of `summary.json` that is about whole lesions."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..metrics.reliability import BinsSummary
from ..metrics.summary import FigureSummary

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
    """Reliability bins of presence (an event is a reader), of hypotheses, and of the top hypothesis."""
