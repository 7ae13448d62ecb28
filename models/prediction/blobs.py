"""Bright blobs in the lungs, found by size and shape alone: where a nodule may be.

A ball of radius r and contrast C answers -sigma^2 times the Laplacian of Gaussian most at sigma = r / sqrt(3), with .925 C
(T. Lindeberg, "Feature detection with automatic scale selection", IJCV 30, 1998). Of the answer's maxima in the lungs, a
ball has three equal curvatures, a vessel one that is nearly zero, a wall two (Q. Li, S. Sone and K. Doi, "Selective
enhancement filters for nodules, vessels, and airway walls", Med. Phys. 30, 2003).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from ambiseg.preprocessing.volumes.resample import Isotropic, isotropic
from ambiseg.preprocessing.volumes.volume import Volume

STEP_MM = 1.0
WINDOW = (-1000.0, 100.0)  # HU
CONTRAST = 900.0  # HU between soft tissue and lung: the contrast that counts as 1
ANSWER = 4 * math.pi * 3**1.5 / (2 * math.pi * math.e) ** 1.5  # of a ball of contrast 1 at its own scale: .925
SIGMAS_MM = (1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)  # for diameters from 3 to 30 mm
COARSER = (2.0, 4.0)  # scales from which on every second grid point is enough
LEAST = 0.06  # fainter maxima are noise
DENSE = -500.0  # HU
NEAR = 1.3  # of a blob's radius: at this distance from its centre, attached tissue is looked for
LIKELY_MM = 7.0  # blobs of smaller diameter are rarely nodules and often vessels
APART = 1.5  # of a blob's radius: anything closer is the same blob
APART_MM = 4.0
DIRECTIONS = np.array([way for way in product((-2, -1, 0, 1, 2), repeat=3) if max(map(abs, way)) == 2], float)
DIRECTIONS /= np.linalg.norm(DIRECTIONS, axis=1, keepdims=True)
NEIGHBOURS = np.array([way for way in product((-1, 0, 1), repeat=3) if any(way)])


@dataclass(frozen=True)
class Blob:
    """A bright blob: `centre` in fractional voxels (z, y, x) of the scan; `likeness`, from 0 to 1, to a ball of soft tissue
    that hangs free in the lung and is not too small.
    """

    centre: tuple[float, float, float]
    diameter_mm: float
    likeness: float


@dataclass(frozen=True)
class Maxima:
    """Maxima over place at each scale: `points` [N, 3] on the grid, their `radius_mm` [N] and ball-likeness `ball` [N]."""

    points: NDArray[np.floating]
    radius_mm: NDArray[np.floating]
    ball: NDArray[np.floating]


def find_blobs(
    volume: Volume,
    lungs: NDArray[np.bool_],
    limit: int = 200,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Blob]:
    """The bright blobs of 3 to 30 mm with centres in `lungs` [Z, Y, X], the most likely first, at most `limit`."""
    if not lungs.any():
        return []
    (box,) = ndimage.find_objects(lungs.view(np.uint8))
    scan = isotropic(volume, box, STEP_MM, margin=8, multiple=4, window=WINDOW)
    levels = []
    for level in _levels(scan.array, scan.nearest(lungs)):
        levels.append(level)
        on_progress(len(levels), len(SIGMAS_MM))
    points, radius, ball = (np.concatenate([getattr(level, of) for level in levels]) for of in Maxima.__annotations__)
    likeness = ball * np.minimum(1, 2 * radius / LIKELY_MM)
    likeness *= 1 - _hold(scan, points, radius)
    kept = apart(points * STEP_MM, radius, likeness)[:limit]
    centres = scan.voxels(points[kept]).tolist()
    return [
        Blob((z, y, x), 2 * float(radius[index]), float(likeness[index]))
        for (z, y, x), index in zip(centres, kept, strict=True)
    ]


def apart(
    points_mm: NDArray[np.floating], radius_mm: NDArray[np.floating], score: NDArray[np.floating]
) -> NDArray[np.intp]:
    """Indices of the blobs [N], best score first, without those that are too close to a better one."""
    order = np.argsort(-score, kind="stable")
    tree = KDTree(points_mm) if len(order) else None
    free, kept = score > 0, []
    for index in order:
        if free[index] and tree is not None:
            kept.append(index)
            free[tree.query_ball_point(points_mm[index], max(APART * radius_mm[index], APART_MM))] = False
    return np.array(kept, np.intp)


def _levels(array: NDArray[np.float32], mask: NDArray[np.bool_]) -> Iterator[Maxima]:
    """The maxima at each scale, from fine to coarse. Each array is computed from the one before it."""
    smooth, reached, stride = array, 0.0, 1
    for sigma in SIGMAS_MM:
        if sigma in COARSER:
            smooth, mask, stride = smooth[::2, ::2, ::2], mask[::2, ::2, ::2], 2 * stride
        step = stride * STEP_MM
        smooth = ndimage.gaussian_filter(smooth, math.sqrt(sigma**2 - reached**2) / step, truncate=3.0)
        reached = sigma
        scale = (sigma / step) ** 2 / (ANSWER * CONTRAST)
        answer = ndimage.laplace(smooth)
        answer *= np.float32(-scale)
        places = _maxima(answer, mask)
        offsets = _offsets(answer, places)
        ball = _ball(_curvatures(smooth, places) * scale)
        yield Maxima((places + offsets) * stride, np.full(len(places), sigma * math.sqrt(3)), ball)


def _maxima(answer: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Inner places [N, 3] in the mask where the answer is large enough, and larger than at all 26 neighbours."""
    inner = (slice(1, -1),) * 3
    places = np.argwhere((answer[inner] > LEAST) & mask[inner]) + 1
    for way in NEIGHBOURS:
        places = places[answer[tuple(places.T)] >= answer[tuple((places + way).T)]]
    return places


