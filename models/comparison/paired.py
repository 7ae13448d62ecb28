"""Tests of paired differences: Wilcoxon's signed ranks, their effect size, and Holm's correction for many tests."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, wilcoxon

DECIMALS = 12  # differences that agree to this many are ties: sums round beyond them


def by_patient(values: NDArray[np.float64], patients: Sequence[str] | NDArray) -> NDArray[np.float64]:
    """The mean of each patient's `values` [N] (patients [N]), one per patient.

    >>> by_patient(np.array([1.0, 3.0, 5.0]), ["a", "a", "b"]).tolist()
    [2.0, 5.0]
    """
    _, member = np.unique(np.array(patients), return_inverse=True)
    return np.bincount(member, values) / np.bincount(member)


def signed_rank(differences: NDArray[np.float64]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test that independent `differences` [N] are symmetric about zero.

    Zeros are ranked and then dropped (Pratt 1959). Exact up to 50 differences without ties or zeros and up to 13 with
    them, else by the normal approximation, as scipy chooses. 1 when all are zero, nan when there is none.
    """
    differences = differences.round(DECIMALS)
    if not differences.any():
        return 1.0 if len(differences) else float("nan")
    return float(wilcoxon(differences, zero_method="pratt").pvalue)


def rank_biserial(differences: NDArray[np.float64]) -> float:
    """Matched-pairs rank-biserial correlation of `differences` [N] (Kerby 2014): from -1, all below zero, to 1, all above.

    The rank sum of the positive ones less that of the negative ones, as a share of the sum of all ranks. Zeros have the
    lowest ranks and count for neither side, so they move the correlation towards 0. nan when there is no difference.
    """
    if len(differences) == 0:
        return float("nan")
    differences = differences.round(DECIMALS)
    ranks = rankdata(abs(differences))
    return float((np.sign(differences) * ranks).sum() / ranks.sum())


def holm(p: Sequence[float]) -> list[float]:
    """Each p corrected for their number (Holm 1979); nan stays nan and is not counted.

    >>> holm([0.01, 0.04])
    [0.02, 0.04]
    """
    corrected = [float("nan")] * len(p)
    order = sorted((value, place) for place, value in enumerate(p) if value == value)
    least = 0.0
    for done, (value, place) in enumerate(order):
        least = max(least, min(1.0, (len(order) - done) * value))
        corrected[place] = least
    return corrected
