"""manifest.json of a dataset store: what must stand in it, and how it is read."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from ..documents import checked, read_json
from ..errors import DataError, InputError
from .flips import Flip, check_flips

SCHEMA = 1
AGAIN = "make the dataset again with `ambiseg preprocess`"

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(strict=True, ge=1, le=2**31)]
Label = Annotated[int, Field(strict=True)]
Side = Annotated[int, Field(strict=True, ge=1, le=2**16)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]


class ShardEntry(BaseModel):
    """One shard: how many rows, and the hash of the file of each kind."""

    rows: Count
    images_sha256: Hash
    masks_sha256: Hash
    probabilities_sha256: Hash | None = None


class IntensityEntry(BaseModel):
    """What the image's numbers are."""

    model_config = ConfigDict(extra="forbid")

    unit: Literal["HU", "relative"]
    low: FiniteFloat
    high: FiniteFloat

    @model_validator(mode="after")
    def _ascend(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"`low` not above `high`, {self.low:g} and {self.high:g} stand there")
        return self


class FlipEntry(BaseModel):
    """A `Flip`."""

    source: Label
    target: Label
    probability: Share


class Manifest(BaseModel):
    """What a manifest is held against. Keys that came later have defaults: stores of before are read as they were."""

    schema_number: Literal[1] = Field(alias="schema")
    name: str
    source: str
    rows: Count
    image_shape: tuple[Side, Side, Side]
    masks_shape: tuple[Side, Side, Side]
    class_names: Annotated[list[str], Field(min_length=1, max_length=255)]
    intensity: IntensityEntry
    spacing_mm: Annotated[FiniteFloat, Field(strict=True, gt=0)] | None
    settings: dict[str, Any]
    counts: dict[str, Any]
    attribution: str
    known_odds: bool = False
    scored: list[str] | None = None
    group: str | None = None
    flips: Annotated[list[FlipEntry], Field(max_length=16)] = []
    deal: str | None = None
    bank_sha256: Hash | None = None
    index_sha256: Hash
    shards: Annotated[list[ShardEntry], Field(min_length=1)]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Hold one key against another."""
        held = sum(shard.rows for shard in self.shards)
        if held != self.rows:
            raise ValueError(f"`rows` as many as the shards have, {self.rows} and {held} stand there")
        if self.image_shape[1:] != self.masks_shape[1:]:
            raise ValueError("`image_shape` and `masks_shape` of one height and width")
        if self.flips and (self.masks_shape[0] != 1 or not self.known_odds):
            raise ValueError("one label map a row, with known odds, where there are `flips`")
        if not set(self.scored or ()) <= set(self.class_names[1:]):
            raise ValueError("`scored` to name foreground classes")
        if (self.deal is None) != (self.bank_sha256 is None):
            raise ValueError("`deal` and `bank_sha256` together")
        if len({shard.probabilities_sha256 is None for shard in self.shards}) > 1:
            raise ValueError("class probabilities in all `shards` or in none")
        try:
            check_flips([Flip(**vars(flip)) for flip in self.flips], self.class_names)
        except DataError as error:
            raise ValueError(f"other `flips`: {error}") from error
        return self


def read_manifest(folder: Path) -> dict[str, Any]:
    """The content of a store's manifest, whole and consistent. Raises InputError where there is none, DataError that names
    the key of what is wrong.
    """
    file = folder / "manifest.json"
    if not file.is_file():
        raise InputError(
            f"No dataset store at {folder}: expected a folder with manifest.json, as `ambiseg preprocess` writes it."
        )
    content = read_json(file, dict[str, Any], AGAIN)
    schema = content.get("schema", SCHEMA)
    if isinstance(schema, int) and schema != SCHEMA:
        raise DataError(f"{folder} has dataset schema {schema}; this version reads {SCHEMA}: make the dataset again.")
    checked(content, Manifest, str(file), AGAIN)
    return content
