"""The phantom's lungs, and the build of a patient in whose lungs all of the scan's lesions lie.

Height t runs from 0 at the scan's lowest slice to 1 at its highest; for u and v see `shapes`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .shapes import Frame, dome, ellipse, join_disc, ramp
from .texture import Plane

DEEP = 0.04  # how far inside the lung a lesion's centre should lie


@dataclass(frozen=True)
class Room:
    """A place where lung must be, whatever the anatomy: an ellipsoid about a lesion.

    `centre` (u, v) and `radius` in the field of view, `t` and `half_height` along the body.
    """

    centre: tuple[float, float]
    t: float
    radius: float
    half_height: float


@dataclass(frozen=True)
class Build:
    """A patient's build: `wide` and `deep` stretch the body, `right` and `down` move it, `base` is t of the lungs' tip."""

    wide: float = 1.0
    deep: float = 1.0
    right: float = 0.0
    down: float = 0.0
    base: float = 0.08

    @property
    def frame(self) -> Frame:
        """The body's coordinates."""
        return Frame((self.wide, self.deep), (self.right, self.down))


CHOICES = {
    "base": (0.08, 0.14, 0.0, -0.08, -0.16, -0.24),
    "wide": (1.0, 0.92, 1.08, 1.16, 1.24, 1.32),
    "deep": (1.0, 0.9, 1.1, 1.2, 1.3),
    "right": (0.0, -0.06, 0.06, -0.12, 0.12),
    "down": (0.0, -0.06, 0.06, -0.12, 0.12, -0.18, 0.18),
}


def fitting_build(rooms: Sequence[Room], rng: np.random.Generator) -> Build:
    """The least unusual build whose lungs hold the rooms' centres, as far as that can be; found choice by choice, twice."""
    build = Build()
    for name, values in list(CHOICES.items()) * 2:
        build = min((replace(build, **{name: value}) for value in values), key=lambda each: _strain(each, rooms))
    wide, deep = rng.uniform(0.98, 1.04, 2).tolist()
    return replace(build, wide=build.wide * wide, deep=build.deep * deep)


def _strain(build: Build, rooms: Sequence[Room]) -> float:
    """How unusual a build is, and how far it leaves rooms outside the lungs."""
    unusual = sum(abs(getattr(build, name) - values[0]) for name, values in CHOICES.items())
    outside = 0.0
    for room in rooms:
        u, v = ((room.centre[axis] - build.frame.shift[axis]) / build.frame.stretch[axis] for axis in (0, 1))
        inside = float(lung_shape(build.base, room.t, np.array(u, np.float32), np.array(v, np.float32)))
        outside += max(DEEP - inside, 0.0)
    return unusual + 20 * outside


def heart_beat(t: float) -> float:
    """How wide the heart is at a height: 1 in its middle, 0 above and below it."""
    return ramp((0.62 - t) / 0.2) * ramp((t - 0.12) / 0.15)


def lung_shape(base: float, t: float, u: Plane, v: Plane) -> Plane:
    """Both lungs at points (u, v) of the body, less diaphragm, heart, great vessels and the tissue about the spine."""
    grow = dome((t - 0.5) / 0.49) * dome((base + 0.1 - t) / 0.1)
    if grow == 0:
        return np.full(np.broadcast_shapes(u.shape, v.shape), -1, np.float32)
    size = (0.33 * (0.35 + 0.65 * grow), 0.48 * (0.3 + 0.7 * grow))
    shape = ellipse(np.abs(u), v, (0.28 + 0.06 * grow, 0.0), size)
    beat = heart_beat(t)
    others = [
        ellipse(u, v, (0.02, -0.1), (0.12 + 0.06 * beat, 0.5)),
        ellipse(u, v, (0.12 * beat, -0.1), (0.16 + 0.16 * beat, 0.2 + 0.06 * beat)),
        ellipse(u, v, (0.0, 0.42), (0.13, 0.22)),
    ]
    under = dome(1 - (base + 0.24 - t) / 0.2)
    if under > 0:
        liver = (0.46 * under, 0.42 * under + 0.25 * under**2)
        others.append(ellipse(np.abs(u), v, (0.3, -0.14 - 0.25 * under**2), liver))
    for other in others:
        shape = np.minimum(shape, -other)
    return shape


def join_rooms(shape: Plane, rooms: Sequence[Room], t: float) -> None:
    """Let the lungs reach, in place, wherever a lesion lies."""
    for room in rooms:
        squeeze = 1 - ((t - room.t) / room.half_height) ** 2
        if squeeze > 0:
            join_disc(shape, room.centre, room.radius * squeeze**0.5)
