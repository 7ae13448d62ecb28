"""The phantom's lesions: the more of the four readers called a pixel lesion, the more opaque it is.

Where readers agreed, an edge is clear; where they did not, the pixels are as undecided as they were. So what can be
learnt from the image about the readers' disagreement is really in the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..lidc.annotations import READERS, Nodule, ScanRecord
from ..lidc.contours import Box, bounding_box, mark_volume
from ..lidc.readings import readings
from .chest_lungs import Room
from .shapes import PIXELS, paint
from .texture import Plane

BLUR_MM = 0.5
VISIBLE = 0.75  # opacity is this power of the share of readers: what a single reader saw can still be seen
THROUGH = (0.12, 0.76, 0.12)  # what a slice shows of the one below, itself, and the one above
EDGE = 12  # pixels about the contours
DENSITY = ((1, 2, 3, 4, 5), (-500, -390, -230, -80, 35))  # readers' rating of texture, ground glass to solid, and HU
CALCIUM = 330  # HU added where all readers saw calcification
UNCALCIFIED = 6  # the rating that says so


@dataclass(frozen=True)
class Lesion:
    """A lesion in a scan: `opacity` [slices, rows, columns] at the heights `z_mm`, within `box` of the plane.

    `density` is its HU where opacity is one; `calcium` is added to it in the middle.
    """

    z_mm: NDArray[np.float64]
    box: Box
    opacity: NDArray[np.floating]
    density: float
    calcium: float


def make_lesion(scan: ScanRecord, nodule: Nodule) -> Lesion:
    """The lesion that a nodule's marks describe, on the scan's own slices."""
    tight = bounding_box(line for mark in nodule.marks for line in mark.contours)
    rows, columns = (slice(max(part.start - EDGE, 0), min(part.stop + EDGE, PIXELS)) for part in tight)
    drawn = [_nearest(scan.z_mm, line.z_mm) for mark in nodule.marks for line in mark.contours]
    z_mm = scan.z_mm[max(min(drawn) - 1, 0) : max(drawn) + 2]
    ratings = [mark.ratings for mark in nodule.marks]
    calcified = np.mean([rating["calcification"] != UNCALCIFIED for rating in ratings])
    return Lesion(
        z_mm=z_mm,
        box=(rows, columns),
        opacity=_blurred(_agreement(nodule, z_mm, (rows, columns)) ** VISIBLE, scan.pixel_spacing_mm),
        density=float(np.interp(np.mean([rating["texture"] for rating in ratings]), *DENSITY)),
        calcium=CALCIUM * float(calcified),
    )


def _agreement(nodule: Nodule, z_mm: NDArray[np.float64], box: Box) -> NDArray[np.float32]:
    """Share [slices, rows, columns] of the four readers who called a pixel lesion."""
    shape = (len(z_mm), box[0].stop - box[0].start, box[1].stop - box[1].start)
    agreement = np.zeros(shape, np.float32)
    for reading in readings(nodule):
        mask = np.zeros(shape, bool)
        for mark in reading:
            for z, outlined in mark_volume(mark, box).items():
                mask[_nearest(z_mm, z)] |= outlined
        agreement += mask / READERS
    return agreement


def _blurred(opacity: NDArray[np.floating], pixel_mm: float) -> NDArray[np.floating]:
    sigma = BLUR_MM / pixel_mm
    padded = np.pad(gaussian_filter(opacity, (0, sigma, sigma)), ((1, 1), (0, 0), (0, 0)))
    below, here, above = THROUGH
    return below * padded[:-2] + here * padded[1:-1] + above * padded[2:]


def _nearest(z_mm: NDArray[np.float64], z: float) -> int:
    return int(np.abs(z_mm - z).argmin())


def lesion_room(scan: ScanRecord, lesion: Lesion) -> Room:
    """Where the chest must have lung for a lesion to lie in."""
    unit_mm = scan.pixel_spacing_mm * PIXELS / 2
    rows, columns = lesion.box
    v, u = ((part.start + part.stop - 1) / PIXELS - 1 + 1 / PIXELS for part in (rows, columns))
    radius_mm = (max(rows.stop - rows.start, columns.stop - columns.start) / 2 - EDGE) * scan.pixel_spacing_mm
    length = scan.z_mm[-1] - scan.z_mm[0]
    low, high = lesion.z_mm[0], lesion.z_mm[-1]
    half_height = ((high - low) / 2 + 12) / length
    return Room((u, v), float(((low + high) / 2 - scan.z_mm[0]) / length), (radius_mm + 7) / unit_mm, half_height)


def draw_lesions(plane: Plane, tissue: Plane, lesions: Sequence[Lesion], z_mm: float) -> None:
    """Lay the lesions over a slice in place; nothing gets less dense by it. `tissue` [rows, columns]: unit texture."""
    for lesion in lesions:
        slices = np.flatnonzero(np.abs(lesion.z_mm - z_mm) < 1e-3)
        for index in slices:
            opacity, texture = lesion.opacity[index], tissue[lesion.box]
            unsure = opacity * (1 - opacity)
            share = np.clip(opacity + 0.45 * unsure * texture, 0, 1)
            density = lesion.density + 25 * texture + lesion.calcium * opacity**4
            part = plane[lesion.box]
            paint(part, share, np.maximum(density, part))
