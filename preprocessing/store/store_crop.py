"""A crop on its way into a store, what a store says of itself, and the checks that both must pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..counted import counted
from ..errors import DataError
from .flips import Flip, check_flips
from .store import IGNORE, Intensity

ODDS_TOLERANCE = 1e-6
PROBABILITIES_TOLERANCE = 0.02  # of a pixel's sum: other programs store them in few bits


@dataclass(frozen=True)
class Crop:
    """One image with the masks of its readers, on its way into a store.

    image [C, H, W]; masks [R, H, W] class labels, `IGNORE` where a pixel counts for nothing; present [R]: which readers
    read this image (an empty mask of a present reader says "no lesion"; an absent reader's mask says nothing).
    odds [R], where the truth is known: the masks' probabilities; the masks are then all that can be drawn, not readers.
    probabilities [K, H, W], 0 to 1: another segmenter's class probabilities. `spacing_mm` (y, x) is None where unknown.
    """

    image: NDArray
    masks: NDArray[np.uint8]
    patient: str
    case: str
    present: NDArray[np.bool_] | None = None
    lesion: str = ""
    slice: int = 0
    z_mm: float | None = None
    spacing_mm: tuple[float, float] | None = None
    odds: NDArray[np.float64] | None = None
    probabilities: NDArray | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StoreInfo:
    """What a store is, apart from its rows.

    `spacing_mm` is the one pixel size of all crops, None where crops keep their scanner's (see the index).
    `class_names` include the background. `settings` repeat the command; `counts` are the source's (scans read, ...).
    `scored`: names of the classes over which distances are computed (None: all but the background).
    `group`: the index column by which mode probabilities are reported. `flips`: rows hold one label map, and the flips
    make the masks of it. `deal`: how training images are dealt anew from `bank.npz` in every epoch.
    """

    name: str
    source: str
    intensity: Intensity
    class_names: tuple[str, ...] = ("background", "lesion")
    spacing_mm: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)
    attribution: str = ""
    scored: tuple[str, ...] | None = None
    group: str | None = None
    flips: tuple[Flip, ...] = ()
    deal: str | None = None


def check_info(info: StoreInfo) -> None:
    """Raise a DataError when scored classes or flips do not fit the classes."""
    if len(info.class_names) > IGNORE:
        raise DataError(f"A store holds at most {IGNORE} classes, came {len(info.class_names)}: join some of them.")
    for name in info.scored or ():
        if name not in info.class_names[1:]:
            raise DataError(
                f"The scored class {name!r} is not one of the foreground classes {', '.join(info.class_names[1:])}: "
                "correct its name."
            )
    check_flips(info.flips, info.class_names)


def check_crop(crop: Crop, info: StoreInfo) -> None:
    """Raise a DataError when a crop's masks, odds or probabilities do not fit the store's classes."""
    _check_labels(crop, len(info.class_names))
    if info.flips and (len(crop.masks) != 1 or crop.odds is not None):
        raise DataError(
            f"Case {crop.case}: a store with flips holds one label map a row, and the odds come from the flips; came "
            f"{counted(len(crop.masks), 'mask')}{'' if crop.odds is None else ' with odds'}."
        )
    if crop.odds is not None:
        _check_odds(crop, crop.odds)
    if crop.probabilities is not None:
        _check_probabilities(crop, crop.probabilities, len(info.class_names))


def _check_labels(crop: Crop, classes: int) -> None:
    counted = crop.masks[crop.masks != IGNORE]
    low, high = counted.min(initial=0), counted.max(initial=0)
    if low < 0 or high >= classes:
        raise DataError(
            f"Case {crop.case}: mask label {low if low < 0 else high} is outside the {classes} classes 0..{classes - 1} "
            f"({IGNORE}: ignored); name more classes or correct the mask."
        )


def _check_odds(crop: Crop, odds: NDArray[np.float64]) -> None:
    if odds.shape != (len(crop.masks),):
        raise DataError(
            f"Case {crop.case}: expected one probability a mask, came {odds.size} for {len(crop.masks)} masks."
        )
    if not (np.all(odds >= 0) and abs(odds.sum() - 1) <= ODDS_TOLERANCE):
        given = ", ".join(f"{value:g}" for value in odds)
        raise DataError(f"Case {crop.case}: the masks' odds {given} are no probabilities that sum to 1: correct them.")
    if crop.present is not None and not crop.present.all():
        raise DataError(f"Case {crop.case}: masks with known odds have no absent readers: give absent ones odds 0.")


def _check_probabilities(crop: Crop, probabilities: NDArray, classes: int) -> None:
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
    if abs(worst - 1) > PROBABILITIES_TOLERANCE:
        raise DataError(
            f"Case {crop.case}: class probabilities of a pixel sum to {worst:.3g}, expected 1: give the softmax output of "
            "all classes, background first."
        )


def in_255ths(probabilities: NDArray) -> NDArray[np.uint8]:
    """Probabilities as stores keep them and models read them: bytes, 255 for 1."""
    return np.rint(np.asarray(probabilities, np.float32) * 255).astype(np.uint8)
