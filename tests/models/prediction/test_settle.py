"""Where a view settles, and how far it grows, on made volumes with made models whose masks are known."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ambiseg.models.core.size import cut_off
from ambiseg.models.prediction.draws import SEARCH_MM, Draws
from ambiseg.models.prediction.inference import Ranking, predict_volume
from ambiseg.models.prediction.lesion import Lesion, at_point, region_lesions
from ambiseg.models.prediction.neighbourhood import Neighbourhood
from ambiseg.models.prediction.settle import ROUNDS, STEPS, STILL_MM, Ask, Field, Sight, look_around, look_once, settled
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.scans.regions import Region
from ambiseg.preprocessing.volumes.volume import Volume

Make = Callable[..., Trained]
SHAPE = (60, 90, 80)
VOXELS_MM = 0.1  # by which the centre of a ball's voxels may be off
TURNS = [np.diag(signs) for signs in product((1.0, -1.0), repeat=3)]
Pull = Callable[[np.ndarray], np.ndarray]


def oblique(degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]
    )


def scan(steps_mm: tuple[float, float, float], turn: np.ndarray, shape: tuple[int, int, int] = SHAPE) -> Volume:
    """An empty scan centred at (0, 0, 0) mm; steps along x, y, z."""
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(steps_mm)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return Volume(np.zeros(shape, np.int16), affine)


def offsets(volume: Volume, place: Neighbourhood, centre: np.ndarray) -> np.ndarray:
    """From a centre to the voxels of a place, in mm [Z, Y, X, 3]."""
    z, y, x = np.meshgrid(*(np.arange(side.start, side.stop) for side in place.box), indexing="ij")
    return np.stack([x, y, z], -1) @ volume.affine[:3, :3].T + volume.affine[:3, 3] - centre


def balls(volume: Volume, pull: Pull, asked: list[Neighbourhood], radius_mm: float = 8.0) -> Ask:
    """A model that marks balls of several sizes around a centre, which depends on where it looks."""

    def ask(lesion: Lesion, place: Neighbourhood, draws: int) -> Draws:
        asked.append(place)
        distance = np.linalg.norm(offsets(volume, place, pull(np.array(lesion.place_mm))), axis=-1)
        radii = np.linspace(0.5, 1, draws) * radius_mm
        labels = np.stack([distance <= radius for radius in radii]).astype(np.uint8)
        return Draws(labels, np.full(draws, 1 / draws), draws, np.zeros(0, np.float32), None)

    return ask


def sight(volume: Volume, ask: Ask, crop: int = 64, depth_mm: float | None = None) -> Sight:
    return Sight(volume, crop, 0.5, ask, depth_mm, most_draws=64)


def start(direction: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    way = np.array(direction) + 1e-9
    return radius_mm * way / np.linalg.norm(way)


DIRECTION = st.tuples(*(st.floats(-1, 1),) * 3)


@settings(max_examples=60)
@given(
    st.tuples(DIRECTION, DIRECTION),
    st.floats(0, 2),
    st.floats(-0.5, 0.5),
    st.sampled_from(TURNS),
    st.sampled_from([0.0, 11.0]),
    st.tuples(st.floats(0.5, 0.9), st.floats(0.5, 0.9), st.floats(0.6, 2.5)),
)
def test_all_points_near_a_lesion_end_at_the_same_place(
    directions: tuple[tuple[float, float, float], tuple[float, float, float]],
    radius_mm: float,
    share: float,
    turn: np.ndarray,
    degrees: float,
    steps_mm: tuple[float, float, float],
) -> None:
    """Wherever the view is off, the model's masks are off by a share of that."""
    volume = scan(steps_mm, turn @ oblique(degrees))
    true = np.array([1.3, -0.4, 2.1])
    places = []
    for direction in directions:
        asked: list[Neighbourhood] = []
        ask = balls(volume, lambda place: true + share * (place - true), asked)
        point = tuple((true + start(direction, radius_mm)).tolist())
        lesion, _ = look_around(sight(volume, ask), Lesion(point))
        assert lesion.centre_mm == point
        places.append(np.array(lesion.place_mm))
        assert len(asked) <= STEPS + 1
    left = abs(share) / (1 - abs(share)) * STILL_MM  # of the way, where the last step is as long as it may be
    assert np.linalg.norm(places[0] - places[1]) < 2 * left + VOXELS_MM
    assert np.linalg.norm(places[0] - true) < 0.3


