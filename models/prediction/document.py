"""The content of hypotheses.json as types, key by key and in the order of the file.

The descriptions of the keys are the reference of the format: `reference` prints them as tables, which the site shows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from ..core.calibration import Calibration, reweighting
from ..core.size import Length
from .inference import Ranking
from .places import FoundBy


class _Part(BaseModel):
    """A part of the document. Keys that a later version added are passed over when it is read."""

    model_config = ConfigDict(frozen=True, extra="ignore", serialize_by_alias=True)

    def plain(self) -> dict[str, Any]:
        """The part in plain values, as JSON has them, without optional keys that were not set."""
        return self.model_dump(mode="json", exclude_unset=True)


class SizeEntry(_Part):
    """The size of a mask or of one of its classes."""

    area_mm2: float | None = Field(None, description="area in mm², if the scan is a single slice")
    volume_mm3: float | None = Field(
        None, description="number of voxels times a voxel's volume in mm³, for all other scans"
    )
    long_axis_mm: float = Field(description="longest diameter within one axial slice, in mm")
    short_axis_mm: float = Field(description="in that slice, the extent at right angles to the longest diameter, in mm")
    slices: int = Field(description="number of slices in which anything is marked")


class HypothesisEntry(_Part):
    """A hypothesis."""

    rank: int = Field(description="1, 2, ...; the most probable is 1")
    file: str = Field(description="the mask on the scan's grid, relative to this file")
    probability: float = Field(
        description="share of the draws that belong to it (to its cluster), calibrated if the model is"
    )
    interval: tuple[float, float] | None = Field(
        description="95 % interval of the probability, from the number of draws and calibrated likewise; null if exact"
    )
    area_mm2: float | None = Field(None, description="as `volume_mm3`: area in mm² if the scan is a single slice")
    volume_mm3: float | None = Field(None, description="number of voxels times a voxel's volume in mm³")
    long_axis_mm: float = Field(description="longest diameter within one axial slice, in mm")
    short_axis_mm: float = Field(description="in that slice, the extent at right angles to the longest diameter, in mm")
    slices: int = Field(description="number of slices in which anything is marked")
    classes: dict[str, SizeEntry] | None = Field(
        None, description="only with more than two classes: by name, the sizes of each class but the background"
    )
    agreement: float = Field(description="IoU with the most probable hypothesis")
    empty: bool = Field(description='whether this is the hypothesis "no lesion"')
    cut_off: bool = Field(
        description="whether the mask reaches the border of what was looked at, so that more may lie outside"
    )
    at_border: bool = Field(
        description="whether it touches the scan's own border, so that the scan may show only a part of the lesion"
    )

    @property
    def size(self) -> SizeEntry:
        """The mask's size, all classes together."""
        return SizeEntry(**{name: getattr(self, name) for name in SizeEntry.model_fields})


class SpreadEntry(_Part):
    """A number as a distribution over the model's masks, in mm, mm² or mm³."""

    mean: float = Field(description="expected value")
    median: float = Field(description="half of the masks, by weight, are at most so large")
    low_50: float = Field(description="lower end of the 50 % interval: the quantile of level .25")
    high_50: float = Field(description="its upper end: the quantile of level .75")
    low_90: float = Field(description="lower end of the 90 % interval: the quantile of level .05")
    high_90: float = Field(description="its upper end: the quantile of level .95")
    lower_bounds: list[str] = Field(
        default=[],
        description="which of these numbers could be larger, because masks reach the border of what was looked at, or the "
        "scan's own",
    )


class SizesEntry(_Part):
    """The distribution of each measure of size."""

    volume_mm3: SpreadEntry | None = Field(None, description="volume in mm³; absent if the scan is a single slice")
    area_mm2: SpreadEntry | None = Field(None, description="area in mm², if the scan is a single slice")
    mean_diameter_mm: SpreadEntry = Field(
        description="mean of the long and the short axis to .1 mm, as Lung-RADS and the Fleischner Society measure nodules"
    )
    long_axis_mm: SpreadEntry = Field(description="longest diameter within one axial slice, in mm")
    short_axis_mm: SpreadEntry = Field(
        description="in that slice, the extent at right angles to the longest diameter, in mm"
    )

    @property
    def extent(self) -> SpreadEntry:
        """The volume, or the area if the scan is a single slice."""
        found = self.volume_mm3 or self.area_mm2
        assert found is not None, "a lesion has one of the two"
        return found


