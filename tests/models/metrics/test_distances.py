"""GED: hand-computed cases, a naive double loop, and the bias of the V-statistic by simulation."""

import math

import numpy as np
import pytest

from ambiseg.models.core.overlap import overlaps
from ambiseg.models.metrics.distances import ged


def rows(*masks):
    return np.array(masks, np.uint8)[:, None]


def slow_distance(a, b):
    either = np.count_nonzero(a | b)
    return 1 - (np.count_nonzero(a & b) / either if either else 1)


def slow_ged(labels, weights, masks):
    cross = samples = readers = 0.0
    for s, w in zip(labels, weights, strict=True):
        for y in masks:
            cross += w * slow_distance(s, y) / len(masks)
        for t, v in zip(labels, weights, strict=True):
            samples += w * v * slow_distance(s, t)
    for y in masks:
        for z in masks:
            readers += slow_distance(y, z) / len(masks) ** 2
    return 2 * cross - samples - readers


def slow_unbiased(labels, masks):
    """The U-statistic of equal draws: self-pairs never visited."""

    def mean(pairs):
        distances = [slow_distance(a, b) for a, b in pairs]
        return sum(distances) / len(distances)

    def others(masks):
        return [(a, b) for i, a in enumerate(masks) for j, b in enumerate(masks) if i != j]

    return 2 * mean([(s, y) for s in labels for y in masks]) - mean(others(labels)) - mean(others(masks))


def test_two_draws_and_two_readers_by_hand():
    draws = rows([1, 1, 0, 0], [0, 0, 0, 0])
    readers = rows([1, 0, 0, 0], [0, 0, 0, 0])
    found = ged(overlaps(draws, readers), draws=2)
    assert found.overlap == (1 / 2 + 1 + 1 + 0) / 4
    assert found.sample_diversity == found.reader_diversity == 1 / 2
    assert found.v == 1.25 - 0.5 - 0.5
    assert found.u == 1.25 - 1 - 1


def test_weights_replace_repetition():
    few, many = rows([1, 1, 0], [0, 0, 1]), rows([1, 1, 0], [1, 1, 0], [1, 1, 0], [0, 0, 1])
    readers = rows([1, 1, 1], [0, 1, 1])
    weighted = ged(overlaps(few, readers), np.array([0.75, 0.25]), draws=4)
    repeated = ged(overlaps(many, readers), draws=4)
    assert weighted.v == pytest.approx(repeated.v, abs=1e-15)
    assert weighted.u == pytest.approx(repeated.u, abs=1e-15)


def test_exact_weights_have_no_self_pairs_to_leave_out():
    masks = rows([1, 1, 0], [0, 0, 1])
    found = ged(overlaps(masks, masks), draws=None, reader_weights=np.array([0.5, 0.5]))
    assert found.v == found.u == 0


def test_unbiased_needs_two_draws_and_two_readers():
    one, two = rows([1, 0]), rows([1, 0], [0, 1])
    assert math.isnan(ged(overlaps(one, two), draws=1).u)
    assert math.isnan(ged(overlaps(two, one), draws=2).u)
    assert ged(overlaps(one, one), draws=1).v == 0


def test_agrees_with_a_double_loop_over_random_sets():
    rng = np.random.default_rng(7)
    for _ in range(1500):
        labels, masks = (rng.integers(2, size=(rng.integers(2, 6), 2, 3), dtype=np.uint8) for _ in range(2))
        labels[rng.random(len(labels)) < 0.3] = 0
        masks[rng.random(len(masks)) < 0.3] = 0
        weights = rng.dirichlet(np.ones(len(labels)))
        iou = overlaps(labels, masks)
        assert ged(iou, weights, draws=None).v == pytest.approx(slow_ged(labels, weights, masks), abs=1e-12)
        assert ged(iou, draws=len(labels)).u == pytest.approx(slow_unbiased(labels, masks), abs=1e-12)


def test_bias_of_the_v_statistic_is_diversity_over_n():
    """E[GED_V(N, M)] = GED + E d(s, s') / N + E d(y, y') / M, and E[GED_U] = GED, for two known distributions."""
    support = rows([0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1])
    model, truth = np.array([0.1, 0.5, 0.2, 0.2]), np.array([0.4, 0.3, 0.3, 0.0])
    exact = ged(overlaps(support, support), model, draws=None, reader_weights=truth)
    rng = np.random.default_rng(3)
    n, m = 4, 3
    found = []
    for _ in range(6000):
        draws, readers = support[rng.choice(4, n, p=model)], support[rng.choice(4, m, p=truth)]
        found.append(ged(overlaps(draws, readers), draws=n))
    v, u = (np.array([getattr(one, kind) for one in found]) for kind in "vu")
    expected = exact.v + exact.sample_diversity / n + exact.reader_diversity / m
    assert abs(v.mean() - expected) < 4 * v.std() / math.sqrt(len(v))
    assert abs(u.mean() - exact.v) < 4 * u.std() / math.sqrt(len(u))
    assert expected - exact.v > 20 * v.std() / math.sqrt(len(v))  # the simulation can tell the two apart