@pytest.mark.parametrize("radius_mm", [0.4, 1.0, 2.0])
def test_a_circle_ends_in_its_middle(radius_mm: float) -> None:
    """A model whose masks lie opposite to where the view is off would send it back and forth for ever."""
    volume = scan((0.6, 0.6, 1.0), np.eye(3))
    ask = balls(volume, lambda place: -place, asked := [])
    for direction in ((1.0, 0, 0), (0, -1.0, 0.5), (-0.3, 0.4, 1.0)):
        lesion = settled(sight(volume, ask), Lesion(tuple(start(direction, radius_mm))), Field((20, 20)))
        assert np.linalg.norm(lesion.place_mm) < 0.2
    assert len(asked) <= 3 * STEPS


def test_a_view_goes_no_farther_than_its_limit() -> None:
    volume = scan((0.6, 0.6, 1.0), np.eye(3))
    ask = balls(volume, lambda place: np.add(place, (4.0, 0, 0)), [], radius_mm=5)
    lesion = settled(sight(volume, ask), Lesion((0, 0, 0)), Field((20, 20)))
    assert 4 < np.linalg.norm(lesion.place_mm) <= SEARCH_MM + 1e-6


def test_where_nothing_is_marked_the_view_stays() -> None:
    volume = scan((0.6, 0.6, 1.0), np.eye(3))
    asked: list[Neighbourhood] = []
    lesion, _ = look_around(sight(volume, balls(volume, lambda place: place + 1000, asked)), Lesion((1.0, 2, 3)))
    assert lesion.place_mm == lesion.centre_mm == (1.0, 2, 3)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("shape", "steps_mm"),
    [
        ((1, 60, 60), (0.7, 0.7, 5.0)),
        ((700, 40, 40), (0.7, 0.7, 0.5)),
        ((9, 40, 40), (0.7, 0.7, 10.0)),
        ((60, 1, 40), (1.0, 3.0, 1.0)),
        ((40, 40, 40), (3.0, 3.0, 3.0)),
    ],
)
@pytest.mark.parametrize("radius_mm", [0.1, 8.0, 1000.0])
def test_looking_ends_on_all_geometries(
    shape: tuple[int, int, int], steps_mm: tuple[float, float, float], radius_mm: float
) -> None:
    volume = scan(steps_mm, np.eye(3), shape)
    asked: list[Neighbourhood] = []
    ask = balls(volume, lambda place: 0.3 * place, asked, radius_mm)
    _, place = look_around(sight(volume, ask, crop=32), Lesion(volume.world(tuple((n - 1) / 2 for n in shape))))
    assert len(asked) <= ROUNDS * (STEPS + 1)
    assert all(0 <= side.start < side.stop <= count for side, count in zip(place.box, shape, strict=True))


@pytest.mark.parametrize(("length_mm", "width_mm"), [(44.0, 20.0), (90.0, 32.0)])
@pytest.mark.parametrize("off_mm", [-12.0, 0.0, 12.0])
def test_a_long_lesion_is_seen_whole_wherever_one_points_at_it(
    length_mm: float, width_mm: float, off_mm: float
) -> None:
    volume = scan((1.0, 1.0, 1.5), np.eye(3), (90, 60, 60))

    def rod(lesion: Lesion, place: Neighbourhood, draws: int) -> Draws:
        way = np.abs(offsets(volume, place, np.zeros(3)))
        labels = ((way[..., 2] <= length_mm / 2) & (np.hypot(way[..., 0], way[..., 1]) < width_mm / 2))[None].astype(
            np.uint8
        )
        return Draws(labels, np.ones(1), None, np.zeros(0, np.float32), None)

    lesion, place = look_around(sight(volume, rod), Lesion((0, 0, off_mm)))
    slices = (np.arange(90) - 44.5) * 1.5
    marked = np.flatnonzero(np.abs(slices) <= length_mm / 2)
    assert place.box[0].start < marked[0]
    assert place.box[0].stop - 1 > marked[-1]
    assert np.linalg.norm(lesion.place_mm) < 0.5


def test_a_vessel_is_not_followed() -> None:
    volume = scan((1.0, 1.0, 1.5), np.eye(3), (90, 60, 60))
    asked: list[Neighbourhood] = []

    def vessel(lesion: Lesion, place: Neighbourhood, draws: int) -> Draws:
        asked.append(place)
        way = offsets(volume, place, np.zeros(3))
        labels = (np.hypot(way[..., 0], way[..., 1]) < 3)[None].astype(np.uint8)
        return Draws(labels, np.ones(1), None, np.zeros(0, np.float32), None)

    _, place = look_around(sight(volume, vessel), Lesion((1.0, 0, 0)))
    assert max(each.shape[0] for each in asked) * 1.5 < 45
    assert place.shape[0] * 1.5 < 45


