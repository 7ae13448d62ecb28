"""Crops in plain npz files.

    images   [N, H, W] or [N, C, H, W]
    masks    [N, R, H, W]  one mask per reader: bool or class labels
    patient, case (or names), lesion, slice   [N], optional
    split    [N], optional: train, val or test
    present  [N, R] bool, optional: which readers read which image; a mask of NaN alone is an absent reader's too

Other arrays [N] of text or numbers go into the store's index under their own names.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...archive import BROKEN_ARRAY
from ...counted import counted
from ...errors import DataError, InputError
from ...store.store_crop import Crop
from ...store.store_index import COLUMNS
from ...volumes.hounsfield import check_hu
from .crop_values import image_values, mask_values
from .pack import Pack, PackSettings, broken_npz, check_values, load_npz, name_within

OWN = {"images", "masks", "patient", "case", "names", "lesion", "slice", "present", *COLUMNS}

Columns = Mapping[str, NDArray]


def npz_pack(paths: Sequence[Path], settings: PackSettings, name: str) -> Pack:
    """The crops of all files, in their order; without a key `patient`, each image is a patient of its own."""
    columns = {path: _columns(path) for path in paths}
    if len({"split" in found for found in columns.values()}) > 1:
        raise DataError("Some of the npz files have a key split and others none: give it to all or to none.")
    alone = sum(len(found["case"]) for found in columns.values() if "patient" not in found)

    def crops() -> Iterator[Crop]:
        for path in paths:
            yield from _crops(path, columns[path], settings)

    splits = [str(split) for found in columns.values() for split in found.get("split", ())]
    return Pack(
        name=name,
        source="packed crops (npz)",
        patients=[_patient(found, row) for found in columns.values() for row in range(len(found["case"]))],
        splits=splits,
        crops=crops,
        notes=[f"No key patient for {counted(alone, 'image')}: each counts as a patient of its own in the split."]
        * bool(alone),
    )


def _columns(path: Path) -> dict[str, NDArray]:
    """All arrays [N] of a file, with the key `case` at least, whatever it is called in the file."""
    count = len(_array(path, "images"))
    with load_npz(path) as opened:
        names = [name for name in opened.files if name not in ("images", "masks", "present")]
    columns = {
        name: array for name in names if (array := _array(path, name)).ndim == 1 and array.dtype.kind in "iufUbS"
    }
    columns |= {name: np.char.decode(array, "utf-8") for name, array in columns.items() if array.dtype.kind == "S"}
    for name, array in columns.items():
        if len(array) != count:
            raise DataError(f"{path}: {name} has {len(array)} entries for {count} images; correct the file.")
    numbers = np.array([f"{name_within(path)}-{number:05d}" for number in range(count)])
    return {"case": columns.get("names", numbers), **columns}


def _array(path: Path, name: str) -> NDArray:
    """One array of the file."""
    with load_npz(path) as opened:
        if name not in opened.files:
            found = ", ".join(opened.files) or "none"
            raise DataError(f"{path} has no array {name}, only {found}: expected the keys images and masks.")
        try:
            return opened[name]
        except BROKEN_ARRAY as error:
            if "allow_pickle" in str(error):
                raise InputError(
                    f"{path}: {name} holds Python objects, which are not read: save it as an array of numbers or texts."
                ) from error
            raise broken_npz(path) from error


def _patient(columns: Columns, row: int) -> str:
    return str(columns.get("patient", columns["case"])[row]).strip()


def _crops(path: Path, columns: Columns, settings: PackSettings) -> Iterator[Crop]:
    images, masks = _array(path, "images"), _array(path, "masks")
    if images.ndim == 3:
        images = images[:, None]
    _check(path, images, masks, settings)
    with load_npz(path) as opened:
        given = "present" in opened.files
    present = _array(path, "present").astype(bool) if given else np.ones(masks.shape[:2], bool)
    if present.shape != masks.shape[:2]:
        raise DataError(f"{path}: present has shape {list(present.shape)}, expected {list(masks.shape[:2])}.")
    for row, (image, mask) in enumerate(zip(images, masks, strict=True)):
        case = str(columns["case"][row])
        labels, drawn = mask_values(mask, len(settings.class_names), f"A mask of {case} in {path}")
        yield Crop(
            image=image_values(image, settings.intensity),
            masks=labels,
            patient=_patient(columns, row),
            case=case,
            present=present[row] & drawn,
            lesion=str(columns["lesion"][row]) if "lesion" in columns else "",
            slice=int(columns["slice"][row]) if "slice" in columns else 0,
            provenance=_others(columns, row),
        )


def _check(path: Path, images: NDArray, masks: NDArray, settings: PackSettings) -> None:
    if (
        images.ndim != 4
        or masks.ndim != 4
        or (images.shape[0], *images.shape[2:]) != (masks.shape[0], *masks.shape[2:])
    ):
        raise DataError(
            f"{path}: images {list(images.shape)} and masks {list(masks.shape)} do not fit; expected images [N, H, W] or "
            "[N, C, H, W] and masks [N, R, H, W]."
        )
    check_values(images, str(path), settings)
    if settings.intensity == "hu":
        check_hu(str(path), images)


def _others(columns: Columns, row: int) -> dict[str, object]:
    return {name: array[row].item() for name, array in columns.items() if name not in OWN}
