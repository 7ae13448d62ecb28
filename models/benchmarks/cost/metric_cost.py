"""The cost of GED and HM-IoU: the metrics as implemented, and as a double loop over pairs of masks."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ambiseg.preprocessing.errors import UsageError

from ...core.arrays import Masks, where_it_lies
from ...core.overlap import overlaps
from ...metrics.catalogue import DRAWS
from ...metrics.distances import ged
from ...metrics.matching import hm_iou

EMPTY = 0.2  # share of synthetic masks that mark nothing
MATCHED = DRAWS[0]  # draws of HM-IoU


@dataclass(frozen=True)
class MetricCost:
    """Seconds for all images; the same for the double loop, and the greatest difference of any figure."""

    seconds: float
    naive_seconds: float | None = None
    difference: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times longer the double loop takes."""
        return None if self.naive_seconds is None else self.naive_seconds / self.seconds


def metric_cost(
    images: int,
    samples: int,
    readers: int,
    size: int,
    *,
    device: torch.device,
    seed: int = 0,
    naive: bool = False,
) -> MetricCost:
    """Time GED at `samples` draws and HM-IoU at 16 for `images` synthetic images of size x size pixels.

    The draws lie on `device` as a model would leave them there, the readers' masks on the host. naive: time the double
    loop too. Raises UsageError for less than one image or reader, and for fewer draws than HM-IoU needs.
    """
    if min(images, readers, size) < 1 or samples < MATCHED:
        raise UsageError(f"`images`, `readers` and `size` must be at least 1, and `samples` at least {MATCHED}.")
    rng = np.random.default_rng(seed)
    masks = [_discs(samples + readers, size, rng) for _ in range(images)]
    sides = [(where_it_lies(torch.from_numpy(some[:samples]).to(device)), some[samples:]) for some in masks]
    _figures(*sides[0])  # work that is done once, such as loading a GPU's libraries, is not counted
    start = time.perf_counter()
    found = [_figures(*both) for both in sides]
    seconds = time.perf_counter() - start
    if not naive:
        return MetricCost(seconds)
    start = time.perf_counter()
    slow = [_naive_figures(some[:samples], some[samples:]) for some in masks]
    return MetricCost(seconds, time.perf_counter() - start, float(np.nanmax(np.abs(np.array(found) - np.array(slow)))))


def _discs(count: int, size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Discs about the middle, with radii of a tenth to a quarter of the side, some of them empty: [count, size, size]."""
    middle = size * rng.uniform(0.45, 0.55, (2, count, 1, 1))
    radius = size * rng.uniform(0.1, 0.25, (count, 1, 1)) * (rng.random((count, 1, 1)) >= EMPTY)
    rows, columns = np.ogrid[:size, :size]
    return (np.hypot(rows - middle[0], columns - middle[1]) < radius).astype(np.uint8)


def _figures(labels: Masks, masks: NDArray[np.uint8]) -> tuple[float, float, float]:
    """GED as V- and U-statistic, and HM-IoU."""
    iou = overlaps(labels, masks)
    found = ged(iou, draws=len(labels))
    return found.v, found.u, hm_iou(iou.cross[:MATCHED])


def _naive_figures(labels: NDArray[np.uint8], masks: NDArray[np.uint8]) -> tuple[float, float, float]:
    """The same by a double loop over pairs of masks, each looked at alone."""
    cross, samples, readers = (
        np.array([[_naive_iou(a, b) for b in columns] for a in rows])
        for rows, columns in ((labels, masks), (labels, labels), (masks, masks))
    )
    v = 2 * (1 - cross).mean() - (1 - samples).mean() - (1 - readers).mean()
    u = 2 * (1 - cross).mean() - _off_diagonal(1 - samples) - _off_diagonal(1 - readers)
    size = np.lcm(MATCHED, len(masks))
    tiled = np.tile(cross[:MATCHED], (size // MATCHED, size // len(masks)))
    return float(v), float(u), float(tiled[linear_sum_assignment(-tiled)].mean())


def _naive_iou(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    either = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / either) if either else 1.0


def _off_diagonal(distance: NDArray[np.float64]) -> float:
    n = len(distance)
    return float(distance[~np.eye(n, dtype=bool)].mean()) if n > 1 else float("nan")
