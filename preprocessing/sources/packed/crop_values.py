"""Which numbers images and masks may hold, wherever crops come from, and writing such crops as a store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...failures import CaseFailure
from ...scans.formats.raster import COLOURS
from ...store.intensity import BYTES, HOUNSFIELD, Channel, Intensity
from ...store.store_crop import Crop, StoreInfo
from ...store.store_writer import write_store
from ...volumes.usual_range import RangeOfMany
from ...volumes.values import mask_labels

Unit = Literal["hu", "relative"]


@dataclass(frozen=True)
class SourceReport:
    """The outcome of an import; `failures` are also in `failures_file`, which is absent when there are none."""

    store: Path
    crops: int
    counts: Mapping[str, int | str]
    notes: Sequence[str] = ()
    failures: Sequence[CaseFailure] = field(default_factory=list)
    failures_file: Path | None = None
    warnings: Sequence[str] = ()


def image_values(image: NDArray, unit: Unit) -> NDArray:
    """An image as a store keeps it: "hu" is rounded and clipped to int16; "relative" stays uint8, or becomes float32."""
    if unit == "hu":
        return np.rint(image).clip(HOUNSFIELD.low, HOUNSFIELD.high).astype(np.int16)
    return image if image.dtype == np.uint8 else image.astype(np.float32)


def label_values(mask: NDArray, classes: int, name: str) -> NDArray[np.uint8]:
    """A mask as class labels 0..classes-1; in a mask of two classes, 255 (white) is 1. See `mask_labels` for fractions.

    Raises `DataError`, which calls the mask `name`, when it holds anything else.
    """
    if mask.dtype == bool:
        return mask.astype(np.uint8)
    if mask.dtype.kind not in "iuf":
        raise DataError(f"{name} holds {mask.dtype} values: expected class labels 0..{classes - 1}.")
    mask = mask_labels(mask)
    found = np.unique(mask)
    if classes == 2 and set(found.tolist()) <= {0, 255}:
        return (mask > 0).astype(np.uint8)
    wrong = found[(found != np.floor(found)) | (found < 0) | (found >= classes)]
    if len(wrong):
        raise DataError(
            f"{name} holds the label {wrong[0]:g}: expected 0..{classes - 1} for {classes} classes; name more classes "
            "with `class_names`, or correct the mask."
        )
    return mask.astype(np.uint8)


def mask_values(masks: NDArray, classes: int, name: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Readers' masks [R, H, W] as class labels, and which readers there are [R]: a mask of NaN alone is an absent reader's.

    Raises `DataError`, which calls the masks `name`, when they hold anything else (see `label_values`).
    """
    if masks.dtype.kind != "f":
        return label_values(masks, classes, name), np.ones(len(masks), bool)
    missing = np.isnan(masks)
    absent = missing.all((1, 2))
    if missing[~absent].any():
        raise DataError(f"{name} is NaN in some pixels: expected labels, or NaN in all pixels for an absent reader.")
    return label_values(np.where(missing, 0, masks), classes, name), ~absent


def write_crops(output: Path, info: StoreInfo, splits: Mapping[str, str], crops: Iterable[Crop]) -> int:
    """Write the store `output` and return its number of rows.

    The range of a relative intensity becomes that which the images use, without values that stray; the store keeps that of
    each channel.

    Raises `InputError` when there are no crops, and `DataError` when they mix types of numbers.
    """
    kinds: dict[str, str] = {}
    ranges: list[RangeOfMany] = []
    with write_store(output, info, splits) as writer:
        for crop in crops:
            writer.add(crop)
            ranges = ranges or [RangeOfMany() for _ in crop.image]
            for found, plane in zip(ranges, crop.image, strict=True):
                found.add(plane)
            kinds.setdefault(crop.image.dtype.name, crop.case)
            if len(kinds) > 1:
                cases = " and ".join(f"{kind} in case {case}" for kind, case in kinds.items())
                raise DataError(f"The images have different types of numbers ({cases}): convert them to one.")
        if ranges:  # the writer refuses a store without any crop
            channels = _channels(info, ranges, "uint8" in kinds)
            writer.info = replace(info, channels=channels, intensity=_intensity(info, channels))
    return len(writer.rows)


def _colour_names(channels: int, of_bytes: bool) -> list[str]:
    """The names of channels that nobody names: three of bytes are colours, others have none."""
    return list(COLOURS) if of_bytes and channels == len(COLOURS) else [""] * channels


def unmeasured(names: Sequence[str]) -> tuple[Channel, ...]:
    """Channels by their names alone; `write_crops` finds their ranges."""
    return tuple(Channel(name, 0, 0, 0, 0) for name in names)


def _channels(info: StoreInfo, ranges: Sequence[RangeOfMany], of_bytes: bool) -> tuple[Channel, ...]:
    """The channels of a store: their names, the range that each uses (that of all HU or bytes), and its extremes."""
    if info.channels and len(info.channels) != len(ranges):
        raise DataError(f"Expected a name for each of {len(ranges)} channels, got {len(info.channels)}: correct them.")
    fixed = HOUNSFIELD if info.intensity.unit == "HU" else BYTES if of_bytes else None
    names = [channel.name for channel in info.channels] or _colour_names(len(ranges), of_bytes)
    used = [(fixed.low, fixed.high) if fixed else found.usual() for found in ranges]
    return tuple(
        Channel(name, low, max(high, low + 1e-6), found.low, found.high)
        for name, (low, high), found in zip(names, used, ranges, strict=True)
    )


def _intensity(info: StoreInfo, channels: Sequence[Channel]) -> Intensity:
    low, high = min(each.low for each in channels), max(each.high for each in channels)
    return Intensity(info.intensity.unit, low, high)
