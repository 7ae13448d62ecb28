"""How large a mask is, in the units of a radiologist's report."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Size:
    """`volume_mm3` (voxels times a voxel's volume), `area_mm2` (the largest over the axial slices), `long_axis_mm` (the
    longest diameter within one axial slice, as for RECIST), and in how many `slices` anything is marked.
    """

    volume_mm3: float
    area_mm2: float
    long_axis_mm: float
    slices: int


def measure(mask: NDArray, spacing_mm: tuple[float, float, float]) -> Size:
    """Size of a mask [Z, Y, X] with voxels of `spacing_mm` (z, y, x); any non-zero label counts."""
    marked = mask != 0
    pixels = marked.sum((1, 2))
    z, y, x = spacing_mm
    long_axis = max((_diameter(plane, (y, x)) for plane in marked[pixels > 0]), default=0.0)
    area = float(pixels.max(initial=0)) * y * x
    return Size(float(pixels.sum()) * z * y * x, area, long_axis, int((pixels > 0).sum()))


def _diameter(plane: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> float:
    """Longest distance in mm between the middles of any two pixel edges of a plane [Y, X]."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    pixels = np.argwhere(plane)
    edges = np.array([[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    points = (pixels[:, None] + edges).reshape(-1, 2) * spacing_mm
    return float(pdist(points[ConvexHull(points).vertices]).max())


def cut_off(mask: NDArray, box: tuple[slice, slice, slice], shape: tuple[int, ...]) -> bool:
    """Whether a mask [Z, Y, X] in a box of a scan of `shape` reaches an end of the box that is not the scan's own.

    In the plane the box's outermost pixels may be covered in part only, so the last two count.
    """
    for axis, margin in enumerate((1, 2, 2)):
        marked = (mask != 0).any(tuple({0, 1, 2} - {axis}))
        low, high = box[axis].start > 0, box[axis].stop < shape[axis]
        if (low and marked[:margin].any()) or (high and marked[-margin:].any()):
            return True
    return False
