"""Resampling by matrices: linear images are reproduced, areas are kept, and the inverse undoes it."""

import numpy as np
import pytest

from ambiseg.preprocessing.volumes.resample import PlaneGrid, area_weights, linear_weights, majority


def disc(size: int, centre: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.ogrid[:size, :size]
    return np.hypot(y - centre[0], x - centre[1]) <= radius


@pytest.mark.parametrize("step", [0.4, 1.0, 1.7])
def test_a_linear_image_stays_linear(step: float) -> None:
    """Exactly where pixels get smaller; within a tenth of a step where they get larger and are smoothed."""
    plane = np.add.outer(np.arange(40.0), 2 * np.arange(40.0)) - 7
    grid = PlaneGrid(9, (20.3, 18.8), (step, step))
    expected = np.add.outer(grid.positions(0), 2 * grid.positions(1)) - 7
    assert np.allclose(grid.image(plane, fill=0), expected, atol=0.3 if step > 1 else 1e-3)


def test_the_same_grid_changes_nothing() -> None:
    plane = np.random.default_rng(0).normal(size=(11, 11))
    grid = PlaneGrid(11, (5, 5), (1, 1))
    assert np.allclose(grid.image(plane, -1000), plane, atol=1e-4)
    assert np.allclose(grid.coverage(plane > 0), plane > 0)


def test_beyond_the_plane_lies_the_fill() -> None:
    crop = PlaneGrid(8, (0, 0), (1, 1)).image(np.full((20, 20), 50.0), fill=-1024)
    assert (crop[:3] == -1024).all()
    assert (crop[5:, 5:] == 50).all()
    assert not PlaneGrid(8, (0, 0), (1, 1)).coverage(np.ones((20, 20)))[:3].any()


@pytest.mark.parametrize("step", [0.5, 0.71, 1.0, 1.3])
def test_coverage_keeps_the_area_exactly(step: float) -> None:
    mask = disc(60, (30.2, 29.1), 8)
    assert PlaneGrid(120, (30, 30), (step, step)).coverage(mask).sum() * step**2 == pytest.approx(mask.sum(), rel=1e-4)


def test_majority_keeps_the_area_on_average() -> None:
    """0.7 mm pixels on a 0.5 mm grid: discs of three to six pixels across keep their area within one percent."""
    rng, before, after = np.random.default_rng(1), 0.0, 0.0
    for _ in range(400):
        mask = disc(30, tuple(15 + rng.uniform(-1, 1, 2)), rng.uniform(1.5, 3))
        grid = PlaneGrid(50, tuple(15 + rng.uniform(-0.5, 0.5, 2)), (0.5 / 0.7, 0.5 / 0.7))
        before += mask.sum() * 0.7**2
        after += majority(grid.coverage(mask)).sum() * 0.5**2
    assert after == pytest.approx(before, rel=0.01)


def test_there_and_back() -> None:
    mask = disc(60, (31, 28), 9)
    grid = PlaneGrid(80, (30, 30), (0.6, 0.8))
    back = majority(grid.coverage_back(majority(grid.coverage(mask)), (60, 60)))
    assert (back != mask).sum() <= 0.05 * mask.sum()


def test_weights_sum_to_one_inside() -> None:
    centres = np.linspace(5, 15, 7)
    for weights in (linear_weights(21, centres, 0.7), linear_weights(21, centres, 2.3), area_weights(21, centres, 1.9)):
        assert np.allclose(weights.sum(1), 1)
