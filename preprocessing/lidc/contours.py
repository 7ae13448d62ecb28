"""From the readers' contours to masks, pixel for pixel as pylidc's `Annotation.boolean_mask` makes them.

A contour runs through the pixels just outside the nodule, so its own points are not part of the mask. Pixels inside are
found by the crossing test that matplotlib's `Path.contains_points` makes (E. Haines, "Point in Polygon Strategies",
Graphics Gems IV, 1994), here for whole scan lines at once and in integers, hence without rounding.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .annotations import Contour, Mark

Box = tuple[slice, slice]


def inside(points: NDArray[np.intp], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels [rows, columns] of a plane of `shape` that lie within the closed polygon through `points` [P, 2].

    All points must lie in the plane. Pixels exactly on a side fall as they do in matplotlib: inside below, outside above.
    """
    ahead = np.roll(points, -1, axis=0)
    rise = ahead[:, 1] - points[:, 1]
    crossed = np.abs(rise)  # a side between columns a < b crosses the columns a + 1 ... b
    side = np.repeat(np.arange(len(points)), crossed)
    step = np.arange(len(side)) - np.repeat(np.cumsum(crossed) - crossed, crossed) + 1
    column = np.minimum(points[:, 1], ahead[:, 1])[side] + step
    # The last row whose pixel sees the side at or beyond it: floor of the crossing where the side ascends,
    # one below its ceiling where the side descends.
    drop, rise = (ahead[:, 0] - points[:, 0])[side], rise[side]
    along = drop * (column - points[side, 1])
    last = points[side, 0] + np.where(rise > 0, along // rise, -(-along // rise) - 1)
    seen = last >= 0
    toggles = np.bincount(last[seen] * shape[1] + column[seen], minlength=shape[0] * shape[1]).reshape(shape)
    return np.cumsum(toggles[::-1], axis=0)[::-1] % 2 == 1


def bounding_box(contours: Iterable[Contour]) -> Box:
    """The smallest box of pixels (rows, columns) that holds every point of the contours."""
    points = np.vstack([contour.points for contour in contours])
    low, high = points.min(0), points.max(0) + 1
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))


def contours_mask(contours: Iterable[Contour], box: Box) -> NDArray[np.bool_]:
    """The mask, within `box`, that a mark's contours on one slice enclose: the inclusions, then less the exclusions.

    `box` must hold every contour, as `bounding_box` of them does.
    """
    shape = (box[0].stop - box[0].start, box[1].stop - box[1].start)
    mask = np.zeros(shape, bool)
    for contour in sorted(contours, key=lambda contour: not contour.inclusion):
        points = contour.points - [box[0].start, box[1].start]
        if contour.inclusion:
            mask |= inside(points, shape)
        else:
            mask &= ~inside(points, shape)
        mask[tuple(points.T)] = False
    return mask


def mark_volume(mark: Mark, box: Box) -> dict[float, NDArray[np.bool_]]:
    """The masks of a mark within `box`, by their slices' z in mm."""
    heights = sorted({contour.z_mm for contour in mark.contours})
    return {z: contours_mask([line for line in mark.contours if line.z_mm == z], box) for z in heights}
