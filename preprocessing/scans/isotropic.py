"""A part of a scan on a grid with the same step along all axes."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .resample import linear_weights
from .volume import Volume
from .voxel_size import check_points, check_voxel_size

Box = tuple[slice, ...]

MOST_POINTS = 250_000_000  # of a grid: 1 GB of float32, more than the largest chests need at 1 mm


@dataclass(frozen=True)
class Isotropic:
    """HU `array` [Z, Y, X] (float32) on a grid of `step_mm`, and the voxels `positions` (z, y, x) of the scan at its points.

    The grid's points lie on multiples of `step_mm` from the scan's centre, so that a flipped scan gives a flipped copy.
    """

    array: NDArray[np.float32]
    positions: tuple[NDArray[np.float64], ...]
    step_mm: float

    def nearest(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask of the scan's voxels on the grid."""
        return mask[np.ix_(*(np.rint(axis).astype(np.intp) for axis in self.positions))]

    def voxels(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points [N, 3] of the grid, fractional indices (z, y, x), in fractional voxels of the scan."""
        axes = zip(points.T, self.positions, strict=True)
        return np.column_stack([np.interp(point, np.arange(len(axis)), axis) for point, axis in axes])


def isotropic(
    volume: Volume, box: Box, step_mm: float, *, margin: int, multiple: int, window: tuple[float, float]
) -> Isotropic:
    """The part `box` of a scan, clipped to `window` (HU), with `margin` grid points more on either side.

    A side has a `multiple` of intervals. Beyond the scan its border is repeated. Interpolation is linear, and smooths where
    the scan's own voxels are smaller than the step. Raises DataError, before any work, for voxels or a part whose size
    cannot be meant.
    """
    check_voxel_size(volume)
    ends = [
        _ends(side, count, spacing / step_mm, margin, multiple)
        for side, count, spacing in zip(box, volume.array.shape, volume.spacing_mm, strict=True)
    ]
    depth, height, width = (last - first + 1 for first, last in ends)
    check_points((max(depth, volume.array.shape[0]), height, width), MOST_POINTS, step_mm)  # all slices come first
    axes = [
        _positions(first, last, count, spacing / step_mm)
        for (first, last), count, spacing in zip(ends, volume.array.shape, volume.spacing_mm, strict=True)
    ]
    seen = [slice(max(int(axis[0]) - 4, 0), int(axis[-1]) + 6) for axis in axes]
    part = volume.array[tuple(seen)]
    along, rows, columns = (
        _weights(part.shape[axis], axes[axis] - seen[axis].start, step_mm / volume.spacing_mm[axis])
        for axis in range(3)
    )
    planes = np.empty((len(part), len(rows), len(columns)), np.float32)
    for plane, slice_ in zip(planes, part, strict=True):
        plane[:] = rows @ np.clip(slice_, *window).astype(np.float32) @ columns.T
    return Isotropic(np.tensordot(along, planes, 1), tuple(axes), step_mm)


def _ends(side: slice, count: int, steps: float, margin: int, multiple: int) -> tuple[int, int]:
    """First and last grid point along an axis with `steps` grid steps a voxel, both multiples, from the axis' centre on."""
    centre = (count - 1) / 2
    first = math.floor(((side.start - centre) * steps - margin) / multiple) * multiple
    last = math.ceil(((side.stop - 1 - centre) * steps + margin) / multiple) * multiple
    return first, last


def _positions(first: int, last: int, count: int, steps: float) -> NDArray[np.float64]:
    """Voxel positions of the grid points from `first` to `last` along an axis."""
    centre = (count - 1) / 2
    return np.clip(np.arange(first, last + 1) / steps + centre, 0, count - 1)


def _weights(count: int, centres: NDArray[np.float64], step: float) -> NDArray[np.float32]:
    weights = linear_weights(count, centres, step)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
