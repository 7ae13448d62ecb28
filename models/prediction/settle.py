"""Where a lesion's centre is, and how far the model must look to see all of it (docs/decisions/0018).

A list of masks should not depend on where exactly in a lesion the user clicked. So a few draws show where the lesion is, the
view moves to the centre of what they mark, and this is repeated until it stays. Then the view grows until it holds the lesion:
more slices, and crops that are wider and as much coarser.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.scans.point_files import Point
from ambiseg.preprocessing.volumes.volume import Volume

from ..core.size import outermost
from .draws import SEARCH_MM, Draws
from .lesion import Lesion
from .neighbourhood import Neighbourhood, centre_index, neighbourhood

DEPTH_MM = 20.0  # slices within this distance of the centre are looked at first
MOST_MM = 60.0  # and no farther than this, however long the lesion seems to be
WIDEST_MM = 130.0  # nor in wider crops than this, unless a mask that was given needs them
MOST_SLICES = 256
ZOOMS = (1.0, 1.5, 2.0, 3.0, 4.0)  # how much wider than in training, and as much coarser, the crops may be
GROWN_VOXELS = 1e9  # of all draws together: the view does not grow beyond this
GOES_ON = 0.03  # a lesion ends where a slice has less than this share of the largest slice's area
LENGTH = 3.0  # what is longer than so many times its width is a vessel, and not looked at any deeper
DEEPER = 1.5  # the depth grows by this factor, on the side where the lesion goes on
TOUCHES = 0.1  # nor does a crop whose border more than this share of the marked draws touch
FEW = 12  # so many slices are all looked at; of more, only those that the lesion reaches
PROBE = 32  # draws that show how far the lesion reaches
GLANCE = 8  # draws that show where its centre is
MARGIN_MM = 3.0  # beyond the slices that the draws mark, and one slice at least
LEAST_MM = 5.0  # on either side of the centre, whatever they mark
STEPS = 8  # of the way to the centre
ROUNDS = 8  # of moving and growing
STILL_MM = 0.1  # a step shorter than this is the last

Ask = Callable[[Lesion, Neighbourhood, int], Draws]


@dataclass(frozen=True)
class Sight:
    """What is known before anything is drawn.

    Args:
        volume: the scan.
        crop: side of the training crops in pixels.
        spacing_mm: size of their pixels; None: the scan's own.
        ask: the model's draws of a lesion in a neighbourhood, without what does not belong to the lesion.
        depth_mm: the user's limit to the depth; None: as far as the lesion reaches.
        most_draws: how many masks will be drawn at the end.
    """

    volume: Volume
    crop: int
    spacing_mm: float | None
    ask: Ask
    depth_mm: float | None
    most_draws: int

    @property
    def width_mm(self) -> float:
        """The width of a crop as in training."""
        return self.crop * (self.spacing_mm or min(self.volume.spacing_mm[1:]))

    @property
    def first(self) -> "Field":
        """The field in which one looks first."""
        depth_mm = min(DEPTH_MM, self.width_mm / 2) if self.depth_mm is None else self.depth_mm
        return Field((depth_mm, depth_mm))

    @property
    def deepest_mm(self) -> float:
        """The greatest depth to either side to which the field grows."""
        return min(MOST_MM, MOST_SLICES / 2 * self.volume.spacing_mm[0])

    def place(self, lesion: Lesion, field: "Field") -> Neighbourhood:
        """The neighbourhood of a lesion in a field."""
        below, above = field.depth_mm
        place = neighbourhood(self.volume, lesion, self.crop, self.spacing_mm, max(below, above), zoom=field.zoom)
        return place if below == above else self.between(lesion, place, below, above)

    def between(self, lesion: Lesion, place: Neighbourhood, below_mm: float, above_mm: float) -> Neighbourhood:
        """Of a place's slices, those from `below_mm` under the lesion's centre to `above_mm` over it, or through its mask."""
        step, (middle, _, _) = self.volume.spacing_mm[0], centre_index(self.volume, lesion)
        drawn = np.empty(0, np.intp) if lesion.roi is None else lesion.roi[:, 0]
        low, high = min([middle - below_mm / step, *drawn]), max([middle + above_mm / step, *drawn])
        return place.between(math.ceil(low), math.floor(high))


@dataclass(frozen=True)
class Field:
    """How far one looks: `depth_mm` below and above a lesion's centre, in crops `zoom` times as wide as in training."""

    depth_mm: tuple[float, float]
    zoom: float = 1.0


