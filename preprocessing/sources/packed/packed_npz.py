"""Crops in plain npz files.

    images   [N, H, W] or [N, C, H, W]
    masks    [N, R, H, W]  one mask per reader: bool or class labels
    patient, case (or names), lesion, slice   [N], optional
    split    [N], optional: train, val or test
    present  [N, R] bool, optional: which readers read which image; a mask of NaN alone is an absent reader's too
    readers  [R] or [N, R] text or numbers, optional: who drew mask r, of all images or of each; "" for nobody in particular

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
from .seats import check_all_named, seated, seats_for

OWN = {"images", "masks", "patient", "case", "names", "lesion", "slice", "present", *COLUMNS}

Columns = Mapping[str, NDArray]


def npz_pack(paths: Sequence[Path], settings: PackSettings, name: str) -> Pack:
    """The crops of all files, in their order; without a key `patient`, each image is a patient of its own."""
    columns = {path: _columns(path) for path in paths}
    names = {path: [] if settings.readers == "anonymous" else _readers(path) for path in paths}
    check_all_named([bool(one) for one in names.values()], "npz files")
    seats = seats_for((f"{path}, image {row}", one) for path in paths for row, one in enumerate(names[path]))
    if len({"split" in found for found in columns.values()}) > 1:
        raise DataError("Some of the npz files have a key split and others none: give it to all or to none.")
    alone = sum(len(found["case"]) for found in columns.values() if "patient" not in found)

    def crops() -> Iterator[Crop]:
        for path in paths:
            for row, crop in enumerate(_crops(path, columns[path], settings)):
                yield seated(crop, names[path][row], seats) if seats else crop

    splits = [str(split) for found in columns.values() for split in found.get("split", ())]
    return Pack(
        name=name,
        source="packed crops (npz)",
        patients=[_patient(found, row) for found in columns.values() for row in range(len(found["case"]))],
        splits=splits,
        readers=seats,
        crops=crops,
        notes=[f"No key patient for {counted(alone, 'image')}: each counts as a patient of its own in the split."]
        * bool(alone),
    )


def _columns(path: Path) -> dict[str, NDArray]:
    """All arrays [N] of a file, with the key `case` at least, whatever it is called in the file."""
    count = len(_array(path, "images"))
    with load_npz(path) as opened:
        names = [name for name in opened.files if name not in ("images", "masks", "present", "readers")]
    columns = {
        name: array for name in names if (array := _array(path, name)).ndim == 1 and array.dtype.kind in "iufUbS"
    }
    columns |= {name: np.char.decode(array, "utf-8") for name, array in columns.items() if array.dtype.kind == "S"}
    for name, array in columns.items():
        if len(array) != count:
            raise DataError(f"{path}: {name} has {len(array)} entries for {count} images; correct the file.")
    numbers = np.array([f"{name_within(path)}-{number:05d}" for number in range(count)])
    return {"case": columns.get("names", numbers), **columns}


def _readers(path: Path) -> list[list[str | None]]:
    """Who drew each mask of each image: "" for nobody in particular, None for an absent reader; [] where nobody is named."""
    with load_npz(path) as opened:
        if "readers" not in opened.files:
            return []
        has_present = "present" in opened.files
    given, masks = _array(path, "readers"), _array(path, "masks")
    if given.dtype.kind == "S":
        given = np.char.decode(given, "utf-8")
    shape = masks.shape[:2]
    if masks.ndim != 4 or given.dtype.kind not in "iuU" or given.shape not in (shape, shape[1:]):
        raise DataError(
            f"{path}: readers is {given.dtype} of shape {list(given.shape)}; expected texts or whole numbers [R] or [N, R], "
            f"one for each mask of {list(shape)}."
        )
    here = _array(path, "present").astype(bool) if has_present else np.ones(shape, bool)
    if masks.dtype.kind == "f":
        here = here & ~np.isnan(masks).all((2, 3))
    rows = zip(np.broadcast_to(given, shape), np.broadcast_to(here, shape), strict=True)
    return [[str(name).strip() if there else None for name, there in zip(*row, strict=True)] for row in rows]


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
