"""The size of a mask, in the units of a radiologist's report."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .arrays import AnyArray

Length = Literal["mm", "px"]  # the unit of lengths; px: pixels, where their size is not known


@dataclass(frozen=True)
class Size:
    """The size of a mask.

    Attributes:
        volume_mm3: voxels times the volume of a voxel.
        area_mm2: the largest area in an axial slice.
        long_axis_mm: the longest diameter within one axial slice, as for RECIST 1.1.
        short_axis_mm: the extent at right angles to it in that slice, as for RECIST 1.1.
        slices: how many axial slices the mask reaches.
    """

    volume_mm3: float
    area_mm2: float
    long_axis_mm: float
    short_axis_mm: float
    slices: int


def measure(mask: AnyArray, spacing_mm: tuple[float, float, float]) -> Size:
    """Measure a mask.

    Args:
        mask: [Z, Y, X]; any non-zero label counts.
        spacing_mm: size of a voxel along z, y and x, in mm.

    Example:
        >>> measure(np.ones((1, 2, 3)), (2.0, 1.0, 1.0)).volume_mm3
        12.0
    """
    return measure_all(mask[None], spacing_mm)[0]


def measure_all(masks: AnyArray, spacing_mm: tuple[float, float, float]) -> list[Size]:
    """Measure masks [S, Z, Y, X] of one region, as `measure` does; slices that several have in common are measured once."""
    z, y, x = spacing_mm
    marked = np.ascontiguousarray(masks != 0)
    pixels = marked.sum((2, 3))
    bounds = _diagonals(marked, (y, x))
    known: dict[bytes, tuple[float, float]] = {}
    found = []
    for mask, counts, longest in zip(marked, pixels, bounds, strict=True):
        axes = (0.0, 0.0)
        for number in np.argsort(-longest, kind="stable"):
            if longest[number] < axes[0] or not counts[number]:
                break  # no later slice can be longer
            key = mask[number].tobytes()
            if key not in known:
                known[key] = _axes(mask[number], (y, x))
            axes = max(axes, known[key])
        volume, area = float(counts.sum()) * z * y * x, float(counts.max(initial=0)) * y * x
        found.append(Size(volume, area, *axes, int((counts > 0).sum())))
    return found


def _diagonals(marked: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> NDArray[np.float64]:
    """Of each slice of masks [S, Z, Y, X], the diagonal of the rectangle around what is marked [S, Z], in mm; 0 of nothing."""
    sides = []
    for axis, step in zip((2, 3), spacing_mm, strict=True):
        any_marked: NDArray[np.bool_] = np.asarray(marked.any(5 - axis))
        first, last = any_marked.argmax(2), any_marked.shape[2] - any_marked[..., ::-1].argmax(2)
        sides.append(np.where(any_marked.any(2), last - first, 0) * step)
    return np.hypot(*sides)


def _axes(plane: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> tuple[float, float]:
    """Longest distance in mm between the midpoints of any two pixel edges of a plane [Y, X], and their extent across it."""
    from scipy.spatial import ConvexHull

    pixels = _ends(plane)
    edges = np.array([[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    points = (pixels[:, None] + edges).reshape(-1, 2) * spacing_mm
    corners = points[ConvexHull(points).vertices]
    ways = corners[:, None] - corners
    lengths = np.hypot(*ways.transpose(2, 0, 1))
    y, x = ways[np.unravel_index(lengths.argmax(), lengths.shape)] / lengths.max()
    return float(lengths.max()), float(np.ptp(corners @ [x, -y]))


def _ends(plane: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The first and the last marked pixel of each row of a plane [Y, X], as (y, x): all that its convex hull depends on."""
    rows = np.flatnonzero(plane.any(1))
    first, last = plane[rows].argmax(1), plane.shape[1] - 1 - plane[rows, ::-1].argmax(1)
    return np.stack((np.repeat(rows, 2), np.stack((first, last), 1).ravel()), 1)


def cut_off(mask: AnyArray, box: tuple[slice, slice, slice], shape: tuple[int, ...]) -> bool:
    """Whether a mask [Z, Y, X] in a box of a scan of `shape` reaches an end of the box that is not an end of the scan."""
    return any((mask != 0).take(margin, axis).any() for axis, margin in outermost(box, shape))


def outermost(box: tuple[slice, slice, slice], shape: tuple[int, ...]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """The axis (0: z) and indices of the outermost voxels at each end of a box that is not an end of the scan of `shape`.

    Within a slice the outermost pixels of the box may be covered only in part, so the last two count.
    """
    for axis, margin in enumerate((1, 2, 2)):
        along = np.arange(box[axis].stop - box[axis].start)
        if box[axis].start > 0:
            yield axis, along[:margin]
        if box[axis].stop < shape[axis]:
            yield axis, along[-margin:]


def at_border(mask: AnyArray, box: tuple[slice, slice, slice], shape: tuple[int, ...]) -> bool:
    """Whether a mask [Z, Y, X] in a box of a scan of `shape` touches the scan's own border, so that the scan may show only
    a part of the lesion. A single slice has no border above or below.
    """
    for axis, count in enumerate(shape):
        marked = np.flatnonzero((mask != 0).any(tuple({0, 1, 2} - {axis}))) + box[axis].start
        if count > 1 and len(marked) and (marked[0] == 0 or marked[-1] == count - 1):
            return True
    return False
