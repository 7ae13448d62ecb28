"""Optimal-transport IoU: by hand, against all pairings of repeated masks, and against the dual program."""

import time
from fractions import Fraction
from itertools import permutations
from math import lcm

import numpy as np
import pytest
from scipy.optimize import linprog

from ambiseg.models.metrics.matching import hm_iou, ot_iou


def test_weights_are_parted_among_readers_by_hand():
    cross = np.array([[1.0, 0.0], [0.5, 0.25]])
    assert ot_iou(cross, np.array([0.75, 0.25]), np.array([0.5, 0.5])) == pytest.approx(0.5 * 1 + 0.25 * 0.25)
    assert ot_iou(cross, np.array([0.25, 0.75]), np.array([0.5, 0.5])) == pytest.approx(0.25 + 0.25 * 0.5 + 0.5 * 0.25)


def test_a_model_with_the_readers_distribution_scores_one():
    odds = np.array([0.2, 0.3, 0.5])
    masks, weights = np.repeat(np.eye(3), 4, 0), np.repeat(odds / 4, 4)
    assert ot_iou(masks, weights, odds) == pytest.approx(1, abs=1e-12)
    assert ot_iou(np.zeros((3, 3)), odds, odds) == pytest.approx(0, abs=1e-12)


def test_one_mask_or_one_reader_has_no_choice():
    cross, odds = np.array([[0.1, 0.7, 0.4]]), np.array([0.5, 0.2, 0.3])
    assert ot_iou(cross, np.ones(1), odds) == pytest.approx(cross[0] @ odds)
    assert ot_iou(cross.T, odds, np.ones(1)) == pytest.approx(cross[0] @ odds)


def test_is_the_best_of_all_pairings_of_repeated_masks():
    """Weights in sixths are six masks of equal weight, which some permutation pairs off best."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        sides = [rng.multinomial(6, np.full(3, 1 / 3)) for _ in range(2)]
        cross = np.round(rng.random((3, 3)), 1)
        repeated = cross.repeat(sides[0], 0).repeat(sides[1], 1)
        best = max(np.mean([repeated[i, j] for i, j in enumerate(order)]) for order in permutations(range(6)))
        assert ot_iou(cross, sides[0] / 6, sides[1] / 6) == pytest.approx(best, abs=1e-9)


def test_equal_weights_are_hungarian_matching_whichever_way_it_is_solved():
    rng = np.random.default_rng(1)
    for samples, readers in ((16, 4), (20, 3), (100, 4), (100, 7)):
        cross = np.where(rng.random((samples, readers)) < 0.3, 0, rng.random((samples, readers)))
        truth = np.full(readers, 1 / readers)
        found = ot_iou(cross, np.full(samples, 1 / samples), truth)
        parted = ot_iou(cross.repeat(2, 0), np.full(2 * samples, [0.3 / samples, 0.7 / samples] * samples), truth)
        assert found == pytest.approx(parted, abs=1e-9)
        if lcm(samples, readers) < 400:
            assert found == pytest.approx(hm_iou(cross), abs=1e-12)


def dual_value(cross, weights, truth):
    """The least p . weights + q . truth with p_s + q_r >= IoU: equal to the best transport (Kantorovich duality)."""
    samples, readers = cross.shape
    above = np.zeros((cross.size, samples + readers))
    row, column = np.indices(cross.shape).reshape(2, -1)
    above[np.arange(cross.size), row] = above[np.arange(cross.size), samples + column] = -1
    tight = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    objective = np.concatenate((weights, truth))
    return linprog(objective, A_ub=above, b_ub=-cross.ravel(), bounds=(None, None), options=tight).fun


def test_agrees_with_its_dual_over_random_weights():
    """Ties, zeros, repeated masks and weights over six orders of magnitude."""
    rng = np.random.default_rng(2)
    for _ in range(150):
        samples, readers = rng.integers(1, 30), rng.integers(1, 6)
        cross = rng.choice([0, 0, 1, 0.5, *rng.random(5)], (samples, readers))
        weights, truth = (rng.dirichlet(np.full(n, 0.2)) for n in (samples, readers))
        assert ot_iou(cross, weights, truth) == pytest.approx(dual_value(cross, weights, truth), abs=1e-9)


def test_small_weights_count_exactly():
    """A share of 1e-8 that fits nobody costs 1e-8."""
    weights = np.array([1 - 1e-8, 1e-8])
    found = ot_iou(np.array([[1.0, 1.0], [0.0, 0.0]]), weights, np.array([0.5, 0.5]))
    assert 1 - found == pytest.approx(float(Fraction(1, 10**8)), abs=1e-9)


def test_is_cheap_enough_for_every_case():
    rng = np.random.default_rng(3)
    start = time.perf_counter()
    for _ in range(20):
        ot_iou(rng.random((100, 4)), rng.dirichlet(np.ones(100)), np.full(4, 0.25))
    assert (time.perf_counter() - start) / 20 < 0.1  # measured: 4 ms on a busy core


def test_sets_with_next_to_no_weight_on_most_masks_are_matched():
    """As reweighting makes them: nearly all weights vanish, and two sets of hundreds still have a transport."""
    rng = np.random.default_rng(0)
    for _ in range(4):
        weights, others = rng.dirichlet(np.full(200, 0.02), 2)
        iou = rng.random((200, 200))
        found = ot_iou(iou, weights, others)
        assert weights @ iou @ others - 1e-9 <= found <= 1
