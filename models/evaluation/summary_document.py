"""`summary.json`: what an evaluation was of, and what it found. One model, which is written and read back here."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from ambiseg.preprocessing.documents import read_json, write_json

from ..core.calibration import Reweighting
from ..lesions.lesions_document import LesionsSummary, StabilitySummary
from ..metrics.reliability import BinsSummary
from ..metrics.summary import FigureSummary

SUMMARY = "summary.json"
AGAIN = "run `ambiseg evaluate` again"
FIXED_DRAWS = "for this many draws per image; for exact weights resampled"
# Version 0.1.0 described the same estimators in other words; its evaluations stay comparable.
EARLIER_WORDS = {" ".join(("of so many", "draws", "an image; of exact weights resampled")): FIXED_DRAWS}
UNKNOWN = ("floor", "modes", "lesions", "stability", "seen")  # written only where they were computed


def _in_todays_words(estimators: dict[str, str]) -> dict[str, str]:
    """Descriptions of estimators as this version words them."""
    return {name: EARLIER_WORDS.get(words, words) for name, words in estimators.items()}


Natural = Annotated[int, Field(ge=0)]


class CalibrationUsed(BaseModel):
    """The calibration behind an evaluation: the content of the run's `calibration.json` at that time."""

    model_config = ConfigDict(frozen=True, extra="allow")

    slices: Reweighting | None = None
    lesions: Reweighting | None = None
    split: str = "val"


class SeenInTraining(BaseModel):
    """How many of the cases, and of their patients, a model was trained on."""

    model_config = ConfigDict(frozen=True)

    crops: Natural
    of_crops: Natural
    patients: Natural
    of_patients: Natural


class ModesSummary(BaseModel):
    """Mean probabilities of the modes of a group of cases: the true ones and the model's."""

    model_config = ConfigDict(frozen=True)

    cases: Natural
    truth: list[FiniteFloat]
    model: list[FiniteFloat]
    mean_absolute_error: FiniteFloat


class EvaluationAbout(BaseModel):
    """What was evaluated: the model, the data, the split, the estimators, and how many cases and draws."""

    model_config = ConfigDict(strict=True, frozen=True, use_attribute_docstrings=True)

    ambiseg: str
    """Version of ambiseg that made the evaluation."""
    run: str
    """Name of the run folder or of the installed model."""
    weights_hash: str
    """SHA-256 of the model's weights."""
    method: str
    """Name of the method, as `ambiseg methods` lists it."""
    calibrated: CalibrationUsed | None
    """The calibration that was used; null where probabilities are as the model states them."""
    trained_on: str
    """Content hash of the data on which the model was trained."""
    data: str
    """Name of the data set evaluated on."""
    data_hash: str
    """Content hash of the data set evaluated on."""
    split: str
    """`train`, `val`, `test` or `all`; `folds` for the test splits of a cross-validation together."""
    cases_in_split: Natural | None = None
    """Number of crops in the split, with or without readers."""
    crop: list[int]
    """Height and width of the compared centre of each crop, in pixels."""
    spacing_mm: float | None
    """Pixel size in mm; null where crops have their own."""
    known_odds: bool
    """Whether the probability of every possible mask is known, which takes the place of readers."""
    scored: list[str] | None
    """Names of the classes that are compared; null for all foreground classes."""
    reader: str | None = None
    """The reader whose masks alone were compared, with the model's hypotheses for this reader; null for all readers."""
    group: str | None = None
    """Column of the data set by which `modes` are grouped."""
    samples: int
    """Draws per image, or the most masks that were taken of a model with exact weights."""
    seed: Natural
    """Seed of the draws and of the bootstrap."""
    estimators: Annotated[dict[str, str], AfterValidator(_in_todays_words)]
    """How figures are computed. Only evaluations with the same estimators are comparable."""
    cases: Natural
    """Number of cases evaluated."""
    weights: Literal["draws", "exact"]
    """Whether the model's masks are draws of equal weight or come with exact probabilities."""
    seen: SeenInTraining | None = None
    """How much of the split was in the model's training; null where the model does not say."""
    notes: list[str] = []
    """Sentences on what the figures do not say."""
    floor: dict[str, float] | None = None
    """Expected figures of a perfect model; only where the masks' probabilities are known."""

    @property
    def seen_before(self) -> bool:
        """Whether some of the split trained the model; the first note then says how much."""
        return self.seen is not None and bool(self.seen.crops or self.seen.patients)


class EvaluationSummary(EvaluationAbout):
    """The whole of `summary.json`. Fields that other versions add are ignored when it is read.

    Example:
        >>> from ambiseg.models.evaluation.summary_document import EvaluationSummary
        >>> sorted(set(EvaluationSummary.model_fields) & {"figures", "reliability", "modes"})
        ['figures', 'modes', 'reliability']
    """

    figures: dict[str, FigureSummary] = {}
    """Each figure of the split, by its name."""
    reliability: dict[str, BinsSummary] = {}
    """Reliability bins of hypotheses and of pixels."""
    modes: dict[str, ModesSummary] | None = None
    """Mode probabilities of each group of cases; only where the masks' probabilities are known."""
    lesions: LesionsSummary | None = None
    """The evaluation of whole lesions; absent where the data set has none, or when only slices were evaluated."""
    stability: dict[str, StabilitySummary] | None = None
    """How still the model stands, by `lesions` and `slices`; only on request."""

    @model_serializer(mode="wrap")
    def _without_unknown(self, write: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]
        """Leave out what only some evaluations have.

        A return type would replace the fields in the model's JSON schema.
        """
        written: dict[str, object] = write(self)
        return {name: value for name, value in written.items() if value is not None or name not in UNKNOWN}

    def write(self, folder: Path) -> None:
        """Write `summary.json` into `folder`, whole or not at all."""
        write_json(folder / SUMMARY, self)

    @classmethod
    def read(cls, folder: Path) -> "EvaluationSummary":
        """The summary in `folder`.

        Raises:
            DataError: It is damaged, or of a version that says too little.
        """
        return read_json(folder / SUMMARY, cls, AGAIN)
