"""An invented chest: body wall, lungs, heart, great vessels, airway, ribs and spine, laid over one another in HU.

In the plane, lengths are in units of the radius of the field of view (see `phantom_shapes`); height t runs from 0 at the
scan's lowest slice to 1 at its highest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .annotations import ScanRecord
from .phantom_shapes import (
    PIXELS,
    axes,
    cover,
    cut,
    dome,
    ellipse,
    extent,
    join_disc,
    nothing,
    paint,
    ramp,
    unite,
    window,
)
from .phantom_texture import Plane, Texture, make_texture

RIB_PITCH_MM = 27.0
AIR, FAT, MUSCLE, BLOOD, MARROW, CORTEX, TABLE = (np.float32(hu) for hu in (-1000, -105, 45, 42, 190, 620, -650))
LUNG = np.float32(-888)


@dataclass(frozen=True)
class Room:
    """A place where lung must be, whatever the anatomy: an ellipsoid about a lesion.

    `centre` (u, v) and `radius` in the plane, `t` and `half_height` along the body.
    """

    centre: tuple[float, float]
    t: float
    radius: float
    half_height: float


@dataclass(frozen=True)
class Chest:
    """One patient's chest.

    `build` scales its shapes by a few percent; `base` is the height t of the lungs' lowest tip. `wall` [pixels, pixels]
    is the distance beyond the middle of the ribs; `around` [2, pixels, pixels] holds cosine and sine of the angle by which
    a rib's height depends on the side from which it is seen.
    """

    low_mm: float
    high_mm: float
    blood: np.float32
    build: NDArray[np.float64]
    base: float
    rooms: tuple[Room, ...]
    wall: Plane
    around: Plane
    wobble: Texture
    tissue: Texture


def make_chest(scan: ScanRecord, rooms: Sequence[Room], rng: np.random.Generator) -> Chest:
    """A chest for a scan's geometry, with lung at every one of `rooms`."""
    build = rng.uniform(0.95, 1.05, 6)
    u, v = axes()
    angle = 8 * np.abs(np.arctan2(u, -v * np.float32(1.3)))
    lowest = min((room.t - room.half_height for room in rooms), default=1.0)
    return Chest(
        low_mm=float(scan.z_mm[0]),
        high_mm=float(scan.z_mm[-1]),
        blood=np.float32(rng.uniform(180, 280)) if scan.contrast else BLOOD,
        build=build,
        base=float(np.clip(lowest - 0.04, 0.0, 0.14)),
        rooms=tuple(rooms),
        wall=-ellipse(u, v, (0.0, 0.0), (0.72 * build[0], 0.53 * build[1])),
        around=np.stack([np.cos(angle), np.sin(angle)]),
        wobble=make_texture(rng, PIXELS, scan.pixel_spacing_mm, 25.0),
        tissue=make_texture(rng, PIXELS, scan.pixel_spacing_mm, 3.2),
    )


def relative_height(chest: Chest, z_mm: float) -> float:
    """Height t of a slice: 0 at the scan's lowest, 1 at its highest."""
    return (z_mm - chest.low_mm) / (chest.high_mm - chest.low_mm)


def chest_plane(chest: Chest, z_mm: float) -> tuple[Plane, Plane, Plane]:
    """The slice at a height without vessels, lesions and noise: HU, the share of lung in each pixel, unit texture."""
    t = relative_height(chest, z_mm)
    wobble, tissue = chest.wobble.plane(z_mm), chest.tissue.plane(z_mm)
    lung = cover(_lungs(chest, t, wobble))
    u, v = axes()
    plane = np.full((PIXELS, PIXELS), AIR)
    paint(plane, cover(np.float32(0.008) - np.abs(v - (np.float32(0.8) - np.float32(0.12) * u**2))), TABLE)
    shoulders = 1 + 0.28 * ramp((t - 0.82) / 0.15)
    body = ellipse(u, v, (0, 0.03), (0.87 * chest.build[0] * shoulders, 0.67 * chest.build[1]))
    paint(plane, cover(body), FAT + 8 * tissue)
    paint(plane, cover(body - (0.05 * np.float32(chest.build[2]) + 0.018 * wobble)), MUSCLE + 7 * tissue)
    paint(plane, lung, LUNG + 26 * tissue)
    _organs(plane, chest, t, lung, wobble)
    _airway(plane, t)
    _bones(plane, chest, z_mm, lung, tissue)
    return plane, lung, tissue


