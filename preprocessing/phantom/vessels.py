"""The lungs' vessels: trees that fork from each hilum outwards, drawn slice by slice."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .shapes import PIXELS, paint, span
from .texture import Plane

FORKS = 8  # generations of a tree
TREES = 8  # trees a lung
FORK = (0.6, 0.6, 0.4)  # how far branches turn along x, y, z: most lie rather flat
BLUR_MM = 1.2  # width of a vessel's edge: slices are thick, small vessels look grey


@dataclass(frozen=True)
class Vessels:
    """Straight tubes with round ends: from `start` to `end` [tubes, 3] (x, y, z), of `radius` [tubes]; all in mm."""

    start: NDArray[np.float32]
    end: NDArray[np.float32]
    radius: NDArray[np.float32]


def grow_vessels(unit_mm: float, low_mm: float, high_mm: float, rng: np.random.Generator) -> Vessels:
    """Vessels of a chest whose field of view has the radius `unit_mm`, and whose scan reaches from `low_mm` to `high_mm`.

    At each fork a vessel of radius r gives two of about .79 r, so that the cross-sections add up (Murray's law).
    """
    tall = high_mm - low_mm
    side = np.repeat([-1.0, 1.0], TREES)
    start = np.column_stack([side * 0.16 * unit_mm, np.full(2 * TREES, 0.04 * unit_mm), np.full(2 * TREES, 0.0)])
    start[:, 2] = low_mm + tall * rng.uniform(0.42, 0.6, 2 * TREES)
    way = rng.normal(size=(2 * TREES, 3)) * [0.5, 1.0, 1.0] + np.column_stack([side, 0 * side, 0 * side])
    radius, length = rng.uniform(2.4, 3.8, 2 * TREES), np.full(2 * TREES, 0.17 * unit_mm)
    tubes = []
    for _ in range(FORKS):
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        end = start + way * length[:, None]
        tubes.append((start, end, radius))
        start, way = np.repeat(end, 2, 0), np.repeat(way, 2, 0) + rng.normal(scale=FORK, size=(2 * len(end), 3))
        radius = np.repeat(radius, 2) * rng.uniform(0.7, 0.86, 2 * len(end))
        length = np.repeat(length, 2) * rng.uniform(0.72, 1.0, 2 * len(end))
    return Vessels(*(np.concatenate(part).astype(np.float32) for part in zip(*tubes, strict=True)))


def draw_vessels(plane: Plane, lung: Plane, vessels: Vessels, z_mm: float, pixel_mm: float, blood: float) -> None:
    """Draw in place what of the vessels lies within a slice and within the lung (`lung`: a share of each pixel)."""
    reach = vessels.radius + BLUR_MM / 2
    start, end = _clip(vessels, z_mm, reach)
    middle = (PIXELS - 1) / 2
    low = (np.minimum(start, end) - reach[:, None]) / pixel_mm + middle
    high = (np.maximum(start, end) + reach[:, None]) / pixel_mm + middle
    crosses = np.flatnonzero(
        (np.abs(start[:, 2] - z_mm) < 1.01 * reach) & (low[:, :2] < PIXELS).all(1) & (high[:, :2] > 0).all(1)
    )
    for tube in crosses:
        here = span(low[tube, 1], high[tube, 1]), span(low[tube, 0], high[tube, 0])
        inside = lung[here]
        if inside.size and inside[inside.shape[0] // 2].max() > 0:
            distance = _distance(here, start[tube], end[tube], z_mm, pixel_mm)
            share = np.clip((vessels.radius[tube] - distance) / BLUR_MM + 0.5, 0, 1)
            paint(plane[here], share * inside, min(blood, 40 + 60 * float(vessels.radius[tube])))


def _clip(vessels: Vessels, z_mm: float, reach: Plane) -> tuple[Plane, Plane]:
    """The part [tubes, 3] of each tube that comes within `reach` of the slice; where none does, one of its ends."""
    way = vessels.end - vessels.start
    rise = np.where(np.abs(way[:, 2]) < 1e-6, 1e-6, way[:, 2])
    first, last = (((side * reach + z_mm - vessels.start[:, 2]) / rise).clip(0, 1) for side in (-1, 1))
    return vessels.start + way * first[:, None], vessels.start + way * last[:, None]


def _distance(here: tuple[slice, slice], start: Plane, end: Plane, z_mm: float, pixel_mm: float) -> Plane:
    """Distance in mm of the pixels of a window to a tube's axis."""
    rows, columns = (
        (np.arange(part.start, part.stop, dtype=np.float32) - (PIXELS - 1) / 2) * pixel_mm for part in here
    )
    way = end - start
    x, y, z = columns - start[0], (rows - start[1])[:, None], z_mm - start[2]
    along = ((x * way[0] + z * way[2]) + y * way[1]) / max(float(way @ way), 1e-9)
    along = np.clip(along, 0, 1)
    return np.sqrt((x - along * way[0]) ** 2 + (y - along * way[1]) ** 2 + (z - along * way[2]) ** 2)
