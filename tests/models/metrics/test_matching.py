"""HM-IoU against all permutations, and the systematic resampling that feeds it weighted sets."""

from itertools import permutations

import numpy as np
import pytest

from ambiseg.models.metrics.matching import hm_iou, systematic_resample


def test_a_perfect_set_scores_one_in_any_order():
    assert hm_iou(np.eye(4)[[2, 0, 3, 1]].repeat(4, 0)) == 1


def test_all_draws_on_one_reader_score_that_readers_share():
    cross = np.zeros((16, 4))
    cross[:, 0] = 1
    assert hm_iou(cross) == 1 / 4


def test_readers_count_alike_when_they_do_not_divide_the_draws():
    cross = np.zeros((4, 3))
    cross[:, 2] = 1
    assert hm_iou(cross) == pytest.approx(1 / 3)
    assert hm_iou(cross[:, ::-1]) == pytest.approx(1 / 3)


def test_is_the_best_of_all_pairings():
    rng = np.random.default_rng(0)
    for _ in range(100):
        cross = rng.random((6, 3))
        tiled = np.tile(cross, 2)
        best = max(np.mean([tiled[i, j] for i, j in enumerate(order)]) for order in permutations(range(6)))
        assert hm_iou(cross) == pytest.approx(best, abs=1e-12)


def test_draws_of_equal_weight_stand_for_themselves():
    np.testing.assert_array_equal(systematic_resample(np.full(16, 1 / 16), 16), np.arange(16))
    np.testing.assert_array_equal(systematic_resample(np.full(8, 1 / 8), 16), np.arange(8).repeat(2))


def test_each_mask_is_taken_as_often_as_it_weighs():
    rng = np.random.default_rng(1)
    for _ in range(200):
        weights = rng.dirichlet(np.full(rng.integers(1, 40), 0.5))
        times = np.bincount(systematic_resample(weights, 16), minlength=len(weights))
        assert times.sum() == 16
        assert np.all(np.abs(times - 16 * weights) < 1 + 1e-9)
