"""How large a mask is, in the units of a radiologist's report."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .arrays import AnyArray


@dataclass(frozen=True)
class Size:
    """`volume_mm3` (voxels times a voxel's volume), `area_mm2` (the largest over the axial slices), `long_axis_mm` (the
    longest diameter within one axial slice), `short_axis_mm` (in that slice, the extent at right angles to the longest
    diameter; both as for RECIST 1.1), and in how many `slices` anything is marked.
    """

    volume_mm3: float
    area_mm2: float
    long_axis_mm: float
    short_axis_mm: float
    slices: int


def measure(mask: AnyArray, spacing_mm: tuple[float, float, float]) -> Size:
    """Size of a mask [Z, Y, X] with voxels of `spacing_mm` (z, y, x); any non-zero label counts."""
    marked = mask != 0
    pixels = marked.sum((1, 2))
    z, y, x = spacing_mm
    long_axis, short_axis = max((_axes(plane, (y, x)) for plane in marked[pixels > 0]), default=(0.0, 0.0))
    area = float(pixels.max(initial=0)) * y * x
    return Size(float(pixels.sum()) * z * y * x, area, long_axis, short_axis, int((pixels > 0).sum()))


def _axes(plane: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> tuple[float, float]:
    """Longest distance in mm between the middles of any two pixel edges of a plane [Y, X], and their extent across it."""
    from scipy.spatial import ConvexHull

    pixels = np.argwhere(plane)
    edges = np.array([[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    points = (pixels[:, None] + edges).reshape(-1, 2) * spacing_mm
    corners = points[ConvexHull(points).vertices]
    ways = corners[:, None] - corners
    lengths = np.hypot(*ways.transpose(2, 0, 1))
    y, x = ways[np.unravel_index(lengths.argmax(), lengths.shape)] / lengths.max()
    return float(lengths.max()), float(np.ptp(corners @ [x, -y]))


def cut_off(mask: AnyArray, box: tuple[slice, slice, slice], shape: tuple[int, ...]) -> bool:
    """Whether a mask [Z, Y, X] in a box of a scan of `shape` reaches an end of the box that is not the scan's own.

    In the plane the box's outermost pixels may be covered in part only, so the last two count.
    """
    for axis, margin in enumerate((1, 2, 2)):
        marked = (mask != 0).any(tuple({0, 1, 2} - {axis}))
        low, high = box[axis].start > 0, box[axis].stop < shape[axis]
        if (low and marked[:margin].any()) or (high and marked[-margin:].any()):
            return True
    return False


def at_border(mask: AnyArray, box: tuple[slice, slice, slice], shape: tuple[int, ...]) -> bool:
    """Whether a mask [Z, Y, X] in a box of a scan of `shape` touches the scan's own border, so that the scan may show only
    a part of the lesion; a single slice has no border above and below.
    """
    for axis, count in enumerate(shape):
        marked = np.flatnonzero((mask != 0).any(tuple({0, 1, 2} - {axis}))) + box[axis].start
        if count > 1 and len(marked) and (marked[0] == 0 or marked[-1] == count - 1):
            return True
    return False
