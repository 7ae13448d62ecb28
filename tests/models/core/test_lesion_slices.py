"""The slices of a lesion: joining against hand-written results, and which of them a reader marks."""

import numpy as np
import pytest
import torch
from hypothesis import given as drawing
from hypothesis import strategies as st

from ambiseg.models.core.lesion_slices import Extent, LesionSlices, unselected


def join_slices(place_mm):
    return LesionSlices(tuple(place_mm)).join


def logits(*slices: list[float]) -> torch.Tensor:
    """Two-class logits [Z, S, 2, 1, 1] of draws with the given foreground logits."""
    lesion = torch.tensor(slices)[:, :, None, None, None]
    return torch.cat((torch.zeros_like(lesion), lesion), 2)


def lesion(joined: torch.Tensor) -> list[list[float]]:
    return (joined[:, :, 1] - joined[:, :, 0])[..., 0, 0].tolist()


def test_slices_of_a_usual_distance_are_left_as_they_are() -> None:
    given = logits([4.0, -3.0], [2.0, -1.0], [-6.0, -2.0])
    joined = join_slices(np.array([0.0, 2.5, 5.0]))(given.clone())
    assert torch.equal(joined, given)


def test_thin_slices_are_smoothed_and_the_same_everywhere_stays() -> None:
    even = join_slices(np.arange(5) * 0.5)(logits(*[[3.0]] * 5))
    assert np.array(lesion(even)) == pytest.approx(3.0)
    (low,), (middle,), (high,) = lesion(join_slices(np.arange(3) * 0.5)(logits([1.0], [7.0], [1.0])))
    weight = np.exp(-0.5)
    assert middle == pytest.approx((7 + 2 * weight) / (1 + 2 * weight), abs=1e-4)
    assert low == pytest.approx(high)


def test_a_hole_is_filled_from_the_slices_about_it_for_its_draw_alone() -> None:
    joined = lesion(join_slices(np.array([0.0, 2, 4, 6]))(logits([4.0, 4], [-1.0, 2], [-9.0, 1], [1.0, -5])))
    assert [row[0] for row in joined] == pytest.approx([4, -1, -9, 1], abs=0.01)  # 6 mm apart: too far
    near = lesion(join_slices(np.array([0.0, 1.5, 3, 4.5]))(logits([4.0, 4], [-1.0, 2], [-9.0, 1], [1.0, -5])))
    assert [row[0] for row in near] == pytest.approx([4, 3, 2, 1], abs=0.15)
    assert [row[1] for row in near] == pytest.approx([4, 2, 1, -5], abs=0.15)


def test_a_single_missing_slice_is_filled_however_thick_slices_are() -> None:
    assert lesion(join_slices(np.array([0.0, 5, 10]))(logits([2.0], [-3.0], [4.0]))) == [[2.0], [3.0], [4.0]]


def test_what_lies_above_and_below_a_lesion_stays_empty() -> None:
    given = logits([-3.0], [5.0], [-3.0])
    assert torch.equal(join_slices(np.array([0.0, 5, 10]))(given.clone()), given)


def test_classes_are_joined_alike() -> None:
    given = torch.tensor([[0.0, 5, -5], [0, -5, -5], [0, 5, -5]])[:, None, :, None, None]
    assert join_slices(np.array([0.0, 5, 10]))(given.clone())[1, 0, :, 0, 0].tolist() == [0, 5, -5]


@drawing(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(2, 9))
def test_selection_by_marks_is_undone(chances: list[float], among: int) -> None:
    """q is found again from what a network states that only sees slices which some reader marked."""
    q = np.array(chances)
    stated = np.where(q > 1e-9, q / np.maximum(1 - (1 - q) ** among, 1e-300), 1 / among)
    np.testing.assert_allclose(unselected(stated, among), np.where(q > 1e-9, q, 0), atol=1e-5)


@drawing(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=25), st.floats(0.4, 6), st.booleans())
def test_marks_fall_from_the_peak_outwards(chances: list[float], step: float, fitted: bool) -> None:
    extent = Extent(intercept=2.5, slope=1.5, peak=0.5, among=4) if fitted else None
    slices = LesionSlices(tuple(np.arange(len(chances)) * step), extent=extent)
    marking = np.array(chances)
    marks, peak = slices.marks(marking), slices.peak(marking)
    assert marks[peak] == 1
    assert ((marks >= 0) & (marks <= 1)).all()
    assert (np.diff(marks[peak:]) <= 0).all()
    assert (np.diff(marks[: peak + 1]) >= 0).all()


def test_a_short_dip_is_filled_and_what_rises_again_beyond_a_long_one_is_another_lesion() -> None:
    near = LesionSlices((0.0, 2, 4, 6)).marks(np.array([0.8, 0.2, 0.4, 0.1]))
    assert near == pytest.approx([1, 0.5, 0.5, 0.125])
    apart = LesionSlices(tuple(np.arange(6) * 2.0), centre_mm=0).marks(np.array([0.8, 0.1, 0.1, 0.1, 0.8, 0.8]))
    assert apart == pytest.approx([1, 0.125, 0.125, 0.125, 0.125, 0.125])


def test_the_peak_lies_near_the_centre_where_there_is_one() -> None:
    marking = np.array([0.9, 0.1, 0.1, 0.3, 0.2])
    place = (0.0, 4.0, 8.0, 12.0, 16.0)
    assert LesionSlices(place).peak(marking) == 0
    assert LesionSlices(place, centre_mm=13.0).peak(marking) == 3
    assert LesionSlices(place, centre_mm=100.0).peak(marking) == 4


def test_a_slice_that_the_network_takes_for_none_has_no_part_in_a_lesion() -> None:
    """1 of 4 readers is the least that it has learned to state: beyond a lesion it states that."""
    extent = Extent(intercept=2.9, slope=1.8, peak=0.7, among=4)
    assert extent.given(np.array([0.25, 0.9])) == pytest.approx([0, 0.99], abs=0.01)
