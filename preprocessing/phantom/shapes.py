"""Shapes in a slice: functions that are positive inside, and fall by about one per unit length outwards.

Lengths are in units of the radius of the field of view: u to the patient's left, v to the back. A `Frame` places a body in
the field of view; its coordinates have their zero in the middle of the chest.
"""

from dataclasses import dataclass

import numpy as np

from .texture import Plane

PIXELS = 512  # rows and columns of every scan of LIDC-IDRI
MARGIN = 0.06  # how far about a shape its values matter
Point = tuple[float, float]
Window = tuple[slice, slice]


@dataclass(frozen=True)
class Frame:
    """Where a body lies in the field of view: its coordinates are stretched by `stretch` and moved by `shift` (u, v)."""

    stretch: Point = (1.0, 1.0)
    shift: Point = (0.0, 0.0)

    def axes(self) -> tuple[Plane, Plane]:
        """The coordinates u [1, pixels] and v [pixels, 1] of a slice's pixels."""
        line = (np.arange(PIXELS, dtype=np.float32) - (PIXELS - 1) / 2) / (PIXELS / 2)
        u, v = ((line - self.shift[axis]) / self.stretch[axis] for axis in (0, 1))
        return u[None], v[:, None]

    def window(self, centre: Point, reach: Point) -> Window:
        """Rows and columns within `reach` (u, v) of a point, maybe none."""
        columns, rows = (
            span(
                ((centre[axis] - reach[axis]) * self.stretch[axis] + self.shift[axis] + 1) * PIXELS / 2,
                ((centre[axis] + reach[axis]) * self.stretch[axis] + self.shift[axis] + 1) * PIXELS / 2,
            )
            for axis in (0, 1)
        )
        return rows, columns


FIELD = Frame()  # the field of view itself


def ellipse(u: Plane, v: Plane, centre: Point, size: Point) -> Plane:
    """An ellipse with the half axes `size`, drawn towards its box's corners as bodies are."""
    across = ((u - centre[0]) / size[0]) ** 2
    down = ((v - centre[1]) / size[1]) ** 2
    radius = np.sqrt(np.sqrt(across**2 + down**2 + 1.3 * across * down))
    return (1 - radius) * min(size)


def nothing() -> Plane:
    """A shape [pixels, pixels] that covers nothing, to unite others with."""
    return np.full((PIXELS, PIXELS), -1, np.float32)


def unite(shape: Plane, frame: Frame, centre: Point, size: Point) -> None:
    """Unite a shape in place with an ellipse."""
    here, part = _placed(frame, centre, size)
    np.maximum(shape[here], part, out=shape[here])


def cut(shape: Plane, frame: Frame, centre: Point, size: Point) -> None:
    """Take an ellipse out of a shape in place."""
    here, part = _placed(frame, centre, size)
    np.minimum(shape[here], -part, out=shape[here])


def _placed(frame: Frame, centre: Point, size: Point) -> tuple[Window, Plane]:
    """An ellipse within a window that reaches a little beyond it."""
    u, v = frame.axes()
    rows, columns = frame.window(centre, (size[0] + MARGIN, size[1] + MARGIN))
    return (rows, columns), ellipse(u[:, columns], v[rows], centre, size)


def join_disc(shape: Plane, centre: Point, radius: float, crease: float = 0.04) -> None:
    """Unite a shape in place with a disc of the field of view; the crease between them is rounded (smooth maximum)."""
    u, v = FIELD.axes()
    rows, columns = FIELD.window(centre, (radius + crease, radius + crease))
    disc = radius - np.hypot(u[:, columns] - centre[0], v[rows] - centre[1])
    part = shape[rows, columns]
    mix = np.clip(0.5 + 0.5 * (disc - part) / crease, 0, 1)
    part += mix * (disc - part) + crease * mix * (1 - mix)


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
    return np.clip(shape * (PIXELS / 4) + 0.5, 0, 1)


def paint(plane: Plane, share: Plane, hounsfield: Plane | float) -> None:
    """Lay HU over a plane in place, as far as `share` (0 to 1) says."""
    plane += share * (hounsfield - plane)


def dome(x: float) -> float:
    """From 1 below x = 0 to 0 at 1, as a quarter of a circle."""
    return (1 - min(max(x, 0.0), 1.0) ** 2) ** 0.5


def ramp(x: float) -> float:
    """From 0 below x = 0 to 1 above 1, without a kink."""
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)
