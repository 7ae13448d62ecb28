"""Forecasts of volumes: against sums over all pairs, by hand, and on outcomes that come from the forecast itself."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambiseg.models.metrics.volume_scores import (
    NAMES,
    VolumeForecast,
    crps,
    judge_each_by_the_others,
    judge_volumes,
    weighted_quantiles,
)

NUMBERS = st.lists(st.integers(0, 50), min_size=1, max_size=8)


def forecast(volumes: list[float], weights: list[float]) -> VolumeForecast:
    return VolumeForecast(np.array(volumes, float), np.array(weights, float))


def slow_crps(values: list[int], weights: list[float], outcome: float) -> float:
    """E|X - y| - E|X - X'| / 2 by its definition."""
    pairs = list(zip(values, weights, strict=True))
    apart = sum(w * abs(x - outcome) for x, w in pairs)
    return apart - sum(v * w * abs(x - y) for x, v in pairs for y, w in pairs) / 2


@given(NUMBERS, st.data())
def test_crps_is_the_double_sum_of_its_definition(values: list[int], data: st.DataObject) -> None:
    raw = data.draw(st.lists(st.integers(1, 9), min_size=len(values), max_size=len(values)))
    weights = (np.array(raw) / sum(raw)).tolist()
    outcomes = data.draw(NUMBERS)
    found = crps(np.array(values, float), np.array(weights), np.array(outcomes, float))
    assert found == pytest.approx([slow_crps(values, weights, one) for one in outcomes], abs=1e-9)
    assert (found >= -1e-9).all()


@given(NUMBERS, st.integers(0, 50), st.randoms(use_true_random=False))
def test_crps_depends_on_neither_order_nor_splitting(values: list[int], outcome: int, random: object) -> None:
    share = np.full(len(values), 1 / len(values))
    once = crps(np.array(values, float), share, np.array([float(outcome)]))
    twice = list(values) * 2
    random.shuffle(twice)  # type: ignore[attr-defined]
    again = crps(np.array(twice, float), np.full(len(twice), 1 / len(twice)), np.array([float(outcome)]))
    assert again == pytest.approx(once, abs=1e-9)


def test_crps_of_one_mask_is_the_distance() -> None:
    assert crps(np.array([3.0]), np.ones(1), np.array([1.0, 3.0, 10.0])).tolist() == [2.0, 0.0, 7.0]


def test_crps_is_the_area_between_the_distribution_functions() -> None:
    """Gneiting & Raftery 2007, eq. 20: the integral of (F(x) - 1{x >= y})^2."""
    values, weights, outcome = np.array([1.0, 2.0, 5.0]), np.array([0.5, 0.2, 0.3]), 3.0
    grid = np.arange(0, 8, 1e-4) + 5e-5
    below = (weights * (values <= grid[:, None])).sum(1)
    area = ((below - (grid >= outcome)) ** 2).sum() * 1e-4
    assert crps(values, weights, np.array([outcome])) == pytest.approx(area, abs=1e-3)


