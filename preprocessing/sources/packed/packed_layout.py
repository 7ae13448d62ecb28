"""Crops as image files in folders, by a user's patterns or by one of the layouts that many have (see `layout`).

Images and masks may be PNG, JPEG, TIFF, BMP or NIfTI of one slice. A mask in JPEG is what is at least half white.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...counted import counted
from ...errors import DataError, UsageError
from ...lidc.lidc_store import ATTRIBUTION
from ...names import NIFTI, has_suffix
from ...scans.formats.nifti_volume import read_volumes
from ...store.splits import split_name
from ...store.store_crop import Crop
from .crop_values import image_values, label_values
from .layout import Found, Layout, Matches, compiled, files_below, fits, layout_of, match
from .lidc_identity import PATIENT, published_note
from .pack import Pack, PackSettings, check_values
from .packed_png import image_pixels, mask_pixels
from .seats import seats_for

HPU_PUBLISHED = 12_816  # crops of HPU-Net's authors: 8,843, 1,993 and 1,980
_HEIGHT = re.compile(r"z(-?\d+(?:\.\d+)?)(?![^_])")  # of a slice's name in HPU-Net's layout
CHANNELS = 8  # at most, of a NIfTI whose masks have one slice
_KNOWN = {
    "HPU-Net's layout": (r"images/{patient}/{slice}.png", r"gt/{patient}/{slice}_l{reader:[0-9]+}.png"),
    "CIMD's layout": (r"{case}/image_*.jp*g", r"{case}/label{reader:[0-9]+}_*.jp*g"),
    "QUBIQ's layout": (r"{case}/image.nii*", r"{case}/task{task:[0-9]+}_seg{reader:[0-9]+}.nii*"),
}


def known_layouts(tops: Sequence[Path]) -> list[Layout]:
    """The layouts of which there are images and masks in a folder."""
    layouts = [
        Layout(name, compiled(image, split_first=True), compiled(mask, split_first=True))
        for name, (image, mask) in _KNOWN.items()
    ]
    places = [files_below(top) for top in tops]
    return [layout for layout in layouts if any(fits(layout, each) for each in places)]


def layout_pack(
    tops: Sequence[Path], settings: PackSettings, name: str, splits: Mapping[Path, str], layout: Layout | None = None
) -> Pack:
    """The crops of a layout, or of the settings' patterns; `splits` has the folders that name a split."""
    found = match(layout or layout_of(settings.layout), {top: files_below(top) for top in tops})
    own = [_split(each, splits) for each in found.images]
    patients, notes = _patients(found.images, own, settings.patient_pattern)
    is_lidc = any(PATIENT.fullmatch(patient) for patient in patients)
    if is_lidc and layout is not None and layout.name.startswith("HPU"):
        notes.append(published_note(patients, name, HPU_PUBLISHED))

    def crops() -> Iterator[Crop]:
        for each, patient in zip(found.images, patients, strict=True):
            yield _crop(each, patient, settings)

    return Pack(
        name=name,
        source=f"packed crops ({layout.name if layout else 'image files'})",
        patients=patients,
        crops=crops,
        notes=notes + _left_out(found),
        attribution=ATTRIBUTION if is_lidc else "",
        readers=seats_for([("An image", found.readers)]),
        numbered=layout is not None,
        splits=[split for split in own if split] if None not in own and len(set(own)) > 1 else [],
    )


def _split(found: Found, splits: Mapping[Path, str]) -> str | None:
    if "split" in found.fields:
        return split_name(re.split("[-_]", found.fields["split"])[-1])
    return next((splits[folder] for folder in found.file.parents if folder in splits), None)


def _patients(
    images: Sequence[Found], splits: Sequence[str | None], pattern: str | None
) -> tuple[list[str], list[str]]:
    """The patient of every image, and notes for the user."""
    if pattern is not None:
        return [_by_pattern(each, pattern) for each in images], []
    named = [each.fields.get("patient", "") for each in images]
    alone = sum(not patient for patient in named)
    note = (
        f"The patients of {counted(alone, 'image')} are not given (by {{patient}} in `layout` or by `patient_pattern`): each "
        "case counts as a patient of its own."
    )
    several = len(set(splits)) > 1  # which may hold cases of one name
    names = [
        patient or (f"{split}-{_case(each)}" if several else _case(each))
        for patient, each, split in zip(named, images, splits, strict=True)
    ]
    return names, [note] * bool(alone)


def _by_pattern(found: Found, pattern: str) -> str:
    place = found.file.relative_to(found.top).as_posix()
    try:
        hit = re.search(pattern, place)
    except re.error as error:
        raise UsageError(f"`patient_pattern` {pattern!r} is no regular expression ({error}): correct it.") from error
    if hit is None:
        raise DataError(f"`patient_pattern` {pattern!r} finds no patient in {place}: correct one of them.")
    return str(hit[1] if hit.re.groups else hit[0])


def _case(found: Found) -> str:
    """The case's name, or else the image's place."""
    return found.fields.get("case") or found.file.relative_to(found.top).as_posix()


def _left_out(found: Matches) -> list[str]:
    said = (
        (found.without_mask, "image", "no mask"),
        (found.without_image, "mask", "no image"),
    )
    notes = [
        f"Left out: {counted(len(places), what)} for which there is {lacking}, such as {places[0]}."
        for places, what, lacking in said
        if places
    ]
    missing = sum(mask is None for each in found.images for mask in each.masks)
    if missing:
        notes.append(f"{missing:,} mask files are not there: those readers count as absent for those images.")
    return notes


def _crop(found: Found, patient: str, settings: PackSettings) -> Crop:
    image = _channels(found.file)
    masks = [None if mask is None else _labels(mask, image, found.file, settings) for mask in found.masks]
    check_values(image, str(found.file), settings)
    text = found.fields.get("slice", "")
    numbers, height = re.findall(r"\d+", text), _HEIGHT.match(text)
    z_mm = found.fields.get("z") or (height and height[1])
    return Crop(
        image=image_values(image, settings.intensity),
        masks=np.stack([np.zeros(image.shape[1:], np.uint8) if mask is None else mask for mask in masks]),
        patient=patient,
        case=found.fields.get("case") or patient,
        present=np.array([mask is not None for mask in masks]),
        lesion=found.fields.get("lesion", ""),
        slice=int(numbers[-1][:9]) if numbers else 0,
        z_mm=float(z_mm) if z_mm else None,
        provenance={"file": found.file.relative_to(found.top).as_posix()},
    )


def _channels(path: Path) -> NDArray[np.generic]:
    """The pixels [C, H, W] of an image."""
    if not has_suffix(path, NIFTI):
        return image_pixels(path)
    planes = np.concatenate([volume.array for volume in read_volumes(path)])
    if len(planes) > CHANNELS:
        raise DataError(f"{path} has {len(planes)} slices: expected an image of one; use `ambiseg preprocess nifti`.")
    return planes


def _labels(path: Path, image: NDArray[np.generic], of: Path, settings: PackSettings) -> NDArray[np.uint8]:
    classes, size = len(settings.class_names), image.shape[1:]
    if not has_suffix(path, NIFTI):
        return mask_pixels(path, classes, size)
    planes = np.concatenate([volume.array for volume in read_volumes(path)])
    if planes.shape != (1, *size):
        raise DataError(
            f"{path} has the shape {list(planes.shape)}, {of.name} {list(image.shape)}: expected a mask of it."
        )
    return label_values(planes[0], classes, str(path))