def test_what_lies_beyond_a_neck_does_not_make_the_view_deeper() -> None:
    """A vessel that touches the lesion from below, beyond a slice on which next to nothing is marked."""
    volume = scan((1.0, 1.0, 2.0), np.eye(3))

    def with_vessel(lesion: Lesion, place: Neighbourhood, draws: int) -> Draws:
        way = offsets(volume, place, np.zeros(3))
        vessel = (way[..., 2] < -11) & (np.hypot(way[..., 0], way[..., 1]) < 3)
        labels = ((np.linalg.norm(way, axis=-1) < 9) | vessel)[None].astype(np.uint8)
        return Draws(labels, np.ones(1), None, np.zeros(0, np.float32), None)

    lesion, place = look_around(sight(volume, with_vessel), Lesion((1.0, 1, 1)))
    assert np.linalg.norm(lesion.place_mm) < 0.2
    assert place.shape[0] * 2 < 40


def test_a_limit_of_depth_is_kept() -> None:
    volume = scan((1.0, 1.0, 2.0), np.eye(3))
    ask = balls(volume, lambda place: 0 * place, [], radius_mm=30)
    _, place = look_around(sight(volume, ask, depth_mm=6), Lesion((0, 0, 0)))
    assert place.shape[0] == 6


def bright(volume: Volume, radius_mm: float) -> Volume:
    """A ball in air: from 1000 HU at its centre to -1000 HU at its surface."""
    z, y, x = np.indices(volume.array.shape)
    places = np.stack([x, y, z], -1) @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    return Volume(np.maximum(1000 - 2000 * np.linalg.norm(places, axis=-1) / radius_mm, -1000), volume.affine)


@pytest.mark.parametrize("spacing_mm", [None, 0.6])
def test_a_lesion_wider_than_the_crop_is_seen_whole(threshold_model: Make, spacing_mm: float | None) -> None:
    volume = bright(scan((0.6, 0.6, 4.0), np.eye(3), (20, 120, 120)), 30)
    trained = threshold_model(32, spacing_mm)  # crops of 19 mm
    lesion = at_point(volume, (1.0, -1.0, 0.5))
    (result,) = predict_volume(trained, volume, [lesion], Ranking(draws=30))
    assert result.zoom > 1
    (once,) = predict_volume(trained, volume, [lesion], Ranking(draws=30, fast=True))
    assert once.zoom == 1
    for found, whole in ((result, True), (once, False)):
        assert any(cut_off(mask, found.box, volume.array.shape) for mask in found.hypotheses.masks) is not whole
    low, high = trained.record.window
    least, most = (4 / 3 * np.pi * (30 * (1000 - low - (high - low) * level) / 2000) ** 3 for level in (0.6, 0.3))
    for mask in result.hypotheses.masks[~result.hypotheses.empty]:
        assert 0.9 * least < mask.sum() * 0.6 * 0.6 * 4 < 1.1 * most


def test_a_mask_wider_than_the_crop_is_held_by_it(threshold_model: Make) -> None:
    volume = bright(scan((0.6, 0.6, 4.0), np.eye(3), (9, 120, 120)), 5)
    mask = np.zeros(volume.array.shape, np.uint8)
    mask[4, 40:80, 40:80] = 1
    (lesion,) = region_lesions([Region("", np.argwhere(mask))], volume, "roi")
    (result,) = predict_volume(threshold_model(32, None), volume, [lesion], Ranking(draws=10))
    assert result.box[1].start <= 40
    assert result.box[1].stop >= 80


def test_fast_looks_once_around_the_given_place() -> None:
    volume = scan((0.6, 0.6, 1.0), np.eye(3))
    asked: list[Neighbourhood] = []
    place = look_once(sight(volume, balls(volume, lambda place: 0 * place, asked)), Lesion((3.0, 0, 0)))
    assert len(asked) == 1
    assert place.plane == asked[0].plane


def test_candidates_that_end_at_the_same_place_are_one(threshold_model: Make) -> None:
    volume = bright(scan((0.6, 0.6, 2.0), np.eye(3), (24, 90, 90)), 12)
    lesions = [Lesion((offset, 0, 0), score=1 - offset / 10) for offset in (0.0, 2.0, 4.0)]
    trained = threshold_model(64, 0.5)
    assert len(predict_volume(trained, volume, lesions, Ranking(draws=10))) == 3
    (one,) = predict_volume(trained, volume, lesions, Ranking(draws=10), most=2)
    assert one.lesion.score == 1
    assert len(predict_volume(trained, volume, lesions, Ranking(draws=10, fast=True), most=2)) == 2