class ThresholdEntry(_Part):
    """The probability that a measure of size reaches a threshold."""

    measure: Literal["mean_diameter_mm", "volume_mm3"] = Field(description="the measure")
    at_least: float = Field(description="the threshold, in its unit")
    probability: float = Field(description="that the lesion is marked and its size reaches the threshold")
    if_marked: float = Field(description="that it does, given that the lesion is marked")


class SizeForecastEntry(_Part):
    """A lesion's size as the model's whole weighted set of masks has it, not the list. The weights are the calibrated ones."""

    if_marked: SizesEntry = Field(description="given that the lesion is marked")
    overall: SizesEntry = Field(description="over all masks; one that marks nothing has size 0")
    thresholds: list[ThresholdEntry] = Field(description="probabilities that thresholds are reached")
    cut: float = Field(
        description="share of the masks that mark anything and reach the border of what was looked at, or the scan's own"
    )


class LesionEntry(_Part):
    """A lesion."""

    number: int = Field(description="1, 2, ...")
    folder: str = Field(
        description="folder of its files, relative to this file: `lesion_01`; empty if there is only one lesion"
    )
    name: str = Field(description="its name in the table of points; may be empty")
    centre_mm: tuple[float, float, float] = Field(
        description="the place that was given: x, y, z in mm (RAS, as in NIfTI). If a search found it, rounded to .1 mm: the "
        "printed place gives the same result when it is given as a point"
    )
    settled_mm: tuple[float, float, float] | None = Field(
        None,
        description="the place around which the model looked: the centre of what it marks there, x, y, z in mm (RAS); null "
        "where it looked around the given place (`fast`, or a scan that is a lesion's crop)",
    )
    zoom: float = Field(
        1.0, description="how much wider than in training the model's crops were, and how much coarser (see `notes`)"
    )
    notes: list[str] = Field(
        default=[], description="what to know about its list: why it is short, and what limited the model's view"
    )
    score: float | None = Field(
        description="0 to 1: how much a place that a search found looks like a lesion. It orders the candidates of one scan "
        "and is not a probability. Null if the place was given"
    )
    no_lesion: float = Field(description="probability that nothing is marked, which is that of the empty hypothesis")
    ambiguity: float | None = Field(
        description="mean of 1 - IoU over pairs of the model's masks: 0 if all are the same; null for a single draw"
    )
    residual: float = Field(
        description="probability of everything that is not listed: `sum(probability) + residual = 1`"
    )
    draws: int | None = Field(description="number of draws; null if the probabilities are the model's own")
    left_out: float = Field(
        0.0,
        description="probability of the model's masks that were not looked at (`draws` is the limit): in the residual",
    )
    probability: str = Field(description="file with each voxel's probability of being lesion, relative to this file")
    entropy: str = Field(description="file with each voxel's entropy in nats, relative to this file")
    aleatoric: str | None = Field(
        None,
        description="file with the entropy in nats of the class probabilities that the model states without a draw; null "
        "if it states none",
    )
    preview: str | None = Field(description="picture, relative to this file; null if it could not be made")
    size: SizeForecastEntry | None = Field(
        None, description="its size as a distribution (see below); null if no mask marks anything, or before schema 4"
    )
    sizes: str | None = Field(
        None, description="table of the sizes of all of the model's masks with their weights, relative to this file"
    )
    hypotheses: list[HypothesisEntry] = Field(description="the hypotheses, the most probable first (see below)")
    overlaps: list[int] = Field(
        description="numbers of other lesions whose most probable masks share voxels with this one's: they may be one lesion"
    )


class ModelEntry(_Part):
    """The model that made the hypotheses."""

    name: str = Field(description="name of the run, or of the installed model")
    method: str = Field(description="its method")
    weights_sha256: str = Field(description="SHA-256 of its weights")
    data_sha256: str = Field(description="content hash of the training set")
    reader: str | None = Field(
        None,
        description="only if one reader was asked for: the reader's name; otherwise hypotheses are those of all readers",
    )


