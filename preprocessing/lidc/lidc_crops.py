"""One scan of LIDC-IDRI: from its DICOM files and its readers' marks to crops about its nodules."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from ..errors import DataError
from ..scans.dicom.dicom_pixels import AIR, read_hounsfield
from ..scans.dicom.series import check_alike, one_image
from ..scans.dicom.series_images import read_slices
from ..scans.dicom.slice_steps import rounding_mm
from ..scans.dicom.slices import SAME_PLACE, Slice
from ..store.intensity import HOUNSFIELD
from ..store.store_crop import Crop
from ..volumes.resample import PlaneGrid, majority
from .annotations import RATINGS, READERS, Mark, Nodule, ScanRecord
from .contours import Box, bounding_box, contours_mask
from .readings import Reading, readings

Slices = Literal["any-reader", "all"]


@dataclass(frozen=True)
class CropSettings:
    """Crops of `size` x `size` pixels of `spacing_mm`.

    `slices` "any-reader": the axial slices on which at least one reader's mask has a pixel; "all": every slice between
    the lowest and the highest contour of the nodule.
    """

    size: int = 180
    spacing_mm: float = 0.5
    slices: Slices = "any-reader"


@dataclass(frozen=True)
class ScanTask:
    """A scan to be cropped: its record, its nodules, its DICOM files, its case name, and where its part goes."""

    scan: ScanRecord
    nodules: tuple[Nodule, ...]
    files: tuple[Path, ...]
    case: str
    settings: CropSettings
    part: Path


@dataclass(frozen=True)
class _Outlined:
    """A nodule with the heights (z, mm) to crop.

    `box` holds all its contours, `empty` counts the slices left out because no outline on them encloses a pixel, and
    `about` is the provenance that its crops share.
    """

    lesion: str
    readers: list[Reading]
    box: Box
    heights: list[float]
    empty: int
    about: dict[str, str]


def scan_crops(task: ScanTask) -> tuple[list[Crop], dict[str, int]]:
    """All crops of a scan, by nodule and z, and notes: whether its pixels are synthetic, and how many slices were left out.

    Raises `DataError` when a slice that is needed is missing, damaged, ambiguous or not axial.
    """
    outlined = [_outlined(nodule, task) for nodule in task.nodules]
    images = _images(task, {z for each in outlined for z in each.heights})
    planes = {z: read_hounsfield(image.elements) for z, image in images.items()}
    crops = [_crop(task, each, z, images[z], planes[z]) for each in outlined for z in each.heights]
    synthetic = any("SYNTHETIC" in image.elements.text("ImageComments") for image in images.values())
    return crops, {"synthetic": int(synthetic), "empty": sum(each.empty for each in outlined)}


def _outlined(nodule: Nodule, task: ScanTask) -> _Outlined:
    lines = [line for mark in nodule.marks for line in mark.contours]
    readers, box = readings(nodule), bounding_box(lines)
    about = _about(readers, task.scan.pixel_spacing_mm)
    drawn = sorted({line.z_mm for line in lines})
    if task.settings.slices == "all":
        z = task.scan.z_mm
        return _Outlined(str(nodule.number), readers, box, z[(z >= drawn[0]) & (z <= drawn[-1])].tolist(), 0, about)
    filled = [z for z in drawn if reader_masks(readers, z, box).any()]
    return _Outlined(str(nodule.number), readers, box, filled, len(drawn) - len(filled), about)


def _about(readers: Sequence[Reading], spacing_mm: float) -> dict[str, str]:
    """Mark ids, diameters and ratings of a nodule: readers separated by `;`, the pieces of one reader by `+`."""
    marks = [mark for reading in readers for mark in reading]
    columns: dict[str, list[object]] = {
        "marks": [mark.id for mark in marks],
        "diameter_mm": [f"{diameter_px(mark) * spacing_mm:.2f}" for mark in marks],
    }
    columns |= {name: [mark.ratings[name] for mark in marks] for name in RATINGS}
    return {name: _by_reader(readers, values) for name, values in columns.items()}


def _by_reader(readers: Sequence[Reading], values: Sequence[object]) -> str:
    following = iter(values)
    return ";".join("+".join(str(next(following)) for _ in reading) for reading in readers)


def diameter_px(mark: Mark) -> float:
    """The largest distance between two points of one contour of the mark, in pixels (as pylidc's `diameter`)."""
    return max(pdist(line.points).max(initial=0) for line in mark.contours)


def reader_masks(readers: Sequence[Reading], z: float, box: Box) -> NDArray[np.bool_]:
    """The readers' masks [4, rows, columns] of a nodule on the slice at `z` mm, within `box`; absent readers' are empty."""
    masks = np.zeros((READERS, box[0].stop - box[0].start, box[1].stop - box[1].start), bool)
    for reader, marks in enumerate(readers):
        for mark in marks:
            masks[reader] |= contours_mask([line for line in mark.contours if line.z_mm == z], box)
    return masks


def _images(task: ScanTask, heights: Set[float]) -> dict[float, Slice]:
    """The images at the given heights, found by ImagePositionPatient; raises `DataError` unless each has just one."""
    if not heights:
        return {}
    slices = read_slices(task.files)
    positions = np.array([each.position_mm for each in slices])
    places, near = positions[:, 2], SAME_PLACE + rounding_mm(positions)[2] / 2
    found = {z: [slices[i] for i in np.flatnonzero(np.abs(places - z) < near)] for z in sorted(heights)}
    missing = [z for z, here in found.items() if not here]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(found)} slices on which readers drew are missing (the first at z = {missing[0]:g} mm; "
            f"{len(slices)} of the scan's {len(task.scan.z_mm)} slices are there): get the series again."
        )
    check_alike([each for here in found.values() for each in here])
    images = {z: one_image(here) for z, here in found.items()}
    _flips(next(iter(images.values())))
    return images


