"""Changes of volume: by hand, against simulated readers of known habits, and where nothing is marked."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from ambiseg.models.growth.volume_growth import HABITS, change, doubling_days
from ambiseg.models.metrics.volume_scores import VolumeForecast


def forecast(volumes: list[float], weights: list[float]) -> VolumeForecast:
    return VolumeForecast(np.array(volumes, float), np.array(weights, float))


def test_independent_readers_meet_in_all_pairs() -> None:
    found = change(forecast([0, 100, 200], [0.2, 0.5, 0.3]), forecast([0, 130, 240], [0.1, 0.6, 0.3]), "independent")
    assert found.both == pytest.approx(0.8 * 0.9)
    assert (found.vanished, found.appeared) == (pytest.approx(0.8 * 0.1), pytest.approx(0.2 * 0.9))
    grown = 0.5 * 0.6 + 0.5 * 0.3  # 130 / 100, 240 / 100; 240 / 200 is +20 %, 130 / 200 less
    assert found.grown(0.25) == pytest.approx(grown / 0.72)
    assert found.shrunk(0.25) == pytest.approx(0.3 * 0.6 / 0.72)


def test_readers_of_the_same_rank_keep_it() -> None:
    found = change(forecast([0, 100, 200], [0.2, 0.5, 0.3]), forecast([0, 130, 240], [0.1, 0.6, 0.3]), "same rank")
    assert (found.both, found.vanished, found.appeared) == (pytest.approx(0.8), pytest.approx(0), pytest.approx(0.1))
    assert found.grown(0.25) == pytest.approx(0.5 / 0.8)
    assert found.quantiles((0.5,)) == pytest.approx([1.3])


@given(st.integers(0, 10**6), st.sampled_from(HABITS))
def test_margins_and_order(seed: int, habit: str) -> None:
    """What is marked in either scan keeps its probability; the order of the masks does not matter; probabilities are ones."""
    rng = np.random.default_rng(seed)
    sets = []
    for size in rng.integers(1, 7, 2):
        volumes = rng.integers(1, 50, size) * (rng.random(size) < 0.8)
        sets.append(VolumeForecast(volumes.astype(float), rng.dirichlet(np.ones(size))))
    found = change(*sets, habit)
    assert found.both + found.vanished == pytest.approx(sets[0].presence)
    assert found.both + found.appeared == pytest.approx(sets[1].presence)
    order = rng.permutation(len(sets[0].volumes))
    again = change(VolumeForecast(sets[0].volumes[order], sets[0].weights[order]), sets[1], habit)
    if found.both > 1e-9:
        assert found.weights.sum() == pytest.approx(1)
        assert 0 <= found.shrunk(0.25) <= 1 - found.grown(0.25) + 1e-9
        assert again.grown(0.1) == pytest.approx(found.grown(0.1))
    else:
        assert np.isnan(found.grown(0.1)) or found.both > 0


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("growth", [0.8, 1.0, 1.2, 1.4])
def test_stated_probabilities_are_those_of_readers_with_this_habit(habit: str, growth: float) -> None:
    """A lesion of known growth, and readers who draw it larger or smaller by a log-normal factor, kept or drawn anew."""
    factors = np.exp(0.25 * norm.ppf((np.arange(400) + 0.5) / 400))
    before, after = (VolumeForecast(size * factors, np.full(400, 1 / 400)) for size in (500.0, 500.0 * growth))
    found = change(before, after, habit)
    rng = np.random.default_rng(0)
    first, anew = rng.normal(0, 0.25, (2, 40000))
    ratios = growth * np.exp((first if habit == "same rank" else anew) - first)
    assert found.grown(0.25) == pytest.approx((ratios >= 1.25).mean(), abs=0.01)
    assert found.quantiles((0.05, 0.5, 0.95)) == pytest.approx(np.quantile(ratios, (0.05, 0.5, 0.95)), rel=0.02)


def test_the_same_set_twice_did_not_change_for_the_same_reader() -> None:
    same = forecast([0, 50, 90, 400], [0.1, 0.3, 0.4, 0.2])
    found = change(same, same, "same rank")
    assert found.quantiles() == pytest.approx(np.ones(5))
    assert (found.vanished, found.appeared, found.grown(0.25)) == (0, 0, 0)
    assert change(same, same, "independent").grown(0.25) > 0.2


def test_nothing_marked_has_no_change() -> None:
    found = change(forecast([0], [1]), forecast([0, 10], [0.5, 0.5]), "independent")
    assert (found.both, found.appeared) == (0, 0.5)
    assert math.isnan(found.grown(0.25))
    assert np.isnan(found.quantiles()).all()


def test_doubling_times() -> None:
    found = change(forecast([100], [1]), forecast([100 * 2 ** (90 / 400)], [1]), "same rank")
    assert found.doubles_within(400, 90) == 1
    assert found.doubles_within(399, 90) == 0
    assert doubling_days(found.quantiles((0.5,))[0], 90) == pytest.approx(400)
    assert doubling_days(1.0, 90) == math.inf
