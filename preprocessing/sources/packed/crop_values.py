"""Which numbers images and masks may hold, wherever crops come from, and writing such crops as a store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...failures import CaseFailure
from ...store.intensity import HOUNSFIELD, Intensity
from ...store.store_crop import Crop, StoreInfo
from ...store.store_writer import write_store
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
    """Write the store `output` and return its number of rows; the range of a relative intensity becomes that of the images.

    Raises `InputError` when there are no crops, and `DataError` when they mix types of numbers.
    """
    kinds: dict[str, str] = {}
    low, high = np.inf, -np.inf
    with write_store(output, info, splits) as writer:
        for crop in crops:
            writer.add(crop)
            low, high = min(low, float(crop.image.min())), max(high, float(crop.image.max()))
            kinds.setdefault(crop.image.dtype.name, crop.case)
            if len(kinds) > 1:
                cases = " and ".join(f"{kind} in case {case}" for kind, case in kinds.items())
                raise DataError(f"The images have different types of numbers ({cases}): convert them to one.")
        for kind in kinds:  # one, or none without any crop, which the writer refuses
            writer.info = replace(info, intensity=_intensity(info.intensity.unit, kind, low, high))
    return len(writer.rows)


def _intensity(unit: str, kind: str, low: float, high: float) -> Intensity:
    if unit == "HU":
        return HOUNSFIELD
    return Intensity("relative", 0, 255) if kind == "uint8" else Intensity("relative", low, max(high, low + 1e-6))
