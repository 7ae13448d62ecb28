"""The content of hypotheses.json as types: what docs/reference/hypotheses-json.md describes, key by key and in that order.

Numbers of numpy become plain numbers here, so that everything made of a document can be written.
"""

from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from .inference import Ranking

FoundBy = Literal["given", "crop", "search"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    def plain(self) -> dict[str, Any]:
        """Plain values, as JSON has them; keys that some documents have and this one has not are left out."""
        return self.model_dump(mode="json", exclude_unset=True)


class SizeEntry(_Part):
    """The size of a mask or of one of its classes: an area where the scan is a single slice, else a volume."""

    area_mm2: float | None = None
    volume_mm3: float | None = None
    long_axis_mm: float
    short_axis_mm: float
    slices: int


class HypothesisEntry(_Part):
    """A hypothesis; `file` is relative to the document, `interval` None where the probability is exact."""

    rank: int
    file: str
    probability: float
    interval: tuple[float, float] | None
    area_mm2: float | None = None
    volume_mm3: float | None = None
    long_axis_mm: float
    short_axis_mm: float
    slices: int
    classes: dict[str, SizeEntry] | None = None
    agreement: float
    empty: bool
    cut_off: bool
    at_border: bool

    @property
    def size(self) -> SizeEntry:
        """The mask's size, all classes together."""
        return SizeEntry(**{name: getattr(self, name) for name in SizeEntry.model_fields})


class LesionEntry(_Part):
    """A lesion; its maps and picture are files relative to the document, None where there is none."""

    number: int
    folder: str
    name: str
    centre_mm: tuple[float, float, float]
    score: float | None
    no_lesion: float
    ambiguity: float | None
    residual: float
    draws: int | None
    probability: str
    entropy: str
    aleatoric: str | None
    preview: str | None
    hypotheses: list[HypothesisEntry]
    overlaps: list[int]


class ModelEntry(_Part):
    """Which model made the hypotheses."""

    name: str
    method: str
    weights_sha256: str
    data_sha256: str


class CalibrationEntry(_Part):
    """How the model's probabilities were corrected (see `Calibration`)."""

    temperature: float
    empty: float
    none: float


class ScanEntry(_Part):
    """The scan's grid along x, y, z in display orientation."""

    voxels: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]


class About(_Part):
    """Which program, model and settings make hypotheses."""

    schema_number: Literal[2] = Field(alias="schema")
    program: str
    model: ModelEntry
    settings: Ranking
    calibration: CalibrationEntry | None
    classes: list[str]

    @field_serializer("settings")
    def _settings(self, settings: Ranking) -> dict[str, Any]:
        return asdict(settings)


class Document(About):
    """All that hypotheses.json says of a scan."""

    warnings: list[str]
    notes: list[str]
    found_by: FoundBy
    scan: ScanEntry
    lesions: list[LesionEntry]
