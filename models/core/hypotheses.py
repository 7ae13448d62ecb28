"""Hypotheses: a short ranked list of distinct masks with probabilities, and the ranking that creates it.

docs/decisions/0003-merging-hypotheses.md says why masks are merged by k-medoids around the densest masks.
"""

import math
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError, UsageError

from .arrays import AnyArray
from .overlap import marked_pixels, pairwise_iou

MERGE = 0.3  # distance 1 - IoU below which two masks are one hypothesis
LEAST = 1e-3  # probability of a hypothesis that is worth a look
ROUNDS = 100  # of k-medoids; a few are enough in practice
DIGITS = 12  # sums that agree to so many decimals are ties


@dataclass(frozen=True)
class Hypotheses:
    """Distinct masks of one image or volume, the most probable first.

    Attributes:
        masks: class labels [N, H, W] or [N, Z, Y, X], uint8; the model really produced each of them.
        probabilities: of the masks [N], descending.
        intervals: 95 % intervals of the probabilities [N, 2] if they were counted from draws, else None.
        residual: the probability of everything that is not listed, so that sum(probabilities) + residual = 1.
        draws: how many draws were counted; None if the probabilities are exact.
    """

    masks: NDArray[np.uint8]
    probabilities: NDArray[np.float64]
    intervals: NDArray[np.float64] | None
    residual: float
    draws: int | None

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Which masks are empty [N]."""
        return np.asarray(~self.masks.reshape(len(self.masks), -1).any(1))

    def first(self, n: int) -> "Hypotheses":
        """The n most probable; the others join the residual."""
        return replace(
            self,
            masks=self.masks[:n],
            probabilities=self.probabilities[:n],
            intervals=None if self.intervals is None else self.intervals[:n],
            residual=self.residual + math.fsum(self.probabilities[n:]),
        )


def rank(
    labels: NDArray[np.uint8],
    weights: NDArray[np.float64],
    *,
    top: int = 8,
    merge: float = MERGE,
    draws: int | None = None,
    iou: NDArray[np.float64] | None = None,
) -> Hypotheses:
    """Rank a weighted set of masks.

    Exact duplicates are added up. No two hypotheses are closer than `merge`, and the empty mask always stands alone. Each
    hypothesis is the weighted medoid of its cluster and has the mass of its cluster: the probability that a mask of the
    model is nearer to it than to any other hypothesis. Ties are broken by the masks' bytes, so that the order of the draws
    does not matter. The intervals are Wilson's; they account for the number of draws, not for the choice of the clusters or
    for the model.

    Args:
        labels: masks [S, H, W] or [S, Z, Y, X].
        weights: of the masks [S], sum 1.
        top: how many hypotheses to keep at most. Those below `LEAST` are left out too; with fewer than a thousand draws
            there are none.
        merge: the distance 1 - IoU (see `core.overlap`) below which two masks are one hypothesis, 0 to 1.
        draws: how many independent draws the weights count; None if they are exact probabilities.
        iou: `pairwise_iou` of the masks [S, S], if it is known already.

    Raises:
        UsageError: `top` or `merge` is out of range.
        DataError: the weights are not probabilities.

    Example:
        >>> masks = np.array([[[1, 1]], [[1, 1]], [[0, 0]]], np.uint8)
        >>> rank(masks, np.array([0.4, 0.3, 0.3])).probabilities.round(2).tolist()
        [0.7, 0.3]
    """
    _check(labels, weights, top, merge)
    pixels = marked_pixels(labels)
    distinct, mass = _distinct(pixels, weights)
    known = pairwise_iou(pixels[distinct]) if iou is None else iou[np.ix_(distinct, distinct)]
    medoids, probabilities = _clusters(1 - known, pixels[distinct].max(1, initial=0) == 0, mass, merge)
    order = np.lexsort((medoids, -np.round(probabilities, DIGITS)))[:top]
    order = order[probabilities[order] >= min(LEAST, probabilities.max())]
    kept = probabilities[order]
    return Hypotheses(
        masks=labels[distinct[medoids[order]]],
        probabilities=kept,
        intervals=None if draws is None else wilson_intervals(kept, draws),
        residual=max(0.0, 1 - math.fsum(kept)) if len(order) < len(medoids) else 0.0,
        draws=draws,
    )


def wilson_intervals(shares: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """95 % intervals of probabilities that were estimated from draws (Wilson 1927).

    Args:
        shares: of the draws [N].
        n: how many draws there were.

    Returns:
        Lower and upper ends [N, 2].

    Example:
        >>> wilson_intervals(np.array([0.0, 0.5]), 100).round(3).tolist()
        [[0.0, 0.037], [0.404, 0.596]]
    """
    z = 1.959963984540054
    centre = (shares + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(shares * (1 - shares) / n + z**2 / (4 * n**2))
    return np.clip(np.stack((centre - half, centre + half), 1), 0, 1)


def _check(labels: AnyArray, weights: AnyArray, top: int, merge: float) -> None:
    if top < 1:
        raise UsageError(f"`top`: the number of hypotheses to keep must be at least 1, got {top}.")
    if not 0 <= merge <= 1:
        raise UsageError(f"`merge`: masks are merged below a distance 1 - IoU between 0 and 1, got {merge}.")
    if len(labels) == 0 or weights.shape != (len(labels),):
        raise DataError(
            f"Expected at least one mask and one weight per mask, got {len(labels)} masks and weights {weights.shape}."
        )
    if not np.isfinite(weights).all() or weights.min() < 0 or not math.isclose(math.fsum(weights), 1, abs_tol=1e-3):
        raise DataError(
            "The weights of the masks are not probabilities: one is negative or not finite, or their sum is not 1."
        )


def _distinct(pixels: AnyArray, weights: AnyArray) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Where each distinct mask of positive mass lies in pixels [S, P], sorted by the masks' bytes, and its mass.

    The sums are exactly rounded, so that they do not depend on the order of the draws.
    """
    keys = [row.tobytes() for row in pixels]
    order = sorted(np.flatnonzero(weights > 0), key=keys.__getitem__)
    groups = [list(group) for _, group in groupby(order, keys.__getitem__)]
    mass = np.array([math.fsum(weights[group]) for group in groups])
    return np.array([group[0] for group in groups]), mass / math.fsum(mass)


