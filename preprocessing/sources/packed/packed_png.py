"""Crops in folders of PNG files: `images/` and `mask-0/`, `mask-1/`, ... with the same file names.

Such folders may lie at the top, or one for every lesion below a folder for every patient
(`PATIENT/nodule-0/images/slice-0.png`), and all of it in folders
`train`, `val` and `test`. A mask is white or 1 (or class labels) on 0. A reader whose file or folder is missing
did not read the image. Patients come from `patients.csv` (columns file, patient) at the top, from a pattern that is
searched in the file's path below the top, or from the patient's folder.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...counted import counted
from ...errors import DataError, InputError, UsageError
from ...names import PNG, has_suffix
from ...scans.formats.raster import PLAIN, read_pixels
from ...store.store_crop import Crop
from ...tables import read_table
from .crop_values import image_values, label_values
from .pack import Pack, PackSettings, named_files, natural
from .seats import names_of

JPEG = (".jpg", ".jpeg")


@dataclass(frozen=True)
class _Picture:
    """One image `file` in the folder `top`, with its readers' mask files, None for an absent reader."""

    top: Path
    file: Path
    masks: tuple[Path | None, ...]
    splits: Mapping[Path, str] = field(default_factory=dict)

    @property
    def split(self) -> str | None:
        """The split that a folder about the image names."""
        return next((self.splits[folder] for folder in self.file.parents if folder in self.splits), None)

    @property
    def name(self) -> str:
        """The patient's folder, or else the file's name, which two splits may share."""
        if self.folders:
            return self.folders[0]
        return f"{self.split}-{self.file.stem}" if self.split else self.file.stem

    @property
    def place(self) -> Path:
        """The path below the top."""
        return self.file.relative_to(self.top)

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders between the top, or a split's folder in it, and `images`: patient, lesion."""
        folders = self.place.parts[:-2]
        return folders[1:] if folders and self.top / folders[0] in self.splits else folders


def png_pack(tops: Sequence[Path], settings: PackSettings, name: str, splits: Mapping[Path, str] | None = None) -> Pack:
    """The crops of all folders in their natural order; `splits` has the folders that name a split, with its name."""
    if settings.intensity == "hu":
        raise UsageError("PNG files hold no numbers below 0, so no HU: leave out the `intensity` hu.")
    readers, pictures = _pictures(tops, splits or {})
    patients, notes = _patients(pictures, settings.patient_pattern)
    missing = sum(mask is None for picture in pictures for mask in picture.masks)
    if missing:
        notes.append(f"{missing} mask files are not there: those readers count as absent for those images.")

    def crops() -> Iterator[Crop]:
        for picture, patient in zip(pictures, patients, strict=True):
            yield _crop(picture, patient, len(settings.class_names))

    found = [picture.split for picture in pictures]
    kept = [split for split in found if split] if len(set(found)) > 1 and None not in found else []
    return Pack(
        name=name,
        source="packed crops (PNG)",
        patients=patients,
        crops=crops,
        notes=notes,
        splits=kept,
        readers=names_of(readers, "mask"),
        numbered=all(reader.removeprefix("mask-").isdigit() for reader in readers),
    )


def image_folders(top: Path) -> list[Path]:
    """All folders called `images` at or below `top`, in their natural order."""
    return sorted((path for path in top.rglob("images") if path.is_dir()), key=lambda path: natural(path.as_posix()))


def _pictures(tops: Sequence[Path], splits: Mapping[Path, str]) -> tuple[list[str], list[_Picture]]:
    """The names of the folders of masks, and the pictures."""
    folders = [(top, images) for top in tops for images in image_folders(top)]
    readers = sorted({mask.name for _, images in folders for mask in images.parent.glob("mask-*")}, key=natural)
    if not readers:
        raise InputError(f"No folder mask-0 beside {folders[0][1]}: expected images/ and mask-0/, mask-1/, ...")
    pictures = []
    for top, images in folders:
        drawn = [_by_name(images.parent / reader) for reader in readers]
        pictures += [
            _Picture(top, file, tuple(masks.get(file.name.lower()) for masks in drawn), splits)
            for file in named_files(images, PNG)
        ]
    if not pictures:
        raise InputError(f"No PNG file in {folders[0][1]}: expected images as .png.")
    return readers, pictures


def _by_name(folder: Path) -> dict[str, Path]:
    """The PNG files of a folder, if there is one, by their names in lower case."""
    return {file.name.lower(): file for file in named_files(folder, PNG)} if folder.is_dir() else {}


def _patients(pictures: Sequence[_Picture], pattern: str | None) -> tuple[list[str], list[str]]:
    """The patient of every picture, and notes for the user."""
    if pattern is not None:
        return [_by_pattern(picture, pattern) for picture in pictures], []
    tables = {top: _table(top / "patients.csv") for top in {picture.top for picture in pictures}}
    patients = [_by_table(picture, tables[picture.top]) for picture in pictures]
    alone = sum(not picture.folders and not tables[picture.top] for picture in pictures)
    note = (
        f"The patients of {counted(alone, 'image')} are not given (by patients.csv or `patient_pattern`): each counts as a "
        "patient of its own."
    )
    return patients, [note] * bool(alone)


def _by_pattern(picture: _Picture, pattern: str) -> str:
    try:
        found = re.search(pattern, picture.place.as_posix())
    except re.error as error:
        raise UsageError(f"`patient_pattern` {pattern!r} is no regular expression: {error}.") from error
    if found is None:
        raise DataError(f"`patient_pattern` {pattern!r} finds no patient in {picture.place}: correct it.")
    return found.group(1) if found.groups() else found.group()


def _by_table(picture: _Picture, table: Mapping[str, str]) -> str:
    if not table:
        return picture.name
    place = picture.place.as_posix()
    patient = table.get(place) or table.get(picture.file.name)
    if not patient:
        raise DataError(f"{picture.top / 'patients.csv'} has no patient for {place}: add a row for it.")
    return patient


def _table(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    table = read_table(path, "a CSV with the columns file,patient").lowered()
    table.need("file", "patient")
    return {row["file"].replace("\\", "/"): row["patient"] for row in table.rows}


def _crop(picture: _Picture, patient: str, classes: int) -> Crop:
    pixels = image_pixels(picture.file)
    size = pixels.shape[1:]
    masks = [np.zeros(size, np.uint8) if mask is None else mask_pixels(mask, classes, size) for mask in picture.masks]
    numbers = re.findall(r"\d+", picture.file.stem)
    return Crop(
        image=image_values(pixels, "relative"),
        masks=np.stack(masks),
        patient=patient,
        case=picture.name,
        present=np.array([mask is not None for mask in picture.masks]),
        lesion="/".join(picture.folders[1:]),
        slice=int(numbers[-1]) if picture.folders and numbers else 0,
    )


def image_pixels(path: Path) -> NDArray:
    """The pixels [C, H, W] of an image, one channel or three."""
    pixels = read_pixels(path, PLAIN, "crop")
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def mask_pixels(path: Path, classes: int, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """The labels [H, W] of a mask of an image of this size; in a JPEG of two classes, what is at least half white."""
    pixels = read_pixels(path, {"LA": "L"}, "mask")
    if pixels.shape != size:
        raise DataError(
            f"{path} has the shape {list(pixels.shape)}, its image {list(size)}: expected one grey mask of it."
        )
    if has_suffix(path, JPEG) and classes == 2:
        return (pixels >= 128).astype(np.uint8)
    return label_values(pixels, classes, str(path))
