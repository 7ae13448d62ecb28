"""Hungarian-matched IoU: how well draws and readers pair off one to one (Kohl et al. 2019; Kuhn 1955).

Both sets are repeated to the least common multiple of their sizes, the pairs are chosen so that their mean IoU is
highest, and that mean is the score. With 16 draws and 4 readers this is the papers' "labels duplicated to 16"; with 3
readers it repeats each draw 3 times and each reader 16 times, so that all readers count alike whatever their order.
It equals the best transport between the two sets with equal weights. It is always computed on 16 draws here (HM-IoU16):
`scores.drawn_masks` says which. Where the readers' side is weighted, 16 masks stand for it (`systematic_resample`).
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


def hm_iou(cross: NDArray[np.float64]) -> float:
    """Hungarian-matched IoU from the IoUs [S, R] of S draws of equal weight with R readers; 1 is perfect.

    >>> hm_iou(np.array([[0.9, 0.2], [0.8, 0.6]]))
    0.75
    """
    size = math.lcm(*cross.shape)
    repeated = cross.repeat(size // cross.shape[0], 0).repeat(size // cross.shape[1], 1)
    return float(repeated[linear_sum_assignment(repeated, maximize=True)].mean())


def systematic_resample(weights: NDArray[np.float64], n: int) -> NDArray[np.intp]:
    """Indices [n], ascending, of masks that stand for weighted masks (weights [S], sum 1), each as often as it weighs.

    Systematic resampling at the midpoints (i + 1/2) / n of the cumulated weights (Kitagawa 1996): nothing is random, and
    each mask is taken floor(n w) or ceil(n w) times; n masks of equal weight give themselves.

    >>> systematic_resample(np.array([0.5, 0.25, 0.25]), 4).tolist()
    [0, 0, 1, 2]
    """
    cumulated = np.cumsum(weights)
    middles = (np.arange(n) + 0.5) / n * cumulated[-1]
    return np.searchsorted(cumulated, middles)
