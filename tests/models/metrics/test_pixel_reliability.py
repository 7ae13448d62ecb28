"""Reliability of pixels' probabilities: by hand, with ignored pixels and classes without score, and calibrated models."""

import numpy as np
import pytest

from ambiseg.models.metrics.reliability import pixel_reliability
from ambiseg.preprocessing.store.store import IGNORE


def test_by_hand():
    lesion = np.array([[0.9, 0.5, 0.01, 0.06]])
    masks = np.array([[[1, 1, 0, 0]], [[1, 0, 0, 0]]], np.uint8)
    every, marked = pixel_reliability(np.stack((1 - lesion, lesion)), masks, np.array([0.5, 0.5]))
    assert (every.counts.sum(), marked.counts.sum()) == (4, 3)
    assert every.confidence.sum() == pytest.approx(1.47)
    assert every.hits.sum() == 1.5
    assert every.ece == pytest.approx((0.1 + 0 + 0.01 + 0.06) / 4)
    assert marked.ece == pytest.approx((0.1 + 0 + 0.06) / 3)
    weighted, _ = pixel_reliability(np.stack((1 - lesion, lesion)), masks, np.array([0.2, 0.8]))
    assert weighted.hits.sum() == pytest.approx(1.2)


def test_ignored_pixels_and_classes_without_score_are_left_out():
    rng = np.random.default_rng(0)
    marginal = rng.dirichlet(np.ones(4), (5, 6)).transpose(2, 0, 1)
    masks = rng.integers(4, size=(3, 5, 6), dtype=np.uint8)
    truth = np.full(3, 1 / 3)
    masks[1, 2:] = IGNORE
    every, _ = pixel_reliability(marginal, masks, truth, scored=(1, 3))
    expected, _ = pixel_reliability(marginal[:, :2], masks[:, :2], truth, scored=(1, 3))
    assert every.counts.sum() == 2 * 6 * 2
    for name, values in vars(every).items():
        np.testing.assert_array_equal(values, getattr(expected, name))
    np.testing.assert_allclose(every.hits.sum(), np.isin(masks[:, :2], (1, 3)).sum() / 3)
    nothing, _ = pixel_reliability(marginal, np.full_like(masks, IGNORE), truth)
    assert nothing.counts.sum() == 0


def test_readers_drawn_with_the_models_probabilities_bear_them_out():
    rng = np.random.default_rng(1)
    lesion = rng.random((200, 200))
    masks = (rng.random((50, 200, 200)) < lesion).astype(np.uint8)
    every, _ = pixel_reliability(np.stack((1 - lesion, lesion)), masks, np.full(50, 0.02))
    assert every.ece < 0.003
    over, _ = pixel_reliability(np.stack((1 - lesion, lesion)) ** 2, masks, np.full(50, 0.02))
    assert over.ece == pytest.approx(1 / 6, abs=0.01)  # mean of p - p^2
