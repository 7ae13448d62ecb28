"""The phantom's lesions: as opaque at every pixel as the share of the four readers who called it lesion.

Where readers agreed, an edge is clear; where they did not, the pixels are as undecided as they were. So what can be
learnt from the image about the readers' disagreement is really in the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from .annotations import READERS, Nodule, ScanRecord
from .contours import Box, bounding_box, mark_volume
from .phantom_chest import Room
from .phantom_shapes import PIXELS, paint
from .phantom_texture import Plane
from .readings import readings

BLUR_MM = 0.7
THROUGH = (0.12, 0.76, 0.12)  # what a slice shows of the one below, itself, and the one above
EDGE = 12  # pixels about the contours
DENSITY = ((1, 2, 3, 4, 5), (-560, -430, -260, -90, 35))  # readers' rating of texture, ground glass to solid, and HU
CALCIUM = 330  # HU added where all readers saw calcification
UNCALCIFIED = 6  # the rating that says so


@dataclass(frozen=True)
class Lesion:
    """A lesion in a scan: `opacity` [slices, rows, columns] at the heights `z_mm`, within `box` of the plane.

    `density` is its HU where opacity is one; `calcium` is added to it in the middle.
    """

    z_mm: NDArray[np.float64]
    box: Box
    opacity: NDArray[np.float32]
    density: float
    calcium: float


def make_lesion(scan: ScanRecord, nodule: Nodule) -> Lesion:
    """The lesion that a nodule's marks describe, on the scan's own slices."""
    tight = bounding_box(line for mark in nodule.marks for line in mark.contours)
    rows, columns = (slice(max(part.start - EDGE, 0), min(part.stop + EDGE, PIXELS)) for part in tight)
    drawn = np.array([np.abs(scan.z_mm - line.z_mm).argmin() for mark in nodule.marks for line in mark.contours])
    first, last = max(drawn.min() - 1, 0), min(drawn.max() + 2, len(scan.z_mm))
    opacity = np.zeros((last - first, rows.stop - rows.start, columns.stop - columns.start), np.float32)
    for reading in readings(nodule):
        mask = np.zeros(opacity.shape, bool)
        for mark in reading:
            for z, outlined in mark_volume(mark, (rows, columns)).items():
                mask[np.abs(scan.z_mm[first:last] - z).argmin()] |= outlined
        opacity += mask / np.float32(READERS)
    sigma = BLUR_MM / scan.pixel_spacing_mm
    ends = np.pad(gaussian_filter(opacity, (0, sigma, sigma)), ((1, 1), (0, 0), (0, 0)))
    opacity = sum(np.float32(share) * ends[step : step + last - first] for step, share in enumerate(THROUGH))
    ratings = [mark.ratings for mark in nodule.marks]
    calcified = np.mean([rating["calcification"] != UNCALCIFIED for rating in ratings])
    density = np.interp(np.mean([rating["texture"] for rating in ratings]), *DENSITY)
    return Lesion(scan.z_mm[first:last], (rows, columns), opacity, float(density), CALCIUM * float(calcified))


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
            share = np.clip(opacity + np.float32(0.45) * unsure * texture, 0, 1)
            density = lesion.density + 25 * texture + lesion.calcium * opacity**4
            part = plane[lesion.box]
            paint(part, share, np.maximum(density, part))
