"""Optimal-transport IoU: how well two weighted sets of masks match when each mask's weight may be split among several.

The best plan P [S, R] has the model's weights as row sums, the readers' as column sums, and the greatest sum of P IoU;
its cost with 1 - IoU is the first Wasserstein distance of the two sets (Kantorovich 1942; Villani 2009). Nothing is
sampled, so masks of unequal weights, empty ones included, are matched exactly. With equal weights on both sides some best
plan pairs masks off one to one (Birkhoff 1946): Hungarian-matched IoU of all masks is then the same figure.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csc_array

from .matching import hm_iou

PAIRED = 400  # masks a side that are paired off faster than the linear program is solved
TOLERANCE = 1e-10  # HiGHS's least


def ot_iou(cross: NDArray[np.float64], weights: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """IoU of the best transport, from IoUs [S, R] of masks with weights [S] and [R] (sums 1); 1 is perfect.

    >>> round(ot_iou(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.75, 0.25]), np.array([0.5, 0.5])), 6)
    0.75
    """
    if math.lcm(*cross.shape) <= PAIRED and np.ptp(weights) == np.ptp(truth) == 0:
        return hm_iou(cross)
    cross, weights = _merged(cross, weights)
    columns, truth = _merged(cross.T, truth)
    return _best(columns.T, weights, truth)


def _merged(iou: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The distinct rows of IoUs [N, M] that weigh anything, and the weights of each; their sum is 1."""
    iou, weights = iou[weights > 0], weights[weights > 0]
    rows, member = np.unique(iou, axis=0, return_inverse=True)
    return rows, np.bincount(member, weights) / weights.sum()


def _best(iou: NDArray[np.float64], weights: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """The linear program's value. The last column's sum follows from the others'."""
    masks, readers = iou.shape
    row, column = np.indices(iou.shape).reshape(2, -1)
    place = np.concatenate((row, masks + column[column < readers - 1]))
    variable = np.concatenate((np.arange(iou.size), np.flatnonzero(column < readers - 1)))
    sums = csc_array((np.ones(len(place)), (place, variable)), shape=(masks + readers - 1, iou.size))
    options = {"primal_feasibility_tolerance": TOLERANCE, "dual_feasibility_tolerance": TOLERANCE}
    return -float(
        linprog(
            -iou.ravel(), A_eq=sums, b_eq=np.concatenate((weights, truth[:-1])), method="highs", options=options
        ).fun
    )
