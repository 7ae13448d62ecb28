"""Resampling along one axis as a matrix, and crops of planes as two matrix products.

Positions are in pixels of the input, pixel i being the interval [i - 1/2, i + 1/2] about its centre i.
Images are interpolated linearly (and smoothed by a triangle as wide as the output's pixel when that is the wider one);
masks are averaged over the output pixel's area, so that thresholding at one half keeps a region's area.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]
TIE = 1e-5  # rounding must not decide a pixel that is exactly half covered


def linear_weights(count: int, centres: NDArray[np.float64], step: float) -> Weights:
    """Weights [outputs, count] of linear interpolation at `centres` (input pixels), `step` apart."""
    width = max(step, 1.0)
    distance = np.abs(centres[:, None] - np.arange(count)[None])
    weights = np.clip(1 - distance / width, 0, None)
    reach = np.arange(np.floor(centres.min()) - np.ceil(width), np.ceil(centres.max()) + np.ceil(width) + 1)
    total = np.clip(1 - np.abs(centres[:, None] - reach[None]) / width, 0, None).sum(1, keepdims=True)
    return weights / total  # rows that reach over the border sum to less than one: the rest is the fill value


def area_weights(count: int, centres: NDArray[np.float64], step: float) -> Weights:
    """Weights [outputs, count]: the share of output pixel [c - step/2, c + step/2] that each input pixel covers."""
    low = np.maximum(centres[:, None] - step / 2, np.arange(count)[None] - 0.5)
    high = np.minimum(centres[:, None] + step / 2, np.arange(count)[None] + 0.5)
    return np.clip(high - low, 0, None) / step


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

    def image(self, plane: NDArray, fill: float) -> NDArray[np.float32]:
        """The plane [..., Y, X] on the grid [..., size, size], linear, `fill` outside."""
        rows, columns = (
            linear_weights(plane.shape[axis - 2], self.positions(axis), self.step[axis]).astype(np.float32)
            for axis in (0, 1)
        )
        return rows @ (plane.astype(np.float32) - np.float32(fill)) @ columns.T + np.float32(fill)

    def coverage(self, mask: NDArray) -> NDArray[np.float32]:
        """Share [..., size, size] of each grid pixel's area that lies in the mask [..., Y, X]; nothing lies outside."""
        rows, columns = (
            area_weights(mask.shape[axis - 2], self.positions(axis), self.step[axis]).astype(np.float32)
            for axis in (0, 1)
        )
        return rows @ mask.astype(np.float32) @ columns.T

    def coverage_back(self, mask: NDArray, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Share [..., Y, X] of each pixel of the plane of `shape` that lies in a mask [..., size, size] on the grid."""
        rows, columns = (self._back(axis, shape[axis]) for axis in (0, 1))
        return rows @ mask.astype(np.float32) @ columns.T

    def _back(self, axis: int, count: int) -> NDArray[np.float32]:
        centres = (np.arange(count, dtype=np.float64) - self.centre[axis]) / self.step[axis] + (self.size - 1) / 2
        return area_weights(self.size, centres, 1 / self.step[axis]).astype(np.float32)


def majority(coverage: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The pixels at least half covered."""
    return coverage >= 0.5 - TIE


def most_covering(coverage: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The label (uint8) that covers most of each pixel, from the foreground classes' shares [K - 1, ...]; 0 where the
    background covers more than any of them. For two classes this is `majority`.
    """
    background = 1 - coverage.sum(0)
    return np.where(coverage.max(0) < background - 2 * TIE, 0, coverage.argmax(0) + 1).astype(np.uint8)
