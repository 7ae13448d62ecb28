"""Joining slices, against hand-written results for small logits."""

import numpy as np
import pytest
import torch

from ambiseg.models.prediction.draws import join_slices


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