def test_crps_is_least_for_the_distribution_that_outcomes_come_from() -> None:
    values, truth = np.array([0.0, 10.0, 40.0]), np.array([0.3, 0.5, 0.2])
    own = truth @ crps(values, truth, values)
    for other in ([0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [1 / 3, 1 / 3, 1 / 3]):
        assert truth @ crps(values, np.array(other), values) > own


@given(NUMBERS, st.floats(0.01, 0.99))
def test_a_quantile_is_the_smallest_value_that_reaches_its_level(values: list[int], level: float) -> None:
    numbers, weights = np.array(values, float), np.full(len(values), 1 / len(values))
    (found,) = weighted_quantiles(numbers, weights, [level])
    reaching = [value for value in values if sum(other <= value for other in values) / len(values) >= level - 1e-12]
    assert found == min(reaching)


def test_quantiles_by_hand() -> None:
    values, weights = np.array([30.0, 10.0, 20.0]), np.array([0.2, 0.5, 0.3])
    assert weighted_quantiles(values, weights, [0, 0.5, 0.500001, 0.8, 0.81, 1]).tolist() == [10, 10, 20, 20, 30, 30]


def test_a_forecast_given_that_the_lesion_is_marked() -> None:
    whole = forecast([0, 10, 30], [0.5, 0.375, 0.125])
    given = whole.marked
    assert given is not None
    assert (whole.presence, given.presence) == (0.5, 1.0)
    assert (whole.expected, given.expected) == (7.5, 15.0)
    assert forecast([0, 10], [1, 0]).marked is None


def test_judging_by_hand() -> None:
    """Half of the weight is on nothing, and one of two readers marked nothing."""
    found = judge_volumes(forecast([0, 10, 30], [0.5, 0.25, 0.25]), np.array([0.0, 20.0]))
    spread = 2 * (0.5 * 0.25 * 10 + 0.5 * 0.25 * 30 + 0.25 * 0.25 * 20)
    nothing, twenty = 0.25 * 10 + 0.25 * 30 - spread / 2, 0.5 * 20 + 0.25 * 10 + 0.25 * 10 - spread / 2
    assert found.scores["volume_crps"] == pytest.approx((nothing + twenty) / 2)
    assert found.scores["presence_brier"] == pytest.approx(0.25)
    assert found.scores["presence_nll"] == pytest.approx(math.log(2))
    assert (found.scores["volume_in_50"], found.scores["volume_in_90"]) == (1, 1)
    assert found.scores["volume_width_90"] == pytest.approx(3)
    logs = np.log([10, 30])
    expected = np.abs(logs - math.log(20)).mean() - (logs[1] - logs[0]) / 4
    assert found.scores["log_volume_crps"] == pytest.approx(expected)
    assert (found.counted, found.expected, found.volume) == (1, 20, 20)
    assert found.log_ratio == pytest.approx(0)


def test_what_is_not_defined_is_nan() -> None:
    unmarked = judge_volumes(forecast([0, 10], [0.5, 0.5]), np.zeros(3))
    assert math.isnan(unmarked.scores["log_volume_crps"])
    assert unmarked.scores["volume_width_90"] == 1
    assert (unmarked.counted, unmarked.expected, unmarked.volume) == (0, 0, 0)
    silent = judge_volumes(forecast([0], [1]), np.array([5.0, 0.0]))
    assert silent.counted == 0
    assert math.isnan(silent.scores["volume_width_50"])
    assert silent.scores["volume_crps"] == 2.5
    pixels = judge_volumes(forecast([0, 10], [0.5, 0.5]), np.array([5.0, 0.0]), in_mm=False)
    defined = {name for name, value in pixels.scores.items() if not math.isnan(value)}
    assert defined == {"presence_brier", "presence_nll"}
    assert set(pixels.scores) == set(NAMES)


def test_a_certain_and_wrong_presence_has_a_finite_likelihood() -> None:
    assert judge_volumes(forecast([0], [1]), np.ones(1)).scores["presence_nll"] == pytest.approx(-math.log(1e-3))


def test_intervals_hold_what_they_say_where_the_forecast_is_the_truth() -> None:
    """Outcomes drawn from a fine forecast fall into its 50 and 90 % intervals in as many cases."""
    rng = np.random.default_rng(0)
    volumes = np.exp(rng.normal(5, 1, 400))
    known = VolumeForecast(volumes, np.full(400, 1 / 400))
    found = judge_volumes(known, rng.choice(volumes, 4000))
    assert found.scores["volume_in_50"] == pytest.approx(0.5, abs=0.03)
    assert found.scores["volume_in_90"] == pytest.approx(0.9, abs=0.02)
    assert found.expected / found.volume == pytest.approx(1, abs=0.05)


def test_each_reader_is_forecast_by_the_others() -> None:
    found = judge_each_by_the_others(np.array([0.0, 10.0, 30.0]))
    assert found is not None
    assert found.stated.tolist() == [1.0, 0.5, 0.5]
    assert found.marked.tolist() == [False, True, True]
    assert found.scores["presence_brier"] == pytest.approx((1 + 0.25 + 0.25) / 3)
    assert found.scores["volume_crps"] == pytest.approx(
        ((20 - 5) + (0.5 * 10 + 0.5 * 20 - 7.5) + (0.5 * 30 + 0.5 * 20 - 2.5)) / 3
    )
    assert found.scores["log_volume_crps"] == pytest.approx(math.log(3))
    assert (found.counted, found.expected, found.volume) == (2, 40, 40)
    assert judge_each_by_the_others(np.array([1.0])) is None
