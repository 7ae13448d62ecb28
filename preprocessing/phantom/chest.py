"""An invented chest: body wall, lungs, heart, great vessels, airway, ribs and spine, laid over one another in HU."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..lidc.annotations import ScanRecord
from .chest_lungs import Build, Room, fitting_build, heart_beat, join_rooms, lung_shape
from .shapes import FIELD, PIXELS, Frame, cover, cut, ellipse, extent, nothing, paint, ramp, unite
from .texture import Plane, Texture, make_texture

RIB_PITCH_MM = 27.0
AIR, FAT, MUSCLE, BLOOD, MARROW, CORTEX, TABLE = (-1000, -105, 45, 42, 190, 620, -650)  # HU
LUNG = -888


@dataclass(frozen=True)
class Chest:
    """One patient's chest in a scan from `low_mm` to `high_mm`.

    `wall` [pixels, pixels] is the distance beyond the middle of the ribs; `around` [2, pixels, pixels] holds cosine and
    sine of the angle by which a rib's height depends on the side from which it is seen.
    """

    low_mm: float
    high_mm: float
    blood: float
    build: Build
    rooms: tuple[Room, ...]
    wall: Plane
    around: Plane
    wobble: Texture
    tissue: Texture


def make_chest(scan: ScanRecord, rooms: Sequence[Room], rng: np.random.Generator) -> Chest:
    """A chest for a scan's geometry, with lung at every one of `rooms`."""
    build = fitting_build(rooms, rng)
    u, v = build.frame.axes()
    angle = 8 * np.abs(np.arctan2(u, -v * 1.3))
    return Chest(
        low_mm=float(scan.z_mm[0]),
        high_mm=float(scan.z_mm[-1]),
        blood=float(rng.uniform(180, 280)) if scan.contrast else float(BLOOD),
        build=build,
        rooms=tuple(rooms),
        wall=-ellipse(u, v, (0.0, 0.0), (0.72, 0.53)),
        around=np.stack([np.cos(angle), np.sin(angle)]),
        wobble=make_texture(rng, PIXELS, scan.pixel_spacing_mm, 25.0),
        tissue=make_texture(rng, PIXELS, scan.pixel_spacing_mm, 3.2),
    )


def chest_plane(chest: Chest, z_mm: float) -> tuple[Plane, Plane, Plane]:
    """The slice at a height without vessels, lesions and noise: HU, the share of lung in each pixel, unit texture."""
    t = (z_mm - chest.low_mm) / (chest.high_mm - chest.low_mm)
    wobble, tissue = chest.wobble.plane(z_mm), chest.tissue.plane(z_mm)
    frame = chest.build.frame
    u, v = frame.axes()
    lungs = lung_shape(chest.build.base, t, u, v) + 0.012 * wobble
    join_rooms(lungs, chest.rooms, t)
    lung = cover(lungs)
    shoulders = 1 + 0.28 * ramp((t - 0.82) / 0.15)
    body = ellipse(u, v, (0, 0.03), (0.87 * shoulders, 0.67))
    plane = np.full((PIXELS, PIXELS), AIR, np.float32)
    paint(plane, cover(_table(chest.build)), TABLE)
    paint(plane, cover(body), FAT + 8 * tissue)
    paint(plane, cover(body - (0.05 + 0.018 * wobble)), MUSCLE + 7 * tissue)
    paint(plane, lung, LUNG + 26 * tissue)
    _organs(plane, chest, t, lung, wobble)
    if t > 0.45:
        _airway(plane, frame, t)
    _ribs(plane, chest, z_mm, lung, tissue)
    _spine(plane, frame, z_mm, tissue)
    if t > 0.35:
        breastbone = nothing()
        unite(breastbone, frame, (0, -0.545), (0.09, 0.026))
        _bone(plane, breastbone, tissue)
    return plane, lung, tissue


def _table(build: Build) -> Plane:
    """The scanner's curved table, under the patient's back."""
    u, v = FIELD.axes()
    back = 0.72 * build.deep + build.down + 0.1
    return 0.008 - np.abs(v - (back - 0.12 * u**2))


def _organs(plane: Plane, chest: Chest, t: float, lung: Plane, wobble: Plane) -> None:
    """Regions filled with blood: heart or great vessels, and the descending aorta."""
    shape, beat, frame = nothing(), heart_beat(t), chest.build.frame
    unite(shape, frame, (0.09, 0.2), (0.055, 0.055))
    if beat > 0.05:
        unite(shape, frame, (0.1, -0.1), (0.27 * beat, 0.22 * beat))
    if t > 0.45:
        unite(shape, frame, (-0.04, -0.18), (0.075, 0.075))
        unite(shape, frame, (0.07, -0.08), (0.06, 0.085))
    shape -= 0.01 * wobble
    here = extent(shape)
    paint(plane[here], cover(shape[here]) * (1 - lung[here]), chest.blood + 12 * wobble[here])


def _airway(plane: Plane, frame: Frame, t: float) -> None:
    """The trachea, and below its fork the two main bronchi on their way out."""
    apart = max(0.58 - t, 0.0) * 1.1
    tubes = nothing()
    for side in (-1, 1):
        unite(tubes, frame, (side * apart, 0.06), (0.045, 0.042))
    here = extent(tubes + 0.008)
    paint(plane[here], cover(tubes[here] + 0.008), 0)
    paint(plane[here], cover(tubes[here]), AIR)


def _ribs(plane: Plane, chest: Chest, z_mm: float, lung: Plane, tissue: Plane) -> None:
    """Ribs, which slope along the chest's wall, so that a slice meets several of them a side."""
    turn = 2 * np.pi * z_mm / RIB_PITCH_MM
    along = float(np.cos(turn)) * chest.around[0] - float(np.sin(turn)) * chest.around[1]
    ribs = np.minimum(0.024 - np.abs(chest.wall), 0.05 * (along - 0.3))
    _bone(plane, np.minimum(ribs, 0.3 * (0.3 - lung)), tissue)


def _spine(plane: Plane, frame: Frame, z_mm: float, tissue: Plane) -> None:
    """A vertebra with its processes, about the canal."""
    spine = nothing()
    unite(spine, frame, (0, 0.36), (0.1, 0.085))
    unite(spine, frame, (0, 0.5), (0.13 + 0.04 * float(np.cos(2 * np.pi * z_mm / RIB_PITCH_MM)), 0.06))
    unite(spine, frame, (0, 0.55), (0.022, 0.07))
    cut(spine, frame, (0, 0.475), (0.05, 0.035))
    _bone(plane, spine, tissue)


def _bone(plane: Plane, shape: Plane, tissue: Plane) -> None:
    """A shell of cortex about marrow."""
    here = extent(shape)
    paint(plane[here], cover(shape[here]), CORTEX)
    paint(plane[here], cover(shape[here] - 0.009), MARROW + 30 * tissue[here])
