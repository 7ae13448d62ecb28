"""Mode probabilities: hand-computed cases, modes that coincide, and groups."""

import numpy as np
import pytest

from ambiseg.models.core.overlap import overlaps
from ambiseg.models.metrics.modes import by_group, mode_error, mode_probabilities


def rows(*masks):
    return np.array(masks, np.uint8)[:, None]


EMPTY, ONE, TWO, THREE = [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]


def test_each_mask_counts_for_its_nearest_mode():
    labels = rows(THREE, TWO, EMPTY, [1, 0, 0, 1])
    found = mode_probabilities(labels, np.array([0.4, 0.3, 0.2, 0.1]), rows(EMPTY, ONE, TWO))
    np.testing.assert_allclose(found, [0.2, 0.1, 0.7])


def test_a_mask_as_near_to_two_modes_is_shared():
    found = mode_probabilities(rows([0, 1, 1, 0], TWO), np.array([0.6, 0.4]), rows(EMPTY, TWO, [0, 0, 1, 1]))
    np.testing.assert_allclose(found, [0.0, 0.3 + 0.4, 0.3])


def test_a_mask_that_overlaps_no_mode_counts_for_none():
    """A model that draws nothing where something is always drawn must not look calibrated."""
    modes, odds = rows(ONE, [0, 1, 0, 0]), np.array([0.5, 0.5])
    np.testing.assert_allclose(mode_probabilities(rows(EMPTY), np.ones(1), modes), [0.0, 0.0])
    assert mode_error(overlaps(rows(EMPTY), modes), np.ones(1), odds) == pytest.approx(0.5)


def test_a_mode_that_is_listed_twice_counts_once():
    """TWO stands twice: a mask as near to it as to another mode gives it no more, and the odds part what it has."""
    modes, odds = rows(TWO, [0, 0, 1, 1], TWO), np.array([0.2, 0.2, 0.6])
    labels, weights = rows([0, 1, 1, 0], TWO), np.array([0.5, 0.5])
    np.testing.assert_allclose(mode_probabilities(labels, weights, modes), [0.375, 0.25, 0.375])
    np.testing.assert_allclose(mode_probabilities(labels, weights, modes, odds=odds), [0.75 / 4, 0.25, 0.75 * 3 / 4])
    assert mode_error(overlaps(labels, modes), weights, odds) == pytest.approx((0.05 + 0.05) / 2)


def test_modes_without_odds_share_equally():
    modes, odds = rows(ONE, ONE, TWO), np.array([0.0, 0.0, 1.0])
    found = mode_probabilities(rows(ONE, TWO), np.array([0.5, 0.5]), modes, odds=odds)
    np.testing.assert_allclose(found, [0.25, 0.25, 0.5])


def test_classes_without_score_make_no_other_mode():
    modes = rows([1, 2, 0, 0], [1, 3, 0, 0])
    labels, weights = rows([1, 3, 0, 0], [1, 2, 0, 0], [1, 2, 0, 0]), np.full(3, 1 / 3)
    np.testing.assert_allclose(mode_probabilities(labels, weights, modes), [2 / 3, 1 / 3])
    odds = np.array([0.9, 0.1])
    assert mode_error(overlaps(labels, modes, scored=(1,)), weights, odds) == pytest.approx(0)
    np.testing.assert_allclose(mode_probabilities(labels, weights, modes, (1,), odds=odds), odds)


def test_probabilities_sum_to_the_mass_of_masks_like_a_mode():
    rng = np.random.default_rng(0)
    for _ in range(300):
        labels, modes = (rng.integers(3, size=(rng.integers(1, 6), 2, 3), dtype=np.uint8) for _ in range(2))
        weights, odds = (rng.dirichlet(np.ones(len(masks))) for masks in (labels, modes))
        found = mode_probabilities(labels, weights, modes, odds=odds)
        like_a_mode = weights[overlaps(labels, modes).cross.max(1) > 0].sum()
        assert found.sum() == pytest.approx(like_a_mode, abs=1e-12)
        assert (found >= 0).all()
        exact = mode_probabilities(modes, odds, modes, odds=odds)
        np.testing.assert_allclose(exact, odds, atol=1e-12)
        assert mode_error(overlaps(modes, modes), odds, odds) == pytest.approx(0, abs=1e-12)


def test_groups_are_means_over_their_images():
    truth = np.array([[0.5, 0.5], [0.2, 0.8], [0.4, 0.6]])
    model = np.array([[0.4, 0.6], [0.0, 1.0], [0.8, 0.2]])
    found = by_group(["b", "a", "a"], truth, model)
    assert list(found) == ["a", "b"]
    np.testing.assert_allclose(found["a"].truth, [0.3, 0.7])
    np.testing.assert_allclose(found["a"].model, [0.4, 0.6])
    assert (found["a"].cases, found["b"].cases) == (2, 1)
    assert found["a"].error == pytest.approx(0.1)  # of the means: .2 too little and .4 too much
    assert found["b"].summary() == {
        "cases": 1,
        "truth": [0.5, 0.5],
        "model": [0.4, 0.6],
        "mean_absolute_error": pytest.approx(0.1),
    }
