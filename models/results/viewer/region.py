"""What is shown of a lesion: the part of the scan around it, and the slice and voxel that are marked most."""

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.volumes.volume import Volume

from ...prediction.inference import LesionHypotheses
from ...prediction.neighbourhood import Box

SIDES_MM = (64.0, 56.0, 48.0, 40.0)  # of the region: the first that has few enough voxels
MOST_MM = 80.0
MARGIN_MM = 8.0  # kept around everything that is marked
VOXELS = 1_000_000
EQUAL = 1e-9  # sums of probabilities that differ by less are the same
MARKED = 0.05  # the probability from which a voxel counts as marked

Extent = tuple[list[int], list[int]]


def region(result: LesionHypotheses, volume: Volume) -> Box:
    """The voxels (z, y, x) of the scan to show: everything that the hypotheses mark, and its surroundings.

    The region is 64 mm wide where the scan is large enough, up to 80 mm around a large lesion, and less if the voxels are
    very small. Nothing that a hypothesis marks is left out, however large it is.
    """
    drawn = np.asarray((result.hypotheses.masks > 0).any(0))
    likely = drawn | (result.probability > MARKED)
    low, high = _extent(likely, result) if likely.any() else _centre(result, volume)
    middle = [(one + other) // 2 for one, other in zip(low, high, strict=True)]
    first, last = _extent(drawn, result) if drawn.any() else (middle, middle)
    for side_mm in SIDES_MM:
        z, y, x = (
            _side((low[axis], high[axis]), (first[axis], last[axis]), side_mm, volume.spacing_mm[axis], count)
            for axis, count in enumerate(volume.array.shape)
        )
        if volume.array[z, y, x].size <= VOXELS:
            break
    return z, y, x


def _extent(marked: NDArray[np.bool_], result: LesionHypotheses) -> Extent:
    """The first and last marked voxels (z, y, x) of the scan."""
    sides = ((marked.any(tuple({0, 1, 2} - {axis})), side.start) for axis, side in enumerate(result.box))
    ends = [np.flatnonzero(hits)[[0, -1]] + start for hits, start in sides]
    return [int(low) for low, _ in ends], [int(high) for _, high in ends]


def _centre(result: LesionHypotheses, volume: Volume) -> Extent:
    places = zip(volume.voxel(result.lesion.place_mm), volume.array.shape, strict=True)
    nearest = [min(max(round(at), 0), count - 1) for at, count in places]
    return nearest, nearest


def _side(about: tuple[int, int], kept: tuple[int, int], side_mm: float, step: float, count: int) -> slice:
    """Voxels along an axis of `count` voxels, around those of `about` (first, last). Those of `kept` are not cut off."""
    wanted_mm = min(max(side_mm, (about[1] + 1 - about[0]) * step + 2 * MARGIN_MM), MOST_MM)
    length = min(max(round(wanted_mm / step), kept[1] + 1 - kept[0], 1), count)
    start = (about[0] + about[1] + 1 - length) // 2
    start = min(max(start, kept[1] + 1 - length), kept[0])
    start = min(max(start, 0), count - length)
    return slice(start, start + length)


def best_slice(result: LesionHypotheses) -> int:
    """The slice (index in the box) on which the hypotheses mark most; if nothing is marked, the most probable one.

    Each hypothesis counts by its probability and not by its size. Of several such slices it is the middle one.
    """
    found = result.hypotheses
    areas = (found.masks > 0).sum((2, 3))
    marked = found.probabilities @ (areas / np.maximum(areas.max(1, keepdims=True), 1))
    if not marked.any():
        marked = result.probability.sum((1, 2))
    return _middle(marked)


def likeliest_voxel(result: LesionHypotheses) -> tuple[int, int, int]:
    """The voxel (z, y, x in the box) of the best slice that the hypotheses mark most, near the middle of such voxels."""
    number = best_slice(result)
    marked = np.tensordot(result.hypotheses.probabilities, result.hypotheses.masks[:, number] > 0, 1)
    if not marked.any():
        marked = result.probability[number]
    likeliest = np.argwhere(marked >= marked.max() - EQUAL)
    y, x = likeliest[np.linalg.norm(likeliest - likeliest.mean(0), axis=1).argmin()]
    return number, int(y), int(x)


def _middle(values: NDArray[np.floating]) -> int:
    """The middle one of the indices of the largest value [N]."""
    largest = np.flatnonzero(values >= values.max() - EQUAL)
    return int(largest[len(largest) // 2])