def _offsets(answer: NDArray[np.float32], places: NDArray[np.intp]) -> NDArray[np.float64]:
    """From the maxima to the tops of the parabolas through them along each axis: at most half a step."""
    offsets = np.zeros(places.shape)
    here = answer[tuple(places.T)].astype(float)
    for axis, way in enumerate(np.eye(3, dtype=int)):
        below, above = answer[tuple((places - way).T)], answer[tuple((places + way).T)]
        bend = np.maximum(2 * here - below - above, 1e-9)
        offsets[:, axis] = np.clip((above - below) / (2 * bend), -0.5, 0.5)
    return offsets


def _curvatures(smooth: NDArray[np.float32], places: NDArray[np.intp]) -> NDArray[np.floating]:
    """Eigenvalues [N, 3] of the Hessian in grid steps, ascending: the most negative first."""

    def at(*way: int) -> NDArray[np.float64]:
        return smooth[tuple((places + way).T)].astype(float)

    hessian = np.empty((len(places), 3, 3))
    unit = np.eye(3, dtype=int)
    for i, j in product(range(3), repeat=2):
        if i == j:
            hessian[:, i, i] = at(*unit[i]) - 2 * at(0, 0, 0) + at(*-unit[i])
        else:
            one, other = unit[i] + unit[j], unit[i] - unit[j]
            hessian[:, i, j] = (at(*one) + at(*-one) - at(*other) - at(*-other)) / 4
    return np.linalg.eigvalsh(hessian)


def _ball(curvatures: NDArray[np.floating]) -> NDArray[np.float64]:
    """Li's dot filter, 3 l3^2 / |l1|, the eigenvalues' answer where all are equal, less the more they differ; at most 1."""
    most, _, least = curvatures.T
    return np.where(least < 0, np.minimum(3 * least**2 / np.maximum(-most, 1e-9), 1), 0)


def _hold(scan: Isotropic, points: NDArray[np.floating], radius_mm: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share [N] of the surface about each blob that is dense: small for a free nodule, half at a wall, all within tissue."""
    shells = points[:, None] + DIRECTIONS * (NEAR * radius_mm / scan.step_mm)[:, None, None]
    values = ndimage.map_coordinates(scan.array, shells.reshape(-1, 3).T, order=1, mode="nearest", output=np.float32)
    return (values.reshape(len(points), len(DIRECTIONS)) > DENSE).mean(1)
