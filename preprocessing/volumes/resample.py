"""Resampling: one axis as a matrix, crops of planes as two matrix products, a part of a scan on an isotropic grid.

Positions are in pixels of the input, pixel i being the interval [i - 1/2, i + 1/2] about its centre i.
Images are interpolated linearly (and smoothed by a triangle as wide as the output's pixel when that is the wider one);
masks are averaged over the output pixel's area, so that thresholding at one half keeps a region's area.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .volume import Volume, check_points, check_voxel_size

Box = tuple[slice, ...]
MOST_POINTS = 250_000_000  # of a grid: 1 GB of float32, more than the largest chests need at 1 mm
Weights = NDArray[np.float64]
TIE = 1e-5  # rounding must not decide a pixel that is exactly half covered


def linear_weights(count: int, centres: NDArray[np.float64], step: float) -> Weights:
    """Weights [outputs, count] of linear interpolation at `centres` (input pixels), `step` apart."""
    width = max(step, 1.0)
    distance = np.abs(centres[:, None] - np.arange(count)[None])
    weights: Weights = np.clip(1 - distance / width, 0, None)
    reach = np.arange(np.floor(centres.min()) - np.ceil(width), np.ceil(centres.max()) + np.ceil(width) + 1)
    total: Weights = np.clip(1 - np.abs(centres[:, None] - reach[None]) / width, 0, None).sum(1, keepdims=True)
    return weights / total  # rows that reach over the border sum to less than one: the rest is the fill value


def area_weights(count: int, centres: NDArray[np.float64], step: float) -> Weights:
    """Weights [outputs, count]: the share of output pixel [c - step/2, c + step/2] that each input pixel covers."""
    low = np.maximum(centres[:, None] - step / 2, np.arange(count)[None] - 0.5)
    high = np.minimum(centres[:, None] + step / 2, np.arange(count)[None] + 0.5)
    shares: Weights = np.clip(high - low, 0, None) / step
    return shares


@dataclass(frozen=True)
class PlaneGrid:
    """A square grid of `size` x `size` pixels laid over a plane of another spacing.

    `centre` (y, x) is the grid's centre and `step` (y, x) its pixel size, both in pixels of the plane.
    """

    size: int
    centre: tuple[float, float]
    step: tuple[float, float]

    def positions(self, axis: int) -> NDArray[np.float64]:
        """Centres [size] of the grid's pixels along `axis` (0: y, 1: x), in pixels of the plane."""
        return self.centre[axis] + (np.arange(self.size, dtype=np.float64) - (self.size - 1) / 2) * self.step[axis]

    def image(self, plane: NDArray[Any], fill: float) -> NDArray[np.float32]:
        """The plane [..., Y, X] on the grid [..., size, size], linear, `fill` outside."""
        (rows, high), (columns, wide) = (
            _without_zeros(linear_weights(plane.shape[axis - 2], self.positions(axis), self.step[axis]))
            for axis in (0, 1)
        )
        seen = plane[..., high, wide].astype(np.float32)
        return rows @ (seen - np.float32(fill)) @ columns.T + np.float32(fill)

    def coverage(self, mask: NDArray[Any]) -> NDArray[np.float32]:
        """Share [..., size, size] of each grid pixel's area that lies in the mask [..., Y, X]; nothing lies outside."""
        rows, columns = (
            area_weights(mask.shape[axis - 2], self.positions(axis), self.step[axis]).astype(np.float32)
            for axis in (0, 1)
        )
        return rows @ mask.astype(np.float32) @ columns.T

    def coverage_back(self, mask: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.float32]:
        """Share [..., Y, X] of each pixel of the plane of `shape` that lies in a mask [..., size, size] on the grid."""
        rows, columns = (self._back(axis, shape[axis]) for axis in (0, 1))
        return rows @ mask.astype(np.float32) @ columns.T

    def _back(self, axis: int, count: int) -> NDArray[np.float32]:
        centres = (np.arange(count, dtype=np.float64) - self.centre[axis]) / self.step[axis] + (self.size - 1) / 2
        return area_weights(self.size, centres, 1 / self.step[axis]).astype(np.float32)


def _without_zeros(weights: Weights) -> tuple[NDArray[np.float32], slice]:
    """The weights [outputs, seen] of the inputs that any output sees, and which inputs these are: a crop sees little of a
    plane.
    """
    seen = np.flatnonzero(weights.any(0))
    part = slice(seen[0], seen[-1] + 1) if len(seen) else slice(0)
    return weights[:, part].astype(np.float32), part


def majority(coverage: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The pixels at least half covered."""
    return coverage >= 0.5 - TIE


def most_covering(coverage: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The label (uint8) that covers most of each pixel, from the foreground classes' shares [K - 1, ...]; 0 where the
    background covers more than any of them. For two classes this is `majority`.
    """
    if len(coverage) == 1:
        return np.asarray(coverage[0] >= 1 - coverage[0] - 2 * TIE, np.uint8)
    background = 1 - coverage.sum(0)
    return np.where(coverage.max(0) < background - 2 * TIE, 0, coverage.argmax(0) + 1).astype(np.uint8)


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
    the scan's own voxels are smaller than the step. Raises DataError, before any work, for voxels or a part of a size that
    no scan has.
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
    """First and last grid point along an axis with `steps` grid steps per voxel, both multiples, from the axis' centre on."""
    centre = (count - 1) / 2
    first = math.floor(((side.start - centre) * steps - margin) / multiple) * multiple
    last = math.ceil(((side.stop - 1 - centre) * steps + margin) / multiple) * multiple
    return first, last


def _positions(first: int, last: int, count: int, steps: float) -> NDArray[np.float64]:
    """Voxel positions of the grid points from `first` to `last` along an axis."""
    centre = (count - 1) / 2
    found: NDArray[np.float64] = np.clip(np.arange(first, last + 1) / steps + centre, 0, count - 1)
    return found


def _weights(count: int, centres: NDArray[np.float64], step: float) -> NDArray[np.float32]:
    weights = linear_weights(count, centres, step)
    totals: Weights = weights.sum(1, keepdims=True)
    return (weights / totals).astype(np.float32)
