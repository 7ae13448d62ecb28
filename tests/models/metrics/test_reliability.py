"""Reliability bins and the expected calibration error, by hand and on events whose truth is known."""

import numpy as np
import pytest

from ambiseg.models.metrics.reliability import Bins, binned, pooled_ece, together


def test_events_are_sorted_into_bins_of_equal_width() -> None:
    found = binned(np.array([0.05, 0.15, 0.19, 1.0]), np.array([0.0, 1.0, 0.5, 1.0]), bins=10)
    assert found.counts.tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    np.testing.assert_allclose(found.mean_confidence[[0, 1, 9]], [0.05, 0.17, 1])
    np.testing.assert_allclose(found.frequency[[0, 1, 9]], [0, 0.75, 1])
    assert np.isnan(found.frequency[2])
    assert found.ece == pytest.approx((0.05 + 2 * (0.75 - 0.17) + 0) / 4)


def test_weights_count_events_so_often() -> None:
    p, hits, weights = np.array([0.2, 0.7, 0.7]), np.array([0.0, 1.0, 0.0]), np.array([2.0, 3.0, 1.0])
    often = binned(np.repeat(p, [2, 3, 1]), np.repeat(hits, [2, 3, 1]))
    weighted = binned(p, hits, weights=weights)
    for one, other in zip(vars(often).values(), vars(weighted).values(), strict=True):
        np.testing.assert_allclose(one, other)


def test_no_event_has_no_error() -> None:
    assert np.isnan(binned(np.zeros(0), np.zeros(0)).ece)


def test_the_error_of_honest_probabilities_shrinks_with_their_number() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(100_000)
    happened = (rng.random(100_000) < p).astype(float)
    assert binned(p, happened).ece < 0.01
    assert binned(p, happened**0).ece == pytest.approx((1 - p).mean())


def test_cases_add_up() -> None:
    rng = np.random.default_rng(1)
    p, hits = rng.random(60), rng.integers(0, 2, 60).astype(float)
    parts = [binned(p[start : start + 20], hits[start : start + 20]) for start in (0, 20, 40)]
    assert together(parts).ece == pytest.approx(binned(p, hits).ece)


def cases(rng: np.random.Generator, patients: int, bias: float) -> tuple[list[Bins], list[str]]:
    """Five events a case, two cases a patient; things happen more often than said by `bias`."""
    found, names = [], []
    for patient in range(patients):
        for _ in range(2):
            p = rng.uniform(0.1, 0.6, 5)
            found.append(binned(p, (rng.random(5) < p + bias).astype(float)))
            names.append(f"p{patient}")
    return found, names


def test_the_interval_of_the_error_covers_a_known_bias() -> None:
    """Of 40 data sets with a bias of .3, the interval must hold it in most."""
    held = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        figure = pooled_ece(*cases(rng, 150, 0.3), rng)
        held += figure.low <= 0.3 <= figure.high
        assert figure.low <= figure.mean <= figure.high + 0.02
    assert held >= 34


def test_one_patient_has_no_interval() -> None:
    found, names = cases(np.random.default_rng(0), 1, 0)
    figure = pooled_ece(found, names, np.random.default_rng(0))
    assert np.isnan(figure.low)
    assert figure.cases == 2