class CalibrationEntry(_Part):
    """How the weights of the model's masks were corrected before they were listed (see `Reweighting`)."""

    fitted_on: Literal["slices", "lesions"] = Field(
        "slices", description="what it was fitted on: single slices, or the volumes of whole lesions"
    )
    presence_shift: float = Field(0.0, description="of the log-odds that something is marked, in nats")
    presence_slope: float = Field(1.0, description="of these log-odds")
    size_shift: float = Field(0.0, description="of the log-weight, per nat of size above the median")
    size_sharpness: float = Field(0.0, description="by which the log-weight falls, per nat of distance from the median")

    @classmethod
    def of(cls, calibration: Calibration, flat: bool) -> "CalibrationEntry":
        """The numbers for the masks of a single slice (`flat`), or of volumes."""
        by_slice = flat or calibration.lesions is None
        numbers = reweighting(calibration, flat=flat)
        assert numbers is not None  # as there is a calibration
        return cls(fitted_on="slices" if by_slice else "lesions", **numbers.model_dump())


class ScanEntry(_Part):
    """The scan's grid along x, y, z in display orientation (x to the left, y to the back, z to the head)."""

    voxels: tuple[int, int, int] = Field(description="number of voxels along x, y, z")
    spacing_mm: tuple[float, float, float] = Field(description="their size along x, y, z, in mm")
    length_unit: Length = Field(
        "mm",
        description="only where pixels have no size, as in a picture: `px`. What is in mm elsewhere, or by its name, then "
        "counts pixels",
    )


class About(_Part):
    """Which program, model and settings made the hypotheses."""

    schema_number: Literal[2, 3, 4] = Field(
        alias="schema",
        description="4; documents of schema 3 have no `size`, those of schema 2 list merged masks, and both open too",
    )
    program: str = Field(description="`ambiseg` and its version")
    model: ModelEntry = Field(description="the model (see below)")
    settings: Ranking = Field(
        description="`top`, `draws`, `depth_mm` (null: as far as the lesion reaches), `seed`, `fast`, and the thresholds "
        "`diameters_mm` and `volumes_mm3`"
    )
    calibration: CalibrationEntry | None = Field(
        description="the correction of the probabilities (see below); null if they are the model's own"
    )
    classes: list[str] = Field(description="names of the labels, background (0) first")

    @field_serializer("settings")
    def _settings(self, settings: Ranking) -> dict[str, Any]:
        return asdict(settings)


class Document(About):
    """The content of hypotheses.json."""

    warnings: list[str] = Field(
        description="what was left out of a DICOM series, and why the model may not suit this scan; empty if nothing is wrong"
    )
    notes: list[str] = Field(
        default=[], description="how the scan was fitted to the model, where that is usual; may be empty"
    )
    found_by: FoundBy = Field(
        description="`given`: the user gave the places; `crop`: the scan is one lesion's crop; `search`: the lungs were "
        "searched (experimental)"
    )
    scan: ScanEntry = Field(description="the scan's grid (see below)")
    lesions: list[LesionEntry] = Field(description="the lesions (see below); in a search, by descending score")


PARTS: Mapping[str, type[_Part]] = {
    "The document": Document,
    "A lesion": LesionEntry,
    "`size` of a lesion": SizeForecastEntry,
    "`if_marked` and `overall`": SizesEntry,
    "The distribution of a measure": SpreadEntry,
    "A threshold": ThresholdEntry,
    "A hypothesis": HypothesisEntry,
    "`model`": ModelEntry,
    "`calibration`": CalibrationEntry,
    "`scan`": ScanEntry,
}


def reference() -> str:
    """The reference of hypotheses.json in Markdown: one table per part, one row per key.

    Example:
        >>> print(reference()[:27])
        **The document**
        <BLANKLINE>
        | key | w
    """
    return "\n\n".join("\n".join(_table(title, part)) for title, part in PARTS.items()) + "\n"


def _table(title: str, part: type[_Part]) -> Iterator[str]:
    yield from (f"**{title}**", "", "| key | what it is |", "|---|---|")
    for name, field in part.model_fields.items():
        yield f"| `{field.alias or name}` | {field.description} |"