def look_around(sight: Sight, lesion: Lesion) -> tuple[Lesion, Neighbourhood]:
    """The lesion where it settles, and the neighbourhood that holds all of it as far as the scan and the limits allow."""
    if lesion.whole:
        return lesion, sight.place(lesion, sight.first)
    field = sight.first
    for _ in range(ROUNDS):
        lesion = settled(sight, lesion, field)
        place = sight.place(lesion, field)
        seen = sight.ask(lesion, place, PROBE)
        wider = _grown(sight, lesion, field, place, seen)
        if wider == field:
            break
        field = wider
    return lesion, reached(sight, lesion, place, seen)


def look_once(sight: Sight, lesion: Lesion) -> Neighbourhood:
    """The neighbourhood of the place as it was given, in the first field."""
    place = sight.place(lesion, sight.first)
    if lesion.whole or sight.depth_mm is not None or place.shape[0] <= FEW:
        return place
    return reached(sight, lesion, place, sight.ask(lesion, place, PROBE))


def settled(sight: Sight, lesion: Lesion, field: Field) -> Lesion:
    """The lesion with the place from which the model's masks are centred on that place.

    The place is the fixed point of going to the centroid of what a few draws mark. It lies within `SEARCH_MM` of the given
    place. Where the steps go round in a circle, it is the mean of the places on the circle. Nothing marked: the lesion stays.
    """
    way, slices = [np.array(lesion.place_mm)], (0, len(sight.volume.array))
    for _ in range(STEPS):
        here = replace(lesion, settled_mm=_point(way[-1]))
        place = sight.place(here, field).between(*slices)
        seen = sight.ask(here, place, GLANCE)
        found = _centroid(sight.volume, place, seen)
        if found is None:
            return here
        way.append(_within(np.array(lesion.centre_mm), found, SEARCH_MM))
        end = _end(way)
        if end is not None:
            return replace(lesion, settled_mm=_point(end))
        narrow = reached(sight, here, place, seen).box[0]
        slices = (narrow.start, narrow.stop - 1)
    return replace(lesion, settled_mm=_point(np.mean(way[-2:], axis=0)))


def _end(way: Sequence[NDArray[np.float64]]) -> NDArray[np.float64] | None:
    """Where a way of places in mm ends: after a short step, and in the middle of a circle; None if it goes on."""
    back = [number for number, before in enumerate(way[:-1]) if np.linalg.norm(way[-1] - before) < STILL_MM]
    return np.asarray(np.mean(way[back[-1] + 1 :], axis=0)) if back else None


def reached(sight: Sight, lesion: Lesion, place: Neighbourhood, seen: Draws) -> Neighbourhood:
    """Of a place's slices, if they are many: those that the draws mark, and some beyond."""
    if sight.depth_mm is not None or place.shape[0] <= FEW:
        return place
    marked = np.flatnonzero(seen.labels.any((0, 2, 3))) + place.box[0].start
    step, (middle, _, _) = sight.volume.spacing_mm[0], centre_index(sight.volume, lesion)
    margin = max(MARGIN_MM, step)
    below, above = (max([LEAST_MM, *(side * (marked - middle) * step + margin)]) for side in (-1, 1))
    return sight.between(lesion, place, below, above)


def same_place(lesion: Lesion, others: Sequence[Lesion], apart_mm: float) -> bool:
    """Whether a lesion settled within a distance of one of the others."""
    place = np.array(lesion.place_mm)
    return any(np.linalg.norm(place - other.place_mm) < apart_mm for other in others)


