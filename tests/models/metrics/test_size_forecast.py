"""A lesion's size from weighted masks: against sums by hand, in any order, and with masks that are cut off."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambiseg.models.core.size import Size, measure, measure_all
from ambiseg.models.metrics.size_forecast import (
    LEVELS,
    SizeForecast,
    forecast_sizes,
    judge_sizes,
    judge_sizes_by_the_others,
    thresholds,
)

NOTHING = Size(0, 0, 0, 0, 0)


def sized(volume: float, long_axis: float, short_axis: float) -> Size:
    return Size(volume, volume / 2, long_axis, short_axis, 2)


def test_numbers_are_those_of_the_masks_that_mark_anything() -> None:
    sizes = [NOTHING, sized(100, 8, 6), sized(300, 10, 7), sized(50, 5, 5)]
    found = forecast_sizes(sizes, np.array([0.2, 0.4, 0.3, 0.1]), np.zeros(4, bool))
    assert found.presence == pytest.approx(0.8)
    volume = found.spread("volume_mm3")
    assert volume is not None
    assert volume.mean == pytest.approx((100 * 0.4 + 300 * 0.3 + 50 * 0.1) / 0.8)
    assert (volume.low_90, volume.low_50, volume.median, volume.high_50, volume.high_90) == (50, 100, 100, 300, 300)
    assert volume.lower_bounds == ()
    overall = found.spread("volume_mm3", if_marked=False)
    assert overall is not None
    assert (overall.low_90, overall.median, overall.mean) == (0, 100, pytest.approx(0.8 * volume.mean))
    assert found.at_least("volume_mm3", 100) == pytest.approx(0.7 / 0.8)
    assert found.at_least("volume_mm3", 100, if_marked=False) == pytest.approx(0.7)


def test_the_mean_diameter_is_that_of_both_axes_to_a_tenth_of_a_millimetre() -> None:
    found = forecast_sizes([sized(1, 6.63, 5.28)], np.ones(1), np.zeros(1, bool))
    assert found.numbers["mean_diameter_mm"].tolist() == [6.0]
    assert found.at_least("mean_diameter_mm", 6) == 1  # 5.955 is reported as 6.0


def test_masks_that_are_cut_off_make_lower_bounds() -> None:
    sizes = [sized(100, 8, 6), sized(200, 9, 7), sized(300, 10, 8)]
    weights = np.array([0.3, 0.4, 0.3])
    upper = forecast_sizes(sizes, weights, np.array([False, False, True]))
    spread = upper.spread("volume_mm3")
    assert spread is not None
    assert spread.lower_bounds == ("mean", "high_50", "high_90")
    assert upper.share_cut == pytest.approx(0.3)
    lower = forecast_sizes(sizes, weights, np.array([True, False, False])).spread("volume_mm3")
    assert lower is not None
    assert set(lower.lower_bounds) == {"mean", *LEVELS}


def test_nothing_marked_has_no_size() -> None:
    found = forecast_sizes([NOTHING, NOTHING], np.array([0.5, 0.5]), np.zeros(2, bool))
    assert found.spread("volume_mm3") is None
    assert (found.presence, found.share_cut, found.at_least("volume_mm3", 1)) == (0, 0, 0)


def test_a_single_slice_has_an_area_and_no_threshold_of_volume() -> None:
    found = forecast_sizes([sized(10, 4, 3)], np.ones(1), np.zeros(1, bool), flat=True)
    assert found.numbers["area_mm2"].tolist() == [5]
    assert "volume_mm3" not in found.numbers
    assert list(thresholds((8, 6, 6), (100,), flat=True)) == [("mean_diameter_mm", 6), ("mean_diameter_mm", 8)]
    assert list(thresholds((), (250, 100), flat=False)) == [("volume_mm3", 100), ("volume_mm3", 250)]


@given(st.integers(0, 10**6), st.integers(2, 8))
def test_probabilities_fall_with_the_threshold_and_quantiles_agree_with_them(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [sized(*rng.integers(1, 30, 3)) if rng.random() < 0.8 else NOTHING for _ in range(count)]
    found = forecast_sizes(sizes, rng.dirichlet(np.ones(count)), rng.random(count) < 0.3)
    chances = [found.at_least("volume_mm3", value, if_marked=False) for value in range(1, 31)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] == pytest.approx(found.presence)
    spread = found.spread("volume_mm3")
    if spread is not None:
        ends = [getattr(spread, name) for name in sorted(LEVELS, key=LEVELS.__getitem__)]
        assert ends == sorted(ends)
        assert found.at_least("volume_mm3", spread.median) >= 0.5 - 1e-9
        assert found.at_least("volume_mm3", spread.high_90 + 1) <= 0.05 + 1e-9


@given(st.integers(0, 10**6))
def test_many_masks_are_measured_as_each_alone(seed: int) -> None:
    """The longest diameter of all slices, also where slices repeat, are empty, or are single pixels: by all pairs of edges."""
    rng = np.random.default_rng(seed)
    masks = (rng.random((4, 3, 6, 7)) < rng.choice([0.02, 0.2, 0.8])).astype(np.uint8)
    masks[2] = masks[1]
    masks[3, 0] = masks[0, 1]
    spacing = (2.5, *rng.uniform(0.4, 1.5, 2))
    found = measure_all(masks, spacing)
    assert found == [measure(mask, spacing) for mask in masks]
    for mask, size in zip(masks, found, strict=True):
        assert size.long_axis_mm == pytest.approx(max(_longest(plane, spacing[1:]) for plane in mask))
        assert size.volume_mm3 == pytest.approx(mask.sum() * np.prod(spacing))


def _longest(plane: np.ndarray, step: tuple[float, float]) -> float:
    pixels = np.argwhere(plane)
    edges = np.array([[0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    points = (pixels[:, None] + edges).reshape(-1, 2) * step
    return float(np.linalg.norm(points[:, None] - points, axis=2).max()) if len(points) else 0.0


def certain(sizes: list[Size], weights: list[float]) -> SizeForecast:
    return forecast_sizes(sizes, np.array(weights), np.zeros(len(sizes), bool))


def test_thresholds_and_diameters_are_judged_by_each_reader() -> None:
    """Mean diameters 7 (.5), 20 (.3) and none (.2) against readers of 9 mm with 300 mm3, and one who marked nothing."""
    forecast = certain([sized(90, 8, 6), sized(4000, 22, 18), NOTHING], [0.5, 0.3, 0.2])
    found = judge_sizes(forecast, certain([sized(300, 10, 8), NOTHING], [0.5, 0.5]))
    assert found.stated.tolist() == pytest.approx([0.8, 0.3, 0.3, 0.3, 0.3] * 2)
    assert found.reached.tolist() == [1, 1, 0, 1, 1, 0, 0, 0, 0, 0]
    apart = 2 * (0.5 * 0.3 * 13 + 0.5 * 0.2 * 7 + 0.3 * 0.2 * 20) / 2
    nine, nothing = 0.5 * 2 + 0.3 * 11 + 0.2 * 9, 0.5 * 7 + 0.3 * 20
    assert found.diameter_crps == pytest.approx((nine + nothing) / 2 - apart)
    assert found.scores["threshold_brier"] == pytest.approx(np.mean((found.stated - found.reached) ** 2))


def test_readers_forecast_each_other_without_themselves() -> None:
    found = judge_sizes_by_the_others([sized(50, 5, 5), sized(120, 7, 7), NOTHING])
    assert found is not None
    assert found.stated.tolist() == [0.5, 0, 0, 0.5, 0, 0, 0, 0, 0, 0, 0.5, 0, 0, 0.5, 0]
    assert found.reached.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert judge_sizes_by_the_others([NOTHING]) is None


def test_honest_forecasts_reach_thresholds_as_often_as_they_say() -> None:
    """Readers drawn from the forecast itself: the mean of what is stated is the share that comes true."""
    rng = np.random.default_rng(0)
    sizes = [
        NOTHING,
        *(sized(volume, *(volume ** (1 / 3) * np.array([1.6, 1.2]))) for volume in rng.lognormal(5, 1.2, 30)),
    ]
    weights = rng.dirichlet(np.ones(31))
    readers = [sizes[number] for number in rng.choice(31, 4000, p=weights)]
    found = judge_sizes(certain(sizes, weights.tolist()), certain(readers, [1 / 4000] * 4000))
    stated, reached = found.stated.reshape(-1, 5)[0], found.reached.reshape(-1, 5).mean(0)
    assert reached == pytest.approx(stated, abs=0.03)
