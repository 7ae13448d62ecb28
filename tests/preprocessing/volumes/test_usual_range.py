"""The range that values use: exact without strays, blind to a few of them, and the same for one array and many."""

import numpy as np
import pytest

from ambiseg.preprocessing.volumes.usual_range import RangeOfMany, usual_range


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(100, 10, (10, 64, 64)).astype(np.float32)


def test_without_strays_it_is_the_whole_range(values: np.ndarray) -> None:
    assert usual_range(values) == (values.min(), values.max())
    assert usual_range(np.arange(5, dtype=np.uint8)) == (0, 4)
    assert usual_range(np.full(9, 3.0)) == (3, 3)


@pytest.mark.parametrize("stray", [1e6, -1e6, 1e30])
def test_strays_do_not_count(values: np.ndarray, stray: float) -> None:
    """Up to 0.4 % of the pixels, on either side."""
    whole = usual_range(values)
    hot = values.copy()
    hot.reshape(-1)[::250] = stray
    low, high = usual_range(hot)
    assert whole[0] <= low < high <= whole[1]
    assert high - low > 0.9 * (whole[1] - whole[0])


def test_where_nearly_all_is_background_the_rest_counts() -> None:
    spots = np.zeros((400, 400), np.float32)
    spots[40, 20:380] = np.linspace(50, 200, 360)
    assert usual_range(spots) == (0, 200)
    spots[0, 0] = 1e6
    assert usual_range(spots) == (0, 200)


def test_many_images_have_the_range_of_all_together(values: np.ndarray) -> None:
    values[4, 7, 7] = 1e6
    found = RangeOfMany()
    for image in values:
        found.add(image)
    assert found.usual() == usual_range(values)
    assert (found.low, found.high) == (values.min(), 1e6)


def test_memory_is_bounded_and_extremes_stay_exact(monkeypatch: pytest.MonkeyPatch, values: np.ndarray) -> None:
    monkeypatch.setattr("ambiseg.preprocessing.volumes.usual_range.MOST", 5000)
    found = RangeOfMany()
    for image in values:
        found.add(image)
    assert sum(map(len, found._kept)) <= 5000
    assert found.usual() == (values.min(), values.max())
