"""manifest.json of a dataset store: its schema, its reader, and what follows from it alone."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from ..documents import checked, json_text, read_json
from ..errors import DataError, InputError
from ..volumes.planes import Fit
from .flips import Flip, check_flips
from .intensity import Channel, Intensity

SCHEMA = 1
AGAIN = "make the dataset again with `ambiseg preprocess`"
FILE, INDEX, POOL = "manifest.json", "index.csv", "bank.npz"

LONGEST_NAME = 100  # characters of a reader's name

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(strict=True, ge=1, le=2**31)]
Side = Annotated[int, Field(strict=True, ge=1, le=2**16)]
Kind = Literal["images", "masks", "probabilities"]


class ShardEntry(BaseModel):
    """One shard: how many rows it has, and the SHA-256 of its file of each kind."""

    model_config = ConfigDict(frozen=True)

    rows: Count
    images_sha256: Hash
    masks_sha256: Hash
    probabilities_sha256: Hash | None = None

    def sha256(self, kind: Kind) -> str:
        """The hash of the shard's file of one kind."""
        found: str = getattr(self, f"{kind}_sha256")
        return found

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


def _ascending(intensity: Intensity) -> Intensity:
    if intensity.low > intensity.high:
        raise ValueError(f"`low` not above `high`, {intensity.low:g} and {intensity.high:g} stand there")
    return intensity


