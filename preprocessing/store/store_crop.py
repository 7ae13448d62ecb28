"""A crop on its way into a store, the description of a store, and the checks that both must pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from ..counted import counted
from ..errors import DataError
from ..volumes.planes import Fit
from .flips import Flip, check_flips
from .intensity import Channel, Intensity
from .store import IGNORE
from .store_index import PROBABILITIES_TOLERANCE

CLASS_PROBABILITIES_TOLERANCE = 0.02  # of a pixel's sum: other programs store them in few bits


@dataclass(frozen=True)
class Crop:
    """One image with the masks of its readers, on its way into a store.

    Attributes:
        image: [C, H, W], in the unit of `StoreInfo.intensity`.
        masks: Class labels [R, H, W], `IGNORE` where a pixel counts for nothing.
        patient: The patient's name, by which crops are split.
        case: The case's name.
        present: [R]: which readers read this image. The empty mask of a present reader means "no lesion"; an absent
            reader's mask means nothing. None: all.
        lesion: The lesion's name in its case.
        slice: The slice's number in its scan.
        z_mm: The slice's position, in mm.
        spacing_mm: Pixel size (y, x) of the scan in mm; None where it is not known.
        mask_probabilities: [R], where the truth is known. The masks are then all that can be drawn, not readers'.
        class_probabilities: [K, H, W], 0 to 1: another segmenter's class probabilities.
        provenance: Further columns of the index.
        split: The crop's split, where a split that came with the data divides patients; else the patient's split counts.
    """

    image: NDArray[Any]
    masks: NDArray[np.uint8]
    patient: str
    case: str
    present: NDArray[np.bool_] | None = None
    lesion: str = ""
    slice: int = 0
    z_mm: float | None = None
    spacing_mm: tuple[float, float] | None = None
    mask_probabilities: NDArray[np.float64] | None = None
    class_probabilities: NDArray[Any] | None = None
    provenance: Mapping[str, object] = field(default_factory=dict)
    split: str | None = None

    @property
    def readers(self) -> NDArray[np.bool_]:
        """Which readers read this image, [R]."""
        return np.ones(len(self.masks), bool) if self.present is None else self.present


@dataclass(frozen=True)
class StoreInfo:
    """What a store is, apart from its rows.

    Attributes:
        name: The data set's name.
        source: What the data are, in words.
        intensity: What the images' numbers are.
        class_names: Names of the K classes, background first.
        spacing_mm: The one pixel size of all crops in mm; None where crops keep that of their scans (see the index).
        settings: The options with which the store is made.
        counts: What the source counted (scans read, ...).
        attribution: Whom to cite, and the data's licence.
        scored: Names of the classes over which distances are computed; None: all but the background.
        group: The index column by which mode probabilities are reported.
        flips: Where given, rows hold one label map, and the flips make the masks from it.
        game: The game that draws new training images from the store's pool in every step.
        same_readers: Whether mask r of all crops of a lesion is one reader's.
        reader_names: The reader who drew mask r of every crop [R], "" for one whose name is not known. Empty where the data
            do not say who drew.
        channels: What each channel of the images is, where that is known.
        fit: How whole images became crops of one size.
    """

    name: str
    source: str
    intensity: Intensity
    class_names: tuple[str, ...] = ("background", "lesion")
    spacing_mm: float | None = None
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    counts: Mapping[str, JsonValue] = field(default_factory=dict)
    attribution: str = ""
    scored: tuple[str, ...] | None = None
    group: str | None = None
    flips: tuple[Flip, ...] = ()
    game: str | None = None
    same_readers: bool = False
    reader_names: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = ()
    fit: Fit | None = None


def check_info(info: StoreInfo) -> None:
    """Raise a DataError when scored classes or flips do not fit the classes."""
    if len(info.class_names) > IGNORE:
        raise DataError(
            f"Expected at most {IGNORE} classes in a store, got {len(info.class_names)}: join some of them."
        )
    for name in info.scored or ():
        if name not in info.class_names[1:]:
            raise DataError(
                f"The scored class {name!r} is not one of the foreground classes {', '.join(info.class_names[1:])}: "
                "correct its name."
            )
    check_flips(info.flips, info.class_names)


def check_crop(crop: Crop, info: StoreInfo) -> None:
    """Raise a DataError when a crop's masks or probabilities do not fit the store's classes."""
    _check_labels(crop, len(info.class_names))
    if info.reader_names and len(info.reader_names) != len(crop.masks):
        raise DataError(
            f"Case {crop.case}: expected a mask of each of {counted(len(info.reader_names), 'named reader')}, got "
            f"{counted(len(crop.masks), 'mask')}."
        )
    if info.flips and (len(crop.masks) != 1 or crop.mask_probabilities is not None):
        raise DataError(
            f"Case {crop.case}: expected one label map per row, without probabilities, in a store with flips; got "
            f"{counted(len(crop.masks), 'mask')}{'' if crop.mask_probabilities is None else ' with probabilities'}."
        )
    if crop.mask_probabilities is not None:
        _check_mask_probabilities(crop, crop.mask_probabilities)
    if crop.class_probabilities is not None:
        _check_class_probabilities(crop, crop.class_probabilities, len(info.class_names))


def _check_labels(crop: Crop, classes: int) -> None:
    labels = crop.masks[crop.masks != IGNORE]
    low, high = labels.min(initial=0), labels.max(initial=0)
    if low < 0 or high >= classes:
        raise DataError(
            f"Case {crop.case}: mask label {low if low < 0 else high} is outside the {classes} classes 0..{classes - 1} "
            f"({IGNORE}: ignored); name more classes or correct the mask."
        )


def _check_mask_probabilities(crop: Crop, probabilities: NDArray[np.float64]) -> None:
    if probabilities.shape != (len(crop.masks),):
        raise DataError(
            f"Case {crop.case}: expected one probability per mask, got {probabilities.size} for {len(crop.masks)} masks."
        )
    if not (np.all(probabilities >= 0) and abs(probabilities.sum() - 1) <= PROBABILITIES_TOLERANCE):
        given = ", ".join(f"{value:g}" for value in probabilities)
        raise DataError(
            f"Case {crop.case}: expected probabilities of the masks that sum to 1, got {given}: correct them."
        )
    if not crop.readers.all():
        raise DataError(
            f"Case {crop.case}: masks with known probabilities have no absent readers: give absent ones probability 0."
        )


def _check_class_probabilities(crop: Crop, probabilities: NDArray[Any], classes: int) -> None:
    expected = (classes, *crop.image.shape[1:])
    if probabilities.shape != expected:
        raise DataError(
            f"Case {crop.case}: the class probabilities have shape {list(probabilities.shape)}, expected "
            f"{list(expected)}: {classes} classes of the image's size."
        )
    low, high = probabilities.min(), probabilities.max()
    if not (low >= 0 and high <= 1):
        raise DataError(
            f"Case {crop.case}: class probabilities from {low:g} to {high:g}: expected 0 to 1; give the softmax output."
        )
    sums = probabilities.sum(0, dtype=np.float64)
    worst = float(sums.flat[np.abs(sums - 1).argmax()])
    if abs(worst - 1) > CLASS_PROBABILITIES_TOLERANCE:
        raise DataError(
            f"Case {crop.case}: class probabilities of a pixel sum to {worst:.3g}, expected 1: give the softmax output of "
            "all classes, background first."
        )


def in_255ths(probabilities: NDArray[Any]) -> NDArray[np.uint8]:
    """Probabilities as stores keep them and models read them: bytes, 255 for 1.

    >>> in_255ths(np.array([0.0, 0.2, 1.0]))
    array([  0,  51, 255], dtype=uint8)
    """
    return np.rint(np.asarray(probabilities, np.float32) * 255).astype(np.uint8)
