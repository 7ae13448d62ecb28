"""Distance between the outlines of two masks, in mm.

The surface of a mask is its pixels that touch, side to side, a pixel outside it or the image's edge. The mean symmetric
surface distance is the mean, over all surface pixels of both masks, of the distance to the nearest surface pixel of the
other (average symmetric surface distance; Heimann et al. 2009). Several foreground classes count as one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .summary import NAN


def mean_surface_distance_mm(mask: NDArray, others: NDArray, spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Mean symmetric surface distance of a mask to each of several others.

    Args:
        mask: [H, W] or [Z, Y, X]; any non-zero label counts as foreground.
        others: masks [N, ...] of the same shape.
        spacing_mm: size of a pixel or voxel along each axis, in mm.

    Returns:
        Distances in mm [N]; nan where one of the two masks is empty.

    Example:
        >>> line = np.eye(5, dtype=np.uint8)[2:3]
        >>> mean_surface_distance_mm(line, np.eye(5, dtype=np.uint8)[None, 4:5], (1.0, 0.7)).round(3).tolist()
        [1.4]
    """
    found = np.full(len(others), NAN)
    own = mask != 0
    for number, other in enumerate(others != 0):
        if own.any() and other.any():
            found[number] = _distance_mm(*_cropped(own, other), spacing_mm)
    return found


def _cropped(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Both masks, cropped to the box that holds them: all of their surfaces lie in it."""
    (box,) = ndimage.find_objects((a | b).astype(np.int8))
    return a[box], b[box]


def _distance_mm(a: NDArray[np.bool_], b: NDArray[np.bool_], spacing_mm: Sequence[float]) -> float:
    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in (a, b)]
    to_a, to_b = (ndimage.distance_transform_edt(~surface, spacing_mm) for surface in surfaces)
    return float(np.concatenate((to_b[surfaces[0]], to_a[surfaces[1]])).mean())