def _lungs(chest: Chest, t: float, wobble: Plane) -> Plane:
    """Two lungs, less mediastinum and diaphragm, plus the lesions' rooms."""
    u, v = axes()
    grow = dome((t - 0.5) / 0.49) * dome((chest.base + 0.1 - t) / 0.1)
    shape = nothing()
    if grow > 0:
        size = (0.33 * chest.build[3] * (0.35 + 0.65 * grow), 0.48 * chest.build[4] * (0.3 + 0.7 * grow))
        sides = [ellipse(u, v, (side * (0.28 + 0.06 * grow), 0.0), size) for side in (-1.0, 1.0)]
        shape = np.maximum(*sides)
        _cut_mediastinum(shape, t)
        _diaphragm(shape, (chest.base + 0.24 - t) / 0.2)
    shape += np.float32(0.012) * wobble
    for room in chest.rooms:
        squeeze = 1 - ((t - room.t) / room.half_height) ** 2
        if squeeze > 0:
            join_disc(shape, room.centre, room.radius * squeeze**0.5)
    return shape


def _diaphragm(shape: Plane, depth: float) -> None:
    """Take the domes under the diaphragm out of the lungs; `depth` is 0 at their top and 1 where they are widest."""
    if depth <= 0:
        return
    wide = dome(1 - depth)
    for side in (-1.0, 1.0):
        cut(shape, (side * 0.3, -0.14 - 0.25 * wide**2), (0.46 * wide, 0.42 * wide + 0.25 * wide**2))


def _beat(t: float) -> float:
    """How wide the heart is at a height: 1 in its middle, 0 above and below it."""
    return ramp((0.62 - t) / 0.2) * ramp((t - 0.12) / 0.15)


def _cut_mediastinum(lungs: Plane, t: float) -> None:
    """Take heart, great vessels and the tissue about the spine out of the lungs."""
    beat = _beat(t)
    cut(lungs, (0.02, -0.1), (0.12 + 0.06 * beat, 0.5))
    cut(lungs, (0.12 * beat, -0.1), (0.16 + 0.16 * beat, 0.2 + 0.06 * beat))
    cut(lungs, (0.0, 0.42), (0.13, 0.22))


def _organs(plane: Plane, chest: Chest, t: float, lung: Plane, wobble: Plane) -> None:
    """What is filled with blood: heart or great vessels, and the descending aorta."""
    shape, beat = nothing(), _beat(t)
    unite(shape, (0.09, 0.2), (0.055, 0.055))
    if beat > 0.05:
        unite(shape, (0.1, -0.1), (0.27 * beat, 0.22 * beat))
    if t > 0.45:
        unite(shape, (-0.04, -0.18), (0.075, 0.075))
        unite(shape, (0.07, -0.08), (0.06, 0.085))
    shape -= np.float32(0.01) * wobble
    here = extent(shape)
    paint(plane[here], cover(shape[here]) * (1 - lung[here]), chest.blood + 12 * wobble[here])


def _airway(plane: Plane, t: float) -> None:
    """The trachea, and below its fork the two main bronchi on their way out."""
    if t < 0.45:
        return
    apart = max(0.58 - t, 0.0) * 1.1
    for centre in {(-apart, 0.06), (apart, 0.06)}:
        tube = nothing()
        unite(tube, centre, (0.045, 0.042))
        here = window(centre, (0.07, 0.07))
        paint(plane[here], cover(tube[here] + np.float32(0.008)), 0)
        paint(plane[here], cover(tube[here]), AIR)


def _bones(plane: Plane, chest: Chest, z_mm: float, lung: Plane, tissue: Plane) -> None:
    """Ribs that slope along the chest's wall, the spine with its canal, the breastbone."""
    turn = 2 * np.pi * z_mm / RIB_PITCH_MM
    along = np.float32(np.cos(turn)) * chest.around[0] - np.float32(np.sin(turn)) * chest.around[1]
    ribs = np.minimum(np.float32(0.024) - np.abs(chest.wall), np.float32(0.05) * (along - np.float32(0.3)))
    _bone(plane, np.minimum(ribs, np.float32(0.3) * (np.float32(0.3) - lung)), tissue)
    spine = nothing()
    unite(spine, (0, 0.36), (0.1, 0.085))
    unite(spine, (0, 0.5), (0.13 + 0.04 * np.cos(turn), 0.06))
    unite(spine, (0, 0.55), (0.022, 0.07))
    cut(spine, (0, 0.475), (0.05, 0.035))
    _bone(plane, spine, tissue)
    if relative_height(chest, z_mm) > 0.35:
        breastbone = nothing()
        unite(breastbone, (0, -0.545 * chest.build[1]), (0.09, 0.026))
        _bone(plane, breastbone, tissue)


def _bone(plane: Plane, shape: Plane, tissue: Plane) -> None:
    """A shell of cortex about marrow."""
    here = extent(shape)
    paint(plane[here], cover(shape[here]), CORTEX)
    paint(plane[here], cover(shape[here] - np.float32(0.009)), MARROW + 30 * tissue[here])
