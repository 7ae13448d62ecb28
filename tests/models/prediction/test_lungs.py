"""The lungs of synthetic chests, whose shape is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ambiseg.models.prediction.lungs import block_means, closed, lung_mask
from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.volumes.volume import Volume

SIZE_MM = (240.0, 220.0, 320.0)
LUNGS = ((0.0, 0.0, -70.0), (0.0, 0.0, 70.0))  # centres (z, y, x) in mm from the middle
RADII = (95.0, 65.0, 48.0)


class Chest:
    """HU of a body of fat and muscle in air with two lungs, on voxels of a spacing; places are mm from its middle."""

    def __init__(self, spacing_mm: tuple[float, float, float], lungs: tuple[tuple[float, ...], ...] = LUNGS):
        self.spacing_mm = spacing_mm
        counts = [round(length / step) for length, step in zip(SIZE_MM, spacing_mm, strict=True)]
        self.axes = np.meshgrid(
            *((np.arange(n) - (n - 1) / 2) * step for n, step in zip(counts, spacing_mm, strict=True)),
            indexing="ij",
            sparse=True,
        )
        self.array = np.full(counts, -1000.0, np.float32)
        self.array[self.ball((0, 0, 0), (1e6, 100, 150))] = 20
        self.lungs = np.zeros(counts, bool)
        for centre in lungs:
            self.lungs |= self.ball(centre, RADII)
        self.array[self.lungs] = -850

    def ball(self, centre: tuple[float, ...], radii: float | tuple[float, ...]) -> np.ndarray:
        radii = np.broadcast_to(radii, 3)
        return sum(((axis - at) / r) ** 2 for axis, at, r in zip(self.axes, centre, radii, strict=True)) <= 1  # type: ignore[return-value]

    def volume(self, seed: int = 0) -> Volume:
        noisy = self.array + np.random.default_rng(seed).normal(0, 25, self.array.shape)
        return Volume(np.rint(noisy).astype(np.int16), np.diag([*self.spacing_mm[::-1], 1.0]))


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union."""
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize("spacing", [(2.5, 2.5, 2.5), (5.0, 2.0, 2.0), (1.25, 2.0, 2.0), (3.0, 4.0, 4.0)])
def test_both_lungs_are_found_on_thick_and_thin_slices(spacing: tuple[float, float, float]) -> None:
    chest = Chest(spacing)
    mask = lung_mask(chest.volume())
    assert mask.dtype == bool
    assert mask.shape == chest.array.shape
    assert overlap(mask, chest.lungs) > 0.9


def test_one_lung_is_enough() -> None:
    chest = Chest((2.5, 2.5, 2.5), LUNGS[:1])
    assert overlap(lung_mask(chest.volume()), chest.lungs) > 0.9


def test_windpipe_bowel_gas_couch_and_arms_are_no_lungs() -> None:
    plain = Chest((2.5, 2.5, 2.5))
    chest = Chest((2.5, 2.5, 2.5))
    windpipe = chest.ball((0, 30, 0), (1e6, 8, 8))
    gas = chest.ball((-105, -40, 60), (14, 30, 30)) & ~chest.lungs
    chest.array[windpipe | gas] = -1000
    z, y, x = chest.axes
    foam = (y > 102) & (y < 108) & (abs(x) < 100) & (z < 1e6)
    chest.array[(y > 100) & (abs(x) < 105) & (z < 1e6)] = -300
    chest.array[foam] = -900
    chest.array[chest.ball((0, 0, 157), (1e6, 40, 12))] = 20
    mask = lung_mask(chest.volume())
    assert not mask[windpipe & (abs(x) < 4)].any()
    assert mask[gas & ~lung_mask(plain.volume())].mean() < 0.05
    assert not mask[foam].any()
    assert overlap(mask, chest.lungs) > 0.9