def _clusters(
    distance: AnyArray, empty: NDArray[np.bool_], mass: AnyArray, merge: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Medoids of the clusters of distinct masks with distances [S, S] and masses [S], and the clusters' masses.

    Weighted k-medoids (assign to the nearest medoid, move to the best medoid) from the densest masks, which lie `merge`
    apart; no medoid moves closer to another than that. The `empty` mask is infinitely far from all others.
    """
    distance[empty[:, None] != empty] = np.inf
    medoids = _densest(distance < merge, mass)
    for _ in range(ROUNDS):
        nearest, before = distance[:, medoids].argmin(1), medoids.copy()
        for k in range(len(medoids)):
            members = np.flatnonzero(nearest == k)
            apart = (distance[np.ix_(members, np.delete(medoids, k))] >= merge).all(1)
            medoids[k] = _medoid(distance, mass, members, members[apart])
        if np.array_equal(medoids, before):
            break
    nearest = distance[:, medoids].argmin(1)
    return medoids, np.bincount(nearest, mass, len(medoids)).astype(np.float64)


def _densest(near: NDArray[np.bool_], mass: NDArray[np.float64]) -> NDArray[np.intp]:
    """Masks chosen one by one, each with the most yet uncovered mass near it [S, S], until all mass is covered."""
    near = near | np.eye(len(mass), dtype=bool)
    uncovered = np.ones(len(mass), bool)
    density = near @ mass
    chosen = []
    while uncovered.any():
        chosen.append(int(np.where(uncovered, np.round(density, DIGITS), -1).argmax()))
        covered = np.flatnonzero(near[chosen[-1]] & uncovered)
        density -= near[:, covered] @ mass[covered]
        uncovered[covered] = False
    return np.array(chosen)


def _medoid(distance: AnyArray, mass: AnyArray, members: NDArray[np.intp], candidates: NDArray[np.intp]) -> int:
    """The candidate with the least mean distance to all members, weighted by their masses."""
    cost = distance[np.ix_(candidates, members)] @ mass[members]
    return int(candidates[np.round(cost, DIGITS).argmin()])
