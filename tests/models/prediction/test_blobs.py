"""Blobs in a synthetic piece of lung: balls are found at their positions and sizes, and tubes and walls rank below them."""

import numpy as np
import pytest

from ambiseg.models.prediction.blobs import Blob, apart, find_blobs
from ambiseg.preprocessing.volumes.volume import Volume

SIZE_MM = (60.0, 70.0, 80.0)
NOISE = 20.0


class Lung:
    """Lung tissue in HU on voxels of a spacing (z, y, x); places are mm from the first voxel. Edges are a voxel wide."""

    def __init__(self, spacing_mm: tuple[float, float, float] = (1.5, 1.0, 1.0)):
        self.spacing_mm = spacing_mm
        counts = [round(length / step) for length, step in zip(SIZE_MM, spacing_mm, strict=True)]
        self.points = np.moveaxis(np.indices(counts), 0, -1) * spacing_mm
        self.array = np.random.default_rng(0).normal(-850, NOISE, counts)

    def paint(self, distance: np.ndarray, hounsfield: float = 40) -> None:
        share = np.clip(0.5 - distance, 0, 1)
        self.array += share * (hounsfield - self.array)

    def ball(self, centre: tuple[float, ...], diameter: float, hounsfield: float = 40) -> None:
        self.paint(np.linalg.norm(self.points - centre, axis=-1) - diameter / 2, hounsfield)

    def tube(self, through: tuple[float, ...], way: tuple[float, ...], diameter: float) -> None:
        along = np.divide(way, np.linalg.norm(way))
        offset = self.points - through
        across = offset - (offset @ along)[..., None] * along
        self.paint(np.linalg.norm(across, axis=-1) - diameter / 2)

    def wall(self, x: float) -> None:
        self.paint(x - self.points[..., 2])

    def volume(self) -> Volume:
        return Volume(np.rint(self.array).astype(np.int16), np.diag([*self.spacing_mm[::-1], 1.0]))

    def blobs(self, limit: int = 200) -> list[Blob]:
        return find_blobs(self.volume(), np.ones(self.array.shape, bool), limit)

    def distance(self, blob: Blob, centre: tuple[float, ...]) -> float:
        return float(np.linalg.norm(np.multiply(blob.centre, self.spacing_mm) - centre))


SPACINGS = [(1.0, 1.0, 1.0), (1.5, 0.7, 0.7), (3.0, 0.8, 0.8), (0.6, 0.6, 0.6)]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("diameter", [5, 9, 16, 24])
def test_a_ball_is_found_with_its_place_and_size(spacing: tuple[float, float, float], diameter: float) -> None:
    lung, centre = Lung(spacing), (30.3, 36.0, 39.7)
    lung.ball(centre, diameter)
    best = lung.blobs()[0]
    assert lung.distance(best, centre) < 1
    assert best.diameter_mm == pytest.approx(diameter, rel=0.3)
    assert 0.3 < best.likeness <= 1


def test_the_denser_and_the_rounder_come_first() -> None:
    lung = Lung()
    lung.ball((20, 20, 20), 9)
    lung.ball((20, 50, 20), 9, hounsfield=-450)  # ground glass
    lung.ball((45, 20, 60), 4)
    first, second, third = lung.blobs()[:3]
    assert lung.distance(first, (20, 20, 20)) < 1
    assert lung.distance(second, (20, 50, 20)) < 1
    assert lung.distance(third, (45, 20, 60)) < 1
    assert first.likeness > second.likeness > third.likeness


@pytest.mark.parametrize("way", [(1, 0, 0), (0, 1, 0), (0.3, 1, 0.7)])
@pytest.mark.parametrize("diameter", [4, 8])
def test_a_vessel_is_no_blob(way: tuple[float, ...], diameter: float) -> None:
    lung = Lung()
    lung.ball((15, 15, 15), 6, hounsfield=-300)  # though a faint one
    lung.tube((30, 35, 50), way, diameter)
    best, *others = lung.blobs()
    assert lung.distance(best, (15, 15, 15)) < 1
    assert all(blob.likeness < best.likeness / 3 for blob in others)


def test_a_nodule_at_the_wall_is_found_and_the_wall_is_not() -> None:
    lung = Lung()
    lung.wall(60)
    lung.ball((30, 35, 57), 10)
    best, *others = lung.blobs()
    assert lung.distance(best, (30, 35, 57)) < 3
    assert all(blob.likeness < best.likeness / 3 for blob in others)


def test_tissue_about_a_blob_counts_against_it() -> None:
    free, held = Lung(), Lung()
    for lung in (free, held):
        lung.ball((30, 35, 40), 8)
    held.wall(41)
    assert held.blobs()[0].likeness < free.blobs()[0].likeness / 2


def test_only_centres_in_the_mask_count() -> None:
    lung = Lung()
    lung.ball((30, 20, 40), 8)
    lung.ball((30, 50, 40), 8)
    mask = np.zeros(lung.array.shape, bool)
    mask[:, :35] = True
    found = find_blobs(lung.volume(), mask)
    assert lung.distance(found[0], (30, 20, 40)) < 1
    assert all(blob.centre[1] < 36 for blob in found)
    assert find_blobs(lung.volume(), np.zeros_like(mask)) == []


def test_a_flipped_scan_has_the_flipped_blobs() -> None:
    lung = Lung((1.5, 0.7, 0.7))
    lung.ball((20.2, 20.9, 30), 7)
    lung.ball((45, 52, 61.3), 12)
    volume = lung.volume()
    shape = np.array(volume.array.shape)
    mask = np.ones(shape, bool)
    plain = find_blobs(volume, mask, 2)
    flipped = find_blobs(Volume(np.ascontiguousarray(volume.array[::-1, :, ::-1]), volume.affine), mask, 2)
    for one, other in zip(plain, flipped, strict=True):
        z, y, x = other.centre
        np.testing.assert_allclose((shape[0] - 1 - z, y, shape[2] - 1 - x), one.centre, atol=1e-3)
        assert other.likeness == pytest.approx(one.likeness, abs=1e-4)


def test_the_best_come_first_and_at_most_as_many_as_asked() -> None:
    lung = Lung()
    for number in range(6):
        lung.ball((30, 10 + 10 * number, 12 + 11 * number), 5)
    found = lung.blobs(4)
    assert len(found) == 4
    assert sorted((blob.likeness for blob in found), reverse=True) == [blob.likeness for blob in found]


def test_progress_counts_the_scales() -> None:
    seen: list[tuple[int, int]] = []
    lung = Lung((3.0, 2.0, 2.0))
    find_blobs(lung.volume(), np.ones(lung.array.shape, bool), 5, lambda *both: seen.append(both))
    assert seen == [(done, 7) for done in range(1, 8)]


def test_apart_keeps_the_better_of_two_near_each_other() -> None:
    points = np.array([[0, 0, 0], [0, 0, 5], [0, 0, 20], [0, 0, 50]], float)
    radius = np.array([2.0, 4.0, 4.0, 4.0])
    assert apart(points, radius, np.array([0.2, 0.5, 0.9, 0])).tolist() == [2, 1]
    assert apart(points, radius, np.array([0.5, 0.2, 0.9, 0.1])).tolist() == [2, 0, 1, 3]
    assert apart(points[:0], radius[:0], radius[:0]).tolist() == []
