"""Hypotheses: a short ranked list of distinct masks with probabilities, and the ranking that creates it.

The list is the best short summary of the model's whole weighted set of masks. docs/decisions/0003-ranking.md says why.
"""

import math
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError, UsageError

from .arrays import AnyArray
from .overlap import marked_pixels, pairwise_iou

TOP = 8  # hypotheses listed at most
GAIN = 0.01  # a further mask must bring the list so much nearer to the whole set (transport distance, 1 - IoU)
LEAST = 1e-3  # probability of an empty mask that is worth a line
ROUNDS = 100  # of swaps; a few are enough in practice
DIGITS = 12  # sums that agree to so many decimals are ties


@dataclass(frozen=True)
class Hypotheses:
    """Distinct masks of one image or volume, the most probable first.

    Attributes:
        masks: class labels [N, H, W] or [N, Z, Y, X], uint8; the model really produced each of them.
        probabilities: of the masks [N], descending.
        intervals: 95 % intervals of the probabilities [N, 2] if they were counted from draws, else None.
        residual: the probability of everything that is not listed, so that sum(probabilities) + residual = 1.
        draws: how many draws were counted; None if the probabilities are the model's own.
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

    @property
    def likeliest(self) -> float:
        """The probability of the most probable mask that marks something; 0 where none is listed."""
        return float(self.probabilities[~self.empty].max(initial=0.0))


def rank(
    labels: NDArray[np.uint8],
    weights: NDArray[np.float64],
    *,
    top: int = TOP,
    gain: float = GAIN,
    draws: int | None = None,
    left_out: float = 0.0,
    iou: NDArray[np.float64] | None = None,
) -> Hypotheses:
    """Summarise a weighted set of masks by the few that represent it best.

    Exact duplicates are added up. The empty mask stands alone; it is listed if its probability is at least .001 and, in a
    list that is full, if it brings the list nearer to the set than the last mask does. The others are represented by
    weighted k-medoids: of all lists of k masks, the one to which the whole set has the least transport distance, with
    1 - IoU as the cost. k grows from one as long as a further mask lowers that distance by `gain`, up to `top`. The
    probability of a hypothesis is the mass of the masks that are nearer to it than to any other; masks that overlap none
    of the list are the residual. So a small change of the masks or of their weights changes the list little. Ties are
    broken by the masks' bytes, so that the order of the draws does not matter. The intervals are Wilson's; they account
    for the number of draws, not for the choice of the list or for the model.

    The search for the k masks adds the best mask to the best k - 1, then swaps a listed mask for another as long as that
    lowers the distance (Kaufman and Rousseeuw 1990, "Finding Groups in Data", chapter 2, on the weighted set).

    Args:
        labels: masks [S, H, W] or [S, Z, Y, X].
        weights: of the masks [S], sum 1.
        top: how many hypotheses to list at most.
        gain: by how much a further mask must lower the distance between the whole set and the list, 0 to 1.
        draws: how many independent draws the weights count, equal or reweighted; None if they are the model's own
            probabilities.
        left_out: the probability of masks that are not among `labels`. All probabilities are scaled by the rest, and it
            joins the residual.
        iou: `pairwise_iou` of the masks [S, S], if it is known already.

    Returns:
        The list, with `intervals` if the weights count draws.

    Raises:
        UsageError: `top` or `gain` is out of range.
        DataError: the weights are not probabilities.

    Example:
        >>> masks = np.array([[[1, 1]], [[1, 1]], [[0, 0]]], np.uint8)
        >>> rank(masks, np.array([0.4, 0.3, 0.3])).probabilities.round(2).tolist()
        [0.7, 0.3]
    """
    _check(labels, weights, top, gain)
    pixels = marked_pixels(labels)
    distinct, mass = _distinct(pixels, weights)
    known = pairwise_iou(pixels[distinct]) if iou is None else iou[np.ix_(distinct, distinct)]
    empty = pixels[distinct].max(1, initial=0) == 0
    listed, probabilities = _listed(1 - known, empty, mass, top, gain)
    order = np.lexsort((listed, -np.round(probabilities, DIGITS)))[:top]
    kept = probabilities[order] * (1 - left_out)
    complete = math.isclose(math.fsum(probabilities[order]), 1, abs_tol=10**-DIGITS) and not left_out
    return Hypotheses(
        masks=labels[distinct[listed[order]]],
        probabilities=kept,
        intervals=None if draws is None else wilson_intervals(kept, _effective(weights)),
        residual=0.0 if complete else max(0.0, 1 - math.fsum(kept)),
        draws=draws,
    )


def source_words(draws: int | None, left_out: float) -> str:
    """Where probabilities come from, as a noun phrase: "256 draws", "exact probabilities", or what is missing.

    Example:
        >>> source_words(256, 0.0), source_words(None, 0.0), source_words(None, 0.125)
        ('256 draws', 'exact probabilities', "probabilities without 12.5% of the model's masks")
    """
    if draws is not None:
        return f"{draws} draw{'' if draws == 1 else 's'}"
    return f"probabilities without {left_out:.1%} of the model's masks" if left_out else "exact probabilities"


def wilson_intervals(shares: NDArray[np.float64], n: float) -> NDArray[np.float64]:
    """95 % intervals of probabilities that were estimated from draws (Wilson 1927).

    Args:
        shares: of the draws [N].
        n: how many draws there were; of unequal weights, how many equal ones tell as much.

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


