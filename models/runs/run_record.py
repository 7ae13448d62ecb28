"""The content of run.json: what a run was trained with and on."""

from importlib.metadata import version
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from ambiseg.preprocessing.errors import DataError, UsageError
from ambiseg.preprocessing.store.intensity import Channel, Intensity, Unit
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.planes import Fit, centre_crop

from ..core.bounds import LARGEST_STORED, MOST_MM
from ..methods.constructor import by_reader
from .config import TrainConfig
from .normalise import Centre, Window, resolve_centre, resolve_window


class DataRecord(BaseModel):
    """The data set of a run.

    Attributes:
        path: where the store was.
        name: of the store.
        content_hash: of the store.
        channels: of the images.
        class_names: background first.
        probabilities: whether the class probabilities of another segmenter come with the images.
        spacing_mm: size of a pixel in mm; None if unknown.
        unit: of the images, "HU" for CT.
        low: lowest value of the images.
        high: highest value of the images.
        scaled_over: side in pixels of the stored crops, over which relative values were scaled; None where an earlier
            version did not record it.
        fit: how whole images became crops of one size, where they did.
        described: what each channel is, where the store says so.
        reader_names: the readers whom the model tells apart, in the order of their numbers from 1; empty for most models.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    name: str
    content_hash: str
    channels: int = Field(ge=1)
    class_names: tuple[str, ...] = Field(min_length=1)
    probabilities: bool = False
    spacing_mm: Annotated[FiniteFloat, Field(gt=0, le=MOST_MM)] | None
    unit: Unit
    low: FiniteFloat
    high: FiniteFloat
    scaled_over: Annotated[int, Field(ge=1, le=LARGEST_STORED)] | None = None
    described: tuple[Channel, ...] = ()
    fit: Fit | None = None
    reader_names: tuple[str, ...] = ()

    @property
    def intensities(self) -> tuple[Intensity, ...]:
        """The unit and the range of each channel."""
        ends = [(channel.low, channel.high) for channel in self.described] or [(self.low, self.high)] * self.channels
        return tuple(Intensity(self.unit, low, high) for low, high in ends)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The channels' names; empty unless all have one."""
        names = tuple(channel.name for channel in self.described)
        return names if all(names) else ()

    @property
    def intensity(self) -> Intensity:
        """The unit and the range of the images."""
        return Intensity(self.unit, self.low, self.high)

    @property
    def inputs(self) -> int:
        """Channels that a network reads: those of the image, and one per class where there are probabilities."""
        return self.channels + (len(self.class_names) if self.probabilities else 0)

    def check_reads(self, store: Store, remedy: str, model: str = "The model") -> None:
        """Check that a model of these data can read a store.

        Args:
            store: the other data.
            remedy: what to do if it cannot, the end of a sentence.
            model: how the message calls it.

        Raises:
            DataError: channels, classes, class probabilities or the unit of intensity differ.
        """
        if store.channels != self.channels:
            raise DataError(
                f"{model} reads {self.channels} channels, but the images of {store.path} have {store.channels}: {remedy}."
            )
        names = tuple(channel.name for channel in store.manifest.channels)
        if self.channel_names and all(names) and names and names != self.channel_names:
            raise DataError(
                f"{model} reads the channels {', '.join(self.channel_names)}, but {store.path} has {', '.join(names)}: "
                f"{remedy}."
            )
        if store.class_names != self.class_names:
            raise DataError(
                f"{model} knows the classes {', '.join(self.class_names)}, but {store.path} has "
                f"{', '.join(store.class_names)}: {remedy}."
            )
        if self.probabilities and not store.manifest.has_class_probabilities:
            raise DataError(
                f"{model} reads the class probabilities of another segmenter, but {store.path} holds none: make the dataset "
                "with them."
            )
        if store.intensity.unit != self.unit:
            raise DataError(
                f"{model} reads intensities in {self.unit}, but {store.path} holds {store.intensity.unit}: {remedy}."
            )

    @classmethod
    def of(cls, store: Store, config: TrainConfig | None = None) -> "DataRecord":
        """The record of an open store; for a run of these settings, with the readers whom it tells apart.

        Raises:
            UsageError: the settings tell readers apart, and the store names none or one.
        """
        return cls(
            reader_names=told_apart(store, config) if config is not None and by_reader(config.options) else (),
            path=str(store.path),
            name=store.manifest.name,
            content_hash=store.content_hash,
            channels=store.channels,
            class_names=store.class_names,
            probabilities=store.manifest.has_class_probabilities,
            spacing_mm=store.spacing_mm,
            scaled_over=max(store.size),
            described=store.manifest.channels,
            fit=store.manifest.fit,
            **vars(store.intensity),
        )


def told_apart(store: Store, config: TrainConfig) -> tuple[str, ...]:
    """The readers of a store's training crops, by their names.

    Raises:
        UsageError: there are fewer than two, or the run has a teacher, whose masks are no reader's.
    """
    asked = "options.condition is reader, but"
    if config.teacher.model:
        raise UsageError(f"{asked} the masks of a teacher are no reader's: leave out `teacher`, or the option.")
    if not any(store.reader_names):
        what = (
            "holds all masks that can be drawn, and no readers"
            if store.manifest.known_odds
            else "does not say who drew"
        )
        raise UsageError(
            f"{asked} {store.path} {what}, so readers cannot be told apart: make it again from data with the readers' names "
            "(with `readers` named, where numbers stand for persons), or leave the option out."
        )
    present = store.present[store.rows("train")]
    read = [name for name, some in zip(store.reader_names, present.T, strict=True) if some.any()]
    names = tuple(name for name in read if name)
    if len(read) < 2 or not names:
        whom = f"{names[0]} alone" if names else "readers without a name"
        raise UsageError(f"{asked} the training crops of {store.path} were all read by {whom}: leave the option out.")
    return names


class RunRecord(BaseModel):
    """The content of run.json."""

    model_config = ConfigDict(frozen=True)

    schema_number: Literal[1] = 1
    version: str
    torch: str
    device: str
    config: TrainConfig
    data: DataRecord

    @classmethod
    def of(cls, config: TrainConfig, store: Store, device: str) -> "RunRecord":
        """The record of a run that is about to start, by this version."""
        return cls(
            version=version("ambiseg"),
            torch=torch.__version__,
            device=device,
            config=config,
            data=DataRecord.of(store, config),
        )

    @property
    def method(self) -> str:
        """The method's name."""
        return self.config.method

    @property
    def crop(self) -> int:
        """Side of the training crop in pixels."""
        return self.config.data.crop

    @property
    def window(self) -> Window:
        """Intensities that become 0 and 1."""
        return resolve_window(self.config.data.window, self.data.intensity, self.data.described)

    @property
    def centre(self) -> Centre:
        """Where the networks' inputs are 0."""
        return resolve_centre(self.config.data.centre, self.data.intensity)

    def crops(self, store: Store, rows: NDArray[np.intp], size: int | None = None) -> tuple[NDArray[Any], ...]:
        """What the run's model reads of the crops of a store: the arguments of `Trained.predictive`.

        Args:
            store: with images such as those of the training.
            rows: [B] of the store.
            size: the pixels of a side around the centre, by default those of the training.

        Returns:
            The images [B, C, size, size]; for a model that reads class probabilities also those, [B, K, size, size].
        """
        read = (store.images, store.class_probabilities) if self.data.probabilities else (store.images,)
        return tuple(centre_crop(part(rows), size or self.crop) for part in read)
