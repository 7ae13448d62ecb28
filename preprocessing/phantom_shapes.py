"""Shapes in a slice: functions that are positive inside, and fall by about one per unit length outwards.

Lengths are in units of the radius of the field of view: u to the patient's left, v to the back, zero in the centre.
"""

import numpy as np
from numpy.typing import NDArray

from .phantom_texture import Plane

PIXELS = 512  # rows and columns of every scan of LIDC-IDRI
MARGIN = 0.06  # how far about a shape its values matter
Point = tuple[float, float]
Window = tuple[slice, slice]


def axes() -> tuple[Plane, Plane]:
    """The coordinates u [1, pixels] and v [pixels, 1] of a slice's pixels."""
    line = ((np.arange(PIXELS) - (PIXELS - 1) / 2) / (PIXELS / 2)).astype(np.float32)
    return line[None], line[:, None]


def ellipse(u: Plane, v: Plane, centre: Point, size: Point) -> Plane:
    """An ellipse with the half axes `size`, drawn towards its box's corners as bodies are."""
    across = ((u - np.float32(centre[0])) / np.float32(size[0])) ** 2
    down = ((v - np.float32(centre[1])) / np.float32(size[1])) ** 2
    radius = np.sqrt(np.sqrt(across**2 + down**2 + np.float32(1.3) * across * down))
    return (1 - radius) * np.float32(min(size))


def nothing() -> Plane:
    """A shape [pixels, pixels] that covers nothing, to unite others with."""
    return np.full((PIXELS, PIXELS), np.float32(-1))


def unite(shape: Plane, centre: Point, size: Point) -> None:
    """Unite a shape in place with an ellipse."""
    here, part = _placed(centre, size)
    np.maximum(shape[here], part, out=shape[here])


def cut(shape: Plane, centre: Point, size: Point) -> None:
    """Take an ellipse out of a shape in place."""
    here, part = _placed(centre, size)
    np.minimum(shape[here], -part, out=shape[here])


def _placed(centre: Point, size: Point) -> tuple[Window, Plane]:
    """An ellipse within a window that reaches a little beyond it."""
    u, v = axes()
    rows, columns = window(centre, (size[0] + MARGIN, size[1] + MARGIN))
    return (rows, columns), ellipse(u[:, columns], v[rows], centre, size)


def join_disc(shape: Plane, centre: Point, radius: float, crease: float = 0.04) -> None:
    """Unite a shape [pixels, pixels] in place with a disc; the crease between them is rounded (smooth maximum)."""
    u, v = axes()
    rows, columns = window(centre, (radius + crease, radius + crease))
    disc = np.float32(radius) - np.hypot(u[:, columns] - np.float32(centre[0]), v[rows] - np.float32(centre[1]))
    part, soft = shape[rows, columns], np.float32(crease)
    mix = np.clip(0.5 + 0.5 * (disc - part) / soft, 0, 1)
    part += mix * (disc - part) + soft * mix * (1 - mix)


def window(centre: Point, reach: Point) -> Window:
    """Rows and columns within `reach` (u, v) of a point, maybe none."""
    columns, rows = (
        span((place - far + 1) * PIXELS / 2, (place + far + 1) * PIXELS / 2)
        for place, far in zip(centre, reach, strict=True)
    )
    return rows, columns


def span(low: float, high: float) -> slice:
    """The pixels from `low` to `high` that lie in the plane; maybe none."""
    start = min(max(int(low), 0), PIXELS)
    return slice(start, min(max(int(high) + 1, start), PIXELS))


def extent(shape: Plane) -> Window:
    """The smallest window that holds all that a shape covers; maybe empty."""
    inside = shape > -2 / PIXELS
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def cover(shape: Plane) -> Plane:
    """Share of each pixel that a shape covers, 0 to 1; edges are two pixels wide, as a scanner blurs them."""
    return np.clip(shape * np.float32(PIXELS / 4) + np.float32(0.5), 0, 1)


def paint(plane: Plane, share: Plane, hounsfield: Plane | float) -> None:
    """Lay HU over a plane in place, as far as `share` (0 to 1) says."""
    plane += share * (hounsfield - plane)


def dome(x: float) -> float:
    """From 1 below x = 0 to 0 at 1, as a quarter of a circle."""
    return float(np.sqrt(1 - np.clip(x, 0, 1) ** 2))


def ramp(x: NDArray[np.float64] | float) -> float:
    """From 0 below x = 0 to 1 above 1, without a kink."""
    x = float(np.clip(x, 0, 1))
    return x * x * (3 - 2 * x)