def _effective(weights: NDArray[np.float64]) -> float:
    """How many draws of equal weight tell as much as draws of these weights (Kish 1965)."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def _check(labels: AnyArray, weights: AnyArray, top: int, gain: float) -> None:
    if top < 1:
        raise UsageError(f"`top`: the number of hypotheses to list must be at least 1, got {top}.")
    if not 0 <= gain <= 1:
        raise UsageError(f"`gain`: expected a transport distance between 0 and 1, got {gain}.")
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


def _listed(
    distance: AnyArray, empty: NDArray[np.bool_], mass: AnyArray, top: int, gain: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The masks to list, of distinct ones with distances [S, S] and masses [S], and the probability of each."""
    nothing, something = np.flatnonzero(empty), np.flatnonzero(~empty)
    if len(something) == 0 or (len(nothing) and mass[nothing[0]] >= 1 - LEAST):
        return nothing, mass[nothing]
    worth = nothing[mass[nothing] >= LEAST]
    near, weight = distance[np.ix_(something, something)], mass[something]
    lists = _medoids(near, weight, top, gain)
    if len(worth) and len(lists) == top > 1:  # one line too many: the one that brings the list nearer to the set stays
        if lists[-2][1] - lists[-1][1] > mass[worth[0]]:
            worth = worth[:0]
        else:
            lists.pop()
    medoids = lists[-1][0]
    nearest = np.where(near[:, medoids].min(1) < 1, near[:, medoids].argmin(1), len(medoids))
    probabilities = np.array([math.fsum(weight[nearest == k]) for k in range(len(medoids))])
    return np.append(something[medoids], worth), np.append(probabilities, mass[worth])


def _medoids(distance: AnyArray, mass: AnyArray, most: int, gain: float) -> list[tuple[NDArray[np.intp], float]]:
    """The one, two, ... masks, ascending, that represent a set with distances [S, S] and masses [S] best: `most` at most.

    With each list comes the distance of the set to it.
    """
    lists: list[tuple[NDArray[np.intp], float]] = []
    while len(lists) < min(most, len(mass)):
        before = lists[-1][0] if lists else np.zeros(0, np.intp)
        medoids, cost = _swapped(distance, mass, _with_another(distance, mass, before))
        if lists and lists[-1][1] - cost < gain:
            break
        lists.append((medoids, cost))
    return lists


def _with_another(distance: AnyArray, mass: AnyArray, medoids: NDArray[np.intp]) -> NDArray[np.intp]:
    """The medoids and the mask that lowers the distance of the set to them most."""
    now = distance[:, medoids].min(1, initial=1)
    costs = np.round(mass @ np.minimum(distance, now[:, None]), DIGITS)
    costs[medoids] = np.inf
    return np.sort(np.append(medoids, costs.argmin()))


def _swapped(distance: AnyArray, mass: AnyArray, medoids: NDArray[np.intp]) -> tuple[NDArray[np.intp], float]:
    """The medoids after the best swaps of one of them for another mask, and the distance of the set to them."""
    everyone = np.arange(len(mass))
    for _ in range(ROUNDS):
        to = distance[:, medoids]
        nearest = to.argmin(1)
        first = to[everyone, nearest]
        to[everyone, nearest] = np.inf
        second = to.min(1)
        cost = float(mass @ first)
        kept, lost = (np.minimum(distance, now[:, None]) for now in (first, np.minimum(second, 1)))
        of_medoid = (nearest == np.arange(len(medoids))[:, None]) * mass
        costs = np.round(mass @ kept + of_medoid @ (lost - kept), DIGITS)  # [medoid that goes, mask that comes]
        costs[:, medoids] = np.inf
        goes, comes = np.unravel_index(costs.argmin(), costs.shape)
        if costs[goes, comes] >= round(cost, DIGITS):
            break
        medoids = np.sort(np.append(np.delete(medoids, goes), comes))
    return medoids, cost