def _grown(sight: Sight, lesion: Lesion, field: Field, place: Neighbourhood, seen: Draws) -> Field:
    """The field, deeper if the lesion goes on beyond its slices, wider if it goes on beyond its crops."""
    below, above = field.depth_mm
    zoom = field.zoom
    if sight.depth_mm is None:
        ends = _goes_on(sight.volume, place, seen)
        below, above = (
            max(depth, min(DEEPER * depth, sight.deepest_mm)) if goes_on else depth
            for depth, goes_on in zip((below, above), ends, strict=True)
        )
    wider = next((wider for wider in ZOOMS if wider > zoom), zoom)
    narrow = wider * sight.width_mm <= WIDEST_MM and _touches(sight.volume, place, seen)
    if narrow or _overflows(lesion, place):
        zoom = wider
    grown = Field((below, above), zoom)
    voxels = sight.most_draws * math.prod(sight.place(lesion, grown).shape)
    return grown if voxels <= GROWN_VOXELS else field


def _goes_on(volume: Volume, place: Neighbourhood, seen: Draws) -> tuple[bool, bool]:
    """Whether the lesion goes on below the lowest slice, and above the highest one, where that is not the scan's last.

    Its width is the diameter of a disc as large as what is marked on its largest slice.
    """
    likely = _likely(seen)
    if not likely.any():
        return False, False
    own = _own_slices(likely)
    step_z, step_y, step_x = volume.spacing_mm
    width_mm = math.sqrt(4 / math.pi * step_y * step_x * likely.sum((1, 2)).max())
    if (own.stop - own.start) * step_z > LENGTH * width_mm:
        return False, False
    low, high = own.start == 0, own.stop == place.shape[0]
    return low and place.box[0].start > 0, high and place.box[0].stop < len(volume.array)


def _own_slices(likely: NDArray[np.float64]) -> slice:
    """The lesion's slices: those around the one on which most is marked, up to where next to nothing is.

    What lies beyond such a slice, as a vessel does that touches the lesion, is not the lesion going on.
    """
    area = likely.sum((1, 2))
    largest = int(area.argmax())
    ends = np.flatnonzero(area <= GOES_ON * area[largest])
    return slice(max(ends[ends < largest] + 1, default=0), min(ends[ends > largest], default=len(area)))


def _touches(volume: Volume, place: Neighbourhood, seen: Draws) -> bool:
    """Whether many of the draws reach the border of the crops where that is not the scan's own border."""
    marked = np.asarray(seen.labels.any((1, 2, 3)))
    plane = np.asarray(seen.labels.any(1))
    edge = np.zeros(len(marked), bool)
    for axis, margin in outermost(place.box, volume.array.shape):
        if axis:
            edge |= np.asarray(plane.take(margin, axis).any((1, 2)))
    return bool(seen.weights[edge].sum() > TOUCHES * max(seen.weights[marked].sum(), 1e-12))


def _overflows(lesion: Lesion, place: Neighbourhood) -> bool:
    """Whether the mask drawn around the lesion reaches beyond the crops."""
    if lesion.roi is None:
        return False
    sides = zip(lesion.roi[:, 1:].T, place.box[1:], strict=True)
    return any(bool(voxels.min() < side.start or voxels.max() >= side.stop) for voxels, side in sides)


def _likely(seen: Draws) -> NDArray[np.float64]:
    """Probability [Z, Y, X] that a voxel is marked."""
    return np.tensordot(seen.weights, seen.labels > 0, 1)


def _centroid(volume: Volume, place: Neighbourhood, seen: Draws) -> NDArray[np.float64] | None:
    """The centre in mm of what the draws mark, each voxel weighted by its probability; None if they mark nothing."""
    likely = _likely(seen)
    if not likely.any():
        return None
    own, slices = np.zeros_like(likely), _own_slices(likely)
    own[slices] = likely[slices]
    sums = (own.sum(tuple({0, 1, 2} - {axis})) for axis in range(3))
    z, y, x = (
        float(share @ np.arange(side.start, side.stop) / own.sum()) for share, side in zip(sums, place.box, strict=True)
    )
    return np.array(volume.world((z, y, x)))


def _within(centre: NDArray[np.float64], point: NDArray[np.float64], most_mm: float) -> NDArray[np.float64]:
    """The point, or the one on the way to it that is `most_mm` from the centre."""
    way = point - centre
    return centre + way * min(1.0, most_mm / max(float(np.linalg.norm(way)), 1e-12))


def _point(place: NDArray[np.float64]) -> Point:
    x, y, z = place.tolist()
    return x, y, z
