"""How well a model's masks match the readers': paired off one to one (Hungarian-matched IoU), or by optimal transport.

Hungarian-matched IoU (Kohl et al. 2019; Kuhn 1955): both sets are repeated to the least common multiple of their sizes,
the pairs are chosen so that their mean IoU is highest, and that mean is the score. With 16 draws and 4 readers this is the
papers' "labels duplicated to 16". With 3 readers it repeats each draw 3 times and each reader 16 times, so that all readers
count equally whatever their order. It equals the best transport between the two sets with equal weights. It is always
computed on 16 draws here (HM-IoU16); `scores.drawn_masks` says which. Where the readers' side is weighted, 16 masks
represent it (`systematic_resample`).

Optimal-transport IoU: the weight of each mask may be split among several. The best plan P [S, R] has the model's weights as
row sums, the readers' as column sums, and the greatest sum of P IoU; its cost with 1 - IoU is the first Wasserstein distance
of the two sets (Kantorovich 1942; Villani 2009). Nothing is sampled, so masks of unequal weights, empty ones included, are
matched exactly. With equal weights on both sides some best plan pairs masks off one to one (Birkhoff 1946), so the
Hungarian-matched IoU of all masks is then the same figure.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment, linprog
from scipy.sparse import csc_array

from ..core.arrays import Masks
from ..core.overlap import pairwise_iou

PAIRED = 400  # masks per side up to which pairing them off is faster than solving the linear program
TOLERANCE = 1e-10  # the smallest that HiGHS accepts
NOTHING = 1e-9  # a smaller weight is none


def hm_iou(cross: NDArray[np.float64]) -> float:
    """Hungarian-matched IoU of draws of equal weight and readers.

    Args:
        cross: IoUs [S, R] of S draws with R readers.

    Returns:
        The mean IoU of the best pairs, 0 to 1; 1 is perfect.

    Example:
        >>> hm_iou(np.array([[0.9, 0.2], [0.8, 0.6]]))
        0.75
    """
    size = math.lcm(*cross.shape)
    repeated = cross.repeat(size // cross.shape[0], 0).repeat(size // cross.shape[1], 1)
    return float(repeated[linear_sum_assignment(repeated, maximize=True)].mean())


def systematic_resample(weights: NDArray[np.float64], n: int) -> NDArray[np.intp]:
    """The n masks that represent a set of weighted masks.

    This is systematic resampling at the midpoints (i + 1/2) / n of the cumulated weights (Kitagawa 1996). Nothing is
    random: each mask is taken floor(n w) or ceil(n w) times, and n masks of equal weight give themselves.

    Args:
        weights: of the masks [S], sum 1.
        n: how many to take.

    Returns:
        Indices [n] of masks, ascending.

    Example:
        >>> systematic_resample(np.array([0.5, 0.25, 0.25]), 4).tolist()
        [0, 0, 1, 2]
    """
    cumulated = np.cumsum(weights)
    middles = (np.arange(n) + 0.5) / n * cumulated[-1]
    return np.searchsorted(cumulated, middles)


def ot_iou(cross: NDArray[np.float64], weights: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Optimal-transport IoU of two sets of weighted masks.

    Args:
        cross: IoUs [S, R] of the model's masks with the readers'.
        weights: of the model's masks [S], sum 1.
        truth: weights of the readers' masks [R], sum 1.

    Returns:
        The IoU of the best transport, 0 to 1; 1 is perfect.

    Example:
        >>> round(ot_iou(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.75, 0.25]), np.array([0.5, 0.5])), 6)
        0.75
    """
    if math.lcm(*cross.shape) <= PAIRED and np.ptp(weights) == np.ptp(truth) == 0:
        return hm_iou(cross)
    cross, weights = _merged(cross, weights)
    columns, truth = _merged(cross.T, truth)
    return _best(columns.T, weights, truth)


def transport_distance(
    masks: Masks, others: Masks, weights: NDArray[np.float64], others_weights: NDArray[np.float64]
) -> float:
    """How far two weighted sets of masks lie apart: the first Wasserstein distance with 1 - IoU as the cost.

    Args:
        masks: of the one set [S, ...].
        others: of the other set [T, ...].
        weights: of the one set [S], sum 1.
        others_weights: of the other set [T], sum 1.

    Returns:
        0 for equal sets, 1 where nothing in them overlaps.

    Example:
        >>> masks = np.array([[[1, 1, 0, 0]], [[1, 1, 1, 1]]], np.uint8)
        >>> transport_distance(masks[:1], masks[1:], np.ones(1), np.ones(1))
        0.5
    """
    return max(0.0, 1 - ot_iou(pairwise_iou(masks, others), weights, others_weights))


def _merged(iou: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The distinct rows of IoUs [N, M] that have a weight, and the weight of each; their sum is 1."""
    iou, weights = iou[weights > NOTHING], weights[weights > NOTHING]
    rows, member = np.unique(iou, axis=0, return_inverse=True)
    return rows, np.bincount(member, weights) / weights.sum()


def _best(iou: NDArray[np.float64], weights: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """The value of the linear program. The sum of the last column, the largest, follows from the others: so rounding cannot
    make it negative.
    """
    order = np.argsort(truth, kind="stable")
    iou, truth = iou[:, order], truth[order]
    masks, readers = iou.shape
    row, column = np.indices(iou.shape).reshape(2, -1)
    place = np.concatenate((row, masks + column[column < readers - 1]))
    variable = np.concatenate((np.arange(iou.size), np.flatnonzero(column < readers - 1)))
    sums = csc_array((np.ones(len(place)), (place, variable)), shape=(masks + readers - 1, iou.size))
    marginals = np.concatenate((weights, truth[:-1]))
    tight = {"primal_feasibility_tolerance": TOLERANCE, "dual_feasibility_tolerance": TOLERANCE}
    for options in (tight, {}):  # large programs may not reach the tight tolerance; the usual one is 1e-7
        found = linprog(-iou.ravel(), A_eq=sums, b_eq=marginals, method="highs", options=options)
        if found.fun is not None:
            return -float(found.fun)
    raise RuntimeError(f"The transport of {masks} masks to {readers} was not solved: {found.message}")
