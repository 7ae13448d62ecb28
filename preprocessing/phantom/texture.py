"""Smooth three-dimensional texture of the phantom's pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..volumes.scanner_noise import Plane


@dataclass(frozen=True)
class Texture:
    """A smooth random field in space: knots [Z, Y, X] of unit variance, `pitch_mm` apart, joined by cubic B-splines.

    Along z it repeats itself after Z knots; in the plane it covers what `make_texture` was told.
    """

    knots: NDArray[np.float32]
    pitch_mm: float
    across: NDArray[np.float32]  # weights [pixels, knots] along y and x

    def plane(self, z_mm: float) -> Plane:
        """The field [pixels, pixels] at a height, of about unit variance."""
        count = len(self.knots)
        distance = (z_mm / self.pitch_mm - np.arange(count) + count / 2) % count - count / 2
        weights = _spline(distance).astype(np.float32)
        near = np.flatnonzero(weights)
        knots = np.tensordot(weights[near], self.knots[near], 1)
        return self.across @ knots @ self.across.T


def make_texture(rng: np.random.Generator, pixels: int, pixel_mm: float, pitch_mm: float) -> Texture:
    """A texture for planes of `pixels` x `pixels` of `pixel_mm`, with knots `pitch_mm` apart."""
    knots_across = int(np.ceil(pixels * pixel_mm / pitch_mm)) + 4
    position = np.arange(pixels) * pixel_mm / pitch_mm + 1.5
    across = _spline(position[:, None] - np.arange(knots_across)[None]).astype(np.float32)
    knots = rng.standard_normal((32, knots_across, knots_across), dtype=np.float32)
    return Texture(knots * 0.479**-1.5, pitch_mm, across)  # .479: a spline's mean sum of squared weights


def _spline(distance: NDArray) -> NDArray:
    """The cubic B-spline, which falls to zero at two knots' distance."""
    far = np.clip(2 - np.abs(distance), 0, None) ** 3
    near = np.clip(1 - np.abs(distance), 0, None) ** 3
    return (far - 4 * near) / 6
