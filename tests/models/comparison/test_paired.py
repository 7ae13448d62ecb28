"""Paired tests against hand-computed values and a slow exact test."""

import math
from itertools import product

import numpy as np
import pytest

from ambiseg.models.comparison.paired import by_patient, holm, rank_biserial, signed_rank


def slow_signed_rank(differences):
    """All sign flips of the ranked differences; zeros are ranked, but bear no sign."""
    size = [abs(value) for value in differences]
    ranks = [sum(b < a for b in size) + (sum(b == a for b in size) + 1) / 2 for a in size]
    kept = [(rank, value) for rank, value in zip(ranks, differences, strict=True) if value]
    centre = sum(rank for rank, _ in kept) / 2
    found = abs(sum(rank for rank, value in kept if value > 0) - centre)
    flips = [
        abs(sum(rank for (rank, _), sign in zip(kept, signs, strict=True) if sign) - centre)
        for signs in product((0, 1), repeat=len(kept))
    ]
    return sum(flip >= found - 1e-12 for flip in flips) / len(flips)


def test_wilcoxon_by_hand():
    """All six above zero: two of the 64 sign patterns are as extreme."""
    assert signed_rank(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])) == pytest.approx(2 / 64)
    assert signed_rank(np.array([0.1, 0.2, 0.3, 0.4, 0.5])) == pytest.approx(2 / 32)


def test_wilcoxon_of_no_difference_is_1_and_of_nothing_unknown():
    assert signed_rank(np.zeros(9)) == 1
    assert math.isnan(signed_rank(np.zeros(0)))


@pytest.mark.parametrize("seed", range(8))
def test_wilcoxon_agrees_with_all_sign_flips(seed):
    """Zeros and ties included, for as many patients as scipy tests exactly."""
    values = np.random.default_rng(seed).integers(-3, 5, 9) / 4.0
    assert signed_rank(values) == pytest.approx(slow_signed_rank(values.tolist()))


def test_rounding_noise_is_no_difference():
    assert signed_rank(np.full(8, 1e-16)) == 1


def test_rank_biserial_by_hand():
    """Ranks 1, 2, 3, 4 with the second below zero: (8 - 2) / 10."""
    assert rank_biserial(np.array([0.1, -0.2, 0.3, 0.4])) == pytest.approx(0.6)
    assert rank_biserial(np.array([0.3, 0.2])) == 1
    assert rank_biserial(-np.array([0.3, 0.2])) == -1
    assert rank_biserial(np.zeros(3)) == 0
    assert math.isnan(rank_biserial(np.zeros(0)))


def test_zeros_draw_the_rank_biserial_correlation_towards_0():
    """Two zeros share rank 1.5, the positive one has rank 3: 3 / 6."""
    assert rank_biserial(np.array([0.0, 0.0, 0.7])) == pytest.approx(0.5)


def test_holm_by_hand():
    """.01 x 4, then .02 x 3, then .03 x 2 held up at .06, then .5."""
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])


def test_holm_passes_over_what_was_not_tested_and_ends_at_1():
    first, second, third = holm([0.9, float("nan"), 0.6])
    assert (first, third) == (1, 1)
    assert math.isnan(second)
    assert holm([]) == []


def test_patients_count_once():
    assert by_patient(np.array([1.0, 3.0, 10.0]), ["b", "b", "a"]).tolist() == [10, 2]