class Manifest(BaseModel):
    """The content of manifest.json. Keys that later versions added have defaults, so that older stores open.

    Attributes:
        name: The data set's name.
        source: What the data are, in words.
        rows: Number of crops.
        image_shape: (C, H, W) of every image.
        masks_shape: (R, H, W) of every row's stored label maps.
        class_names: Names of the K classes, background first.
        intensity: What the images' numbers are.
        spacing_mm: The one pixel size of all crops in mm; None where crops keep that of their scans.
        settings: The options with which the store was made.
        counts: What the source counted (scans read, ...).
        attribution: Whom to cite, and the data's licence.
        known_odds: Whether the masks are all that can be drawn, with known probabilities, instead of readers' masks.
        scored: Names of the classes over which distances are computed; None: all but the background.
        group: The index column by which mode probabilities are reported.
        flips: The flips that make the masks of each row from its one label map.
        same_readers: Whether mask r of all crops of a lesion is one reader's, so that it stacks into that reader's volume.
            None in stores written before this key.
        reader_names: The reader who drew mask r of every crop [R], "" for one whose name is not known. Empty where the data
            do not say who drew, and in stores written before this key.
        channels: What each channel of the images is. Empty where the source does not say, and in stores written before this
            key.
        fit: How whole images became crops of one size; None where crops are parts of them, or were of one size.
        deal: The game that draws new training images from the pool in every step; None: training sees the stored crops.
        bank_sha256: SHA-256 of the pool's file, where there is one.
        index_sha256: SHA-256 of index.csv.
        shards: The shards, in order.
    """

    model_config = ConfigDict(frozen=True)

    schema_number: Literal[1] = Field(alias="schema")
    name: str
    source: str
    rows: Count
    image_shape: tuple[Side, Side, Side]
    masks_shape: tuple[Side, Side, Side]
    class_names: Annotated[tuple[str, ...], Field(min_length=1, max_length=255)]
    intensity: Annotated[Intensity, AfterValidator(_ascending)]
    spacing_mm: Annotated[FiniteFloat, Field(strict=True, gt=0)] | None
    settings: dict[str, JsonValue]
    counts: dict[str, JsonValue]
    attribution: str
    known_odds: bool = False
    scored: tuple[str, ...] | None = None
    group: str | None = None
    flips: Annotated[tuple[Flip, ...], Field(max_length=16)] = ()
    same_readers: bool | None = None
    reader_names: tuple[Annotated[str, Field(max_length=LONGEST_NAME)], ...] = ()
    channels: Annotated[tuple[Channel, ...], Field(max_length=2**16)] = ()
    fit: Fit | None = None
    deal: str | None = None
    bank_sha256: Hash | None = None
    index_sha256: Hash
    shards: Annotated[tuple[ShardEntry, ...], Field(min_length=1)]

    @property
    def masks_per_row(self) -> int:
        """Masks R of every row: one per reader, absent readers included, or one per mode."""
        return 2 ** len(self.flips) if self.flips else self.masks_shape[0]

    @property
    def has_class_probabilities(self) -> bool:
        """Whether another segmenter's class probabilities come with every crop."""
        return self.shards[0].probabilities_sha256 is not None

    @property
    def scored_labels(self) -> tuple[int, ...] | None:
        """The labels over which distances are computed; None: all but the background."""
        return None if self.scored is None else tuple(self.class_names.index(name) for name in self.scored)

    @property
    def shapes(self) -> dict[Kind, tuple[int, int, int]]:
        """The shape of one row of each kind of array that the store holds."""
        shapes: dict[Kind, tuple[int, int, int]] = {"images": self.image_shape, "masks": self.masks_shape}
        if self.has_class_probabilities:
            shapes["probabilities"] = (len(self.class_names), *self.image_shape[1:])
        return shapes

    @property
    def hashes(self) -> dict[str, str]:
        """The SHA-256 of every file beside the manifest and the card, by file name."""
        files = {INDEX: self.index_sha256}
        for number, shard in enumerate(self.shards):
            files |= {shard_name(kind, number): shard.sha256(kind) for kind in self.shapes}
        return files if self.bank_sha256 is None else files | {POOL: self.bank_sha256}

    @property
    def content_hash(self) -> str:
        """SHA-256 over the hashes of all files, and over what else makes the masks."""
        given = self.model_dump(mode="json", include={"scored", "flips", "deal"})
        parts = [json.dumps({key: given[key]}) for key in ("scored", "flips", "deal") if given[key]]
        return hashlib.sha256("\n".join([*self.hashes.values(), *parts]).encode()).hexdigest()

    def text(self) -> str:
        """The manifest as it is written."""
        return json_text(self.model_dump(mode="json", by_alias=True))

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Hold one key against another."""
        held = sum(shard.rows for shard in self.shards)
        if held != self.rows:
            raise ValueError(f"`rows` as many as the shards have, {self.rows} and {held} stand there")
        if self.image_shape[1:] != self.masks_shape[1:]:
            raise ValueError("`image_shape` and `masks_shape` of one height and width")
        if self.flips and (self.masks_shape[0] != 1 or not self.known_odds):
            raise ValueError("one label map per row, with known probabilities, where there are `flips`")
        named = [name for name in self.reader_names if name]
        if self.reader_names and (self.known_odds or len(self.reader_names) != self.masks_shape[0]):
            raise ValueError(f"`reader_names` as many as readers' masks, {self.masks_shape[0]}")
        if len(set(named)) < len(named):
            raise ValueError("each of the `reader_names` once")
        if self.channels and len(self.channels) != self.image_shape[0]:
            raise ValueError(
                f"`channels` as many as images have, {len(self.channels)} and {self.image_shape[0]} stand there"
            )
        if any(channel.low > channel.high for channel in self.channels):
            raise ValueError("`low` not above `high` in all `channels`")
        if not set(self.scored or ()) <= set(self.class_names[1:]):
            raise ValueError("`scored` to name foreground classes")
        if (self.deal is None) != (self.bank_sha256 is None):
            raise ValueError("`deal` and `bank_sha256` together")
        if len({shard.probabilities_sha256 is None for shard in self.shards}) > 1:
            raise ValueError("class probabilities in all `shards` or in none")
        try:
            check_flips(self.flips, self.class_names)
        except DataError as error:
            raise ValueError(f"other `flips`: {error}") from error
        return self


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a store.

    Args:
        folder: The store's folder.

    Raises:
        InputError: There is no manifest.
        DataError: It is damaged or of another version; the message names the key.
    """
    file = folder / FILE
    if not file.is_file():
        raise InputError(
            f"No dataset store at {folder}: expected a folder with manifest.json, as `ambiseg preprocess` writes it."
        )
    content = read_json(file, dict[str, Any], AGAIN)
    schema = content.get("schema", SCHEMA)
    if isinstance(schema, int) and schema != SCHEMA:
        raise DataError(f"{folder} has dataset schema {schema}; this version reads {SCHEMA}: make the dataset again.")
    return checked(content, Manifest, str(file), AGAIN)


def shard_name(kind: Kind, number: int) -> str:
    """The file name of a shard."""
    return f"{kind}_{number:03d}.npy"
