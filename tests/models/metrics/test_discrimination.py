"""AUROC: by hand, against all pairs, and the interval of its bootstrap."""

import math
import time

import numpy as np
import pytest

from ambiseg.models.metrics.discrimination import auroc, auroc_figure


def slow_auroc(scores, truth, weights):
    """The share of pairs in which the positive case has the higher score, a tie counting half."""
    right = total = 0.0
    for score, weight in zip(scores[truth], weights[truth], strict=True):
        for other, by in zip(scores[~truth], weights[~truth], strict=True):
            right += weight * by * ((score > other) + (score == other) / 2)
            total += weight * by
    return right / total if total else math.nan


def test_by_hand():
    scores, truth = np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True])
    assert auroc(scores, truth) == (1 + 0.5 + 1 + 1) / 4
    assert auroc(-scores, truth) == 0.5 / 4
    assert auroc(np.zeros(4), truth) == 0.5
    assert auroc(scores, truth, np.array([1, 3, 2, 0])) == (2 * 1 + 6 * 0.5) / 8


def test_agrees_with_all_pairs_with_ties_and_weights():
    rng = np.random.default_rng(0)
    for _ in range(300):
        count = rng.integers(1, 12)
        scores, truth = rng.choice([0.0, 0.25, 0.5, *rng.random(3)], count), rng.random(count) < 0.4
        weights = rng.integers(4, size=(3, count))
        expected = [slow_auroc(scores, truth, row) for row in weights]
        np.testing.assert_allclose(auroc(scores, truth, weights), expected, rtol=0, atol=1e-12)


def test_figure_has_an_interval_by_patient():
    """Patients whose crops are all alike: copies of a crop do not narrow the interval."""
    rng = np.random.default_rng(1)
    truth = rng.random(60) < 0.5
    scores = truth + rng.normal(0, 1.5, 60)
    names = [f"p{number:02d}" for number in range(60)]
    few = auroc_figure(scores, truth, names, np.random.default_rng(0))
    many = auroc_figure(scores.repeat(10), truth.repeat(10), np.repeat(names, 10), np.random.default_rng(0))
    assert few.low < few.mean < few.high
    assert (few.mean, few.low, few.high) == pytest.approx((many.mean, many.low, many.high))
    assert (few.cases, many.cases) == (60, 600)
    assert math.isnan(few.sd)


def test_nothing_to_tell_apart_is_not_defined():
    names = ["a", "b", "c"]
    for truth in (np.zeros(3, bool), np.ones(3, bool)):
        figure = auroc_figure(np.array([0.1, 0.2, 0.3]), truth, names, np.random.default_rng(0))
        assert math.isnan(figure.mean)
        assert math.isnan(figure.low)
        assert figure.cases == 3
    unknown = auroc_figure(np.array([0.1, np.nan, 0.3]), np.array([True, False, True]), names, np.random.default_rng(0))
    assert (math.isnan(unknown.mean), unknown.cases) == (True, 2)
    one = auroc_figure(np.array([0.1, 0.3]), np.array([False, True]), ["a", "a"], np.random.default_rng(0))
    assert one.mean == 1
    assert math.isnan(one.low)


def test_a_bootstrap_of_thousands_of_cases_is_fast():
    rng = np.random.default_rng(2)
    start = time.perf_counter()
    auroc_figure(rng.random(5000), rng.random(5000) < 0.3, np.arange(5000) // 5, rng)
    assert time.perf_counter() - start < 5  # measured: .4 s