def _flips(image: Slice) -> tuple[int, int]:
    """Steps (y, x) that turn the image's rows towards the back and its columns towards the left; axial images only."""
    along_row, along_column = np.array(image.orientation[:3]), np.array(image.orientation[3:])
    if min(abs(along_row[0]), abs(along_column[1])) < 0.999:
        raise DataError("The slices are not axial (oblique, or another plane): expected a straight axial CT.")
    return int(np.sign(along_column[1])), int(np.sign(along_row[0]))


def _crop(task: ScanTask, outlined: _Outlined, z: float, image: Slice, plane: NDArray[np.int16]) -> Crop:
    """One slice of one nodule on a grid centred on the box about all the nodule's contours, so that its slices stack."""
    settings, box = task.settings, outlined.box
    if box[0].stop > plane.shape[0] or box[1].stop > plane.shape[1]:
        raise DataError(f"The images have {plane.shape[0]} x {plane.shape[1]} pixels, but readers drew beyond them.")
    centre = ((box[0].start + box[0].stop - 1) / 2, (box[1].start + box[1].stop - 1) / 2)
    step = (settings.spacing_mm / image.spacing_mm[0], settings.spacing_mm / image.spacing_mm[1])
    pixels = PlaneGrid(settings.size, centre, step).image(plane, AIR)
    masks = reader_masks(outlined.readers, z, box)
    corner = PlaneGrid(settings.size, (centre[0] - box[0].start, centre[1] - box[1].start), step)
    y, x = _flips(image)
    return Crop(
        image=np.rint(pixels).clip(HOUNSFIELD.low, HOUNSFIELD.high).astype(np.int16)[None, ::y, ::x],
        masks=majority(corner.coverage(masks)).astype(np.uint8)[:, ::y, ::x],
        patient=task.scan.patient,
        case=task.case,
        lesion=outlined.lesion,
        slice=int(np.abs(task.scan.z_mm - z).argmin()),
        z_mm=z,
        spacing_mm=image.spacing_mm,
        provenance={
            "series_uid": task.scan.series_uid,
            "sop_uid": image.sop_uid,
            "centre_y_px": centre[0],
            "centre_x_px": centre[1],
            **outlined.about,
        },
    )
