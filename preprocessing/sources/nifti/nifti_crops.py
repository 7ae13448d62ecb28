"""One case of NIfTI files: from its image and its readers' masks to crops about its lesions."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...errors import DataError
from ...scans.class_probabilities import Probabilities, crop_probabilities, read_class_probabilities
from ...scans.formats.nifti_volume import read_channels, read_grid, read_volume
from ...store.intensity import HOUNSFIELD
from ...store.store_crop import Crop
from ...volumes.grid import check_same_grid
from ...volumes.hounsfield import check_hu
from ...volumes.planes import crop_labels
from ...volumes.resample import PlaneGrid
from ...volumes.volume import Volume, of_channels
from ..packed.crop_values import Unit, image_values, label_values
from .nifti_cases import NiftiCase

Slices = Literal["any-reader", "all"]
Kind = Literal["auto", "hu", "relative"]


@dataclass(frozen=True)
class NiftiSettings:
    """Crops of `size` x `size` pixels of `spacing_mm`, None for the scan's own pixels.

    A lesion is a connected part (voxels that touch, also by a corner) of what any reader marked; its crops have the centre
    of the box about it, and show all marks that lie in them. With `whole` a case is one crop per slice about the image's
    centre. `slices` "any-reader": the slices on which a reader marked the lesion; "all": every slice of the image.
    `intensity` "auto": see `judged_unit`.
    """

    size: int = 128
    spacing_mm: float | None = None
    slices: Slices = "any-reader"
    whole: bool = False
    class_names: tuple[str, ...] = ("background", "lesion")
    intensity: Kind = "auto"


@dataclass(frozen=True)
class _Place:
    """A lesion's name, the centre (y, x) of its crops in pixels of the image, and their slices."""

    lesion: str
    centre: tuple[float, float]
    slices: list[int]


def case_crops(case: NiftiCase, settings: NiftiSettings) -> list[Crop]:
    """The crops of a case by lesion and slice; none where no reader marked anything and `slices` is not "all".

    `settings.intensity` is a unit here, not "auto".

    Raises `InputError` or `DataError` when a file is missing, damaged, on another grid or holds other labels.
    """
    if not case.images:
        raise DataError("There is no image: expected image.nii.gz in the case's folder, or a path in the column image.")
    if not any(case.masks):
        raise DataError("There is no mask: expected at least one reader's.")
    image, volume = case.images[0], read_image(case)
    if settings.intensity == "hu":
        check_hu(image.name, volume.channels)
    classes = len(settings.class_names)
    masks = np.stack([_labels(mask, image, volume, classes) for mask in case.masks])
    stored = None
    if case.probabilities is not None:
        stored = read_class_probabilities(case.probabilities, image.name, volume, read_grid(image), classes)
    return [
        _crop(case, settings, volume, masks, stored, place, number)
        for place in _places(np.asarray(masks.any(0)), settings)
        for number in place.slices
    ]


def read_image(case: NiftiCase) -> Volume:
    """The image of a case with all of its channels; the case has at least one file.

    Raises `InputError` or `DataError` where a file is missing or damaged, or channels lie on different grids.
    """
    first, *others = case.images
    if not others:
        return read_channels(first)[0]
    volumes = [read_volume(path) for path in case.images]
    for path, volume in zip(others, volumes[1:], strict=True):
        check_same_grid(path.name, volume, first.name, volumes[0])
    return of_channels(np.stack([volume.array for volume in volumes]), volumes[0].affine)


def _labels(path: Path | None, image: Path, volume: Volume, classes: int) -> NDArray[np.uint8]:
    """A reader's labels [Z, Y, X] on the image's grid; an absent reader's are 0."""
    if path is None:
        return np.zeros(volume.array.shape, np.uint8)
    mask = read_volume(path)
    check_same_grid(path.name, mask, image.name, volume)
    return label_values(mask.array, classes, path.name)


def _places(marked: NDArray[np.bool_], settings: NiftiSettings) -> Iterator[_Place]:
    """Where to crop an image of which [Z, Y, X] voxels are marked by any reader."""
    every = list(range(len(marked)))
    if settings.whole:
        _, height, width = marked.shape
        drawn = np.flatnonzero(marked.any((1, 2))).tolist()
        yield _Place("", ((height - 1) / 2, (width - 1) / 2), every if settings.slices == "all" else drawn)
        return
    lesions, _ = ndimage.label(marked, np.ones((3, 3, 3)))
    for number, (z, y, x) in enumerate(ndimage.find_objects(lesions), 1):
        centre = ((y.start + y.stop - 1) / 2, (x.start + x.stop - 1) / 2)
        yield _Place(str(number), centre, every if settings.slices == "all" else every[z])


def _crop(
    case: NiftiCase,
    settings: NiftiSettings,
    volume: Volume,
    masks: NDArray[np.uint8],
    stored: Probabilities | None,
    place: _Place,
    number: int,
) -> Crop:
    _, *spacing = volume.spacing_mm
    y, x = (1.0 if settings.spacing_mm is None else settings.spacing_mm / step for step in spacing)
    grid = PlaneGrid(settings.size, place.centre, (y, x))
    fills = [HOUNSFIELD.low if settings.intensity == "hu" else float(channel.min()) for channel in volume.channels]
    solid = len(volume.array) > 1
    planes = zip(volume.channels[:, number], fills, strict=True)
    image = np.stack([grid.image(plane, fill) for plane, fill in planes])
    unit: Unit = "hu" if settings.intensity == "hu" else "relative"
    return Crop(
        image=image_values(image, unit),
        masks=crop_labels(masks[:, number], grid, len(settings.class_names)),
        class_probabilities=None if stored is None else crop_probabilities(stored[:, number], grid),
        patient=case.patient,
        case=case.name,
        present=np.array([mask is not None for mask in case.masks]),
        lesion=place.lesion,
        slice=number,
        z_mm=round(volume.world((number, *place.centre))[2], 4) if solid else None,
        spacing_mm=(spacing[0], spacing[1]),
        provenance={"centre_y_px": place.centre[0], "centre_x_px": place.centre[1]},
    )