def test_a_nodule_at_the_pleura_and_a_vessel_at_the_hilum_lie_inside() -> None:
    chest = Chest((2.5, 2.5, 2.5))
    nodule = chest.ball((0, 0, 70 + 48 - 4), 7)
    vessel = chest.ball((20, 0, -70 + 44), (6, 6, 20)) & chest.lungs
    chest.array[nodule | vessel] = 30
    mask = lung_mask(chest.volume())
    assert mask[chest.ball((0, 0, 70 + 48 - 6), 3)].all()
    assert mask[vessel].mean() > 0.8


def test_lungs_cut_by_the_field_are_lungs() -> None:
    chest = Chest((2.5, 2.5, 2.5))
    part = (slice(30, 60), slice(20, 70), slice(10, 64))
    mask = lung_mask(Volume(chest.volume().array[part], np.diag([2.5, 2.5, 2.5, 1])))
    assert overlap(mask, chest.lungs[part]) > 0.9


def test_emphysema_is_lung() -> None:
    chest = Chest((2.5, 2.5, 2.5))
    chest.array[chest.lungs] = -945
    chest.array[chest.ball((30, 0, 70), 20)] = -1000  # a bulla
    assert overlap(lung_mask(chest.volume()), chest.lungs) > 0.9


@pytest.mark.parametrize("hounsfield", [-1000, 40])
def test_without_lungs_nothing_is_marked(hounsfield: int) -> None:
    chest = Chest((2.5, 2.5, 2.5), ())
    chest.array[chest.ball((0, 0, 0), 25)] = hounsfield  # gas in the belly, or none
    assert not lung_mask(chest.volume()).any()


def test_closing_ends_with_the_lung_and_not_at_the_field() -> None:
    mask = np.zeros((30, 40, 40), bool)
    mask[:27, 10:30, 10:30] = True
    mask[:, 18:21, 18:21] = False  # a vessel through the first slice
    result = closed(mask, (2.5, 2.5, 2.5))
    assert not result[27:].any()
    assert result[:25, 12:28, 12:28].all()


def test_block_means_count_the_voxels_that_are_there() -> None:
    array = np.arange(5 * 3 * 4).reshape(5, 3, 4)
    means = block_means(array, (2, 2, 3))
    assert means.shape == (3, 2, 2)
    for z, y, x in np.ndindex(means.shape):
        expected = array[2 * z : 2 * z + 2, 2 * y : 2 * y + 2, 3 * x : 3 * x + 3].mean()
        assert means[z, y, x] == pytest.approx(expected)


@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 400)] * 3))
@settings(max_examples=60)
def test_block_means_are_means_however_large_a_block_is(
    shape: tuple[int, int, int], blocks: tuple[int, int, int]
) -> None:
    array = np.random.default_rng(math.prod(shape)).integers(-1000, 1000, shape).astype(np.int16)
    means = block_means(array, blocks)
    assert means.dtype == np.float32
    for place in np.ndindex(means.shape):
        part = array[tuple(slice(at * size, (at + 1) * size) for at, size in zip(place, blocks, strict=True))]
        assert means[place] == pytest.approx(part.mean(), abs=1e-3)


@pytest.mark.parametrize("spacing", [(0.0025, 2.5, 2.5), (2.5, 2.5e-6, 2.5), (2500.0, 2.5, 2.5), (0.0, 1.0, 1.0)])
def test_voxels_that_cannot_be_meant_are_refused_before_any_work(spacing: tuple[float, float, float]) -> None:
    volume = Volume(np.zeros((90, 90, 90), np.int16), np.diag([*spacing[::-1], 1.0]))
    with pytest.raises(
        DataError, match=r"expected 0.01 to 100 mm along each axis; its units are wrong, correct its header"
    ):
        lung_mask(volume)


@pytest.mark.parametrize("spacing", [(0.01, 2.5, 2.5), (2.5, 2.5, 0.01), (100.0, 0.01, 2.5)])
def test_the_oddest_voxels_that_are_taken_cost_little(spacing: tuple[float, float, float]) -> None:
    volume = Volume(np.full((12, 60, 60), -850, np.int16), np.diag([*spacing[::-1], 1.0]))
    assert lung_mask(volume).shape == (12, 60, 60)
