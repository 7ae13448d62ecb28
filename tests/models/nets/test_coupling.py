"""The coupling of masks and readers against a linear program, and the soft distance against that of hard masks."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog

from ambiseg.models.core.randomness import generator_for
from ambiseg.models.nets.coupling import greedy_coupling, soft_jaccard_distances
from ambiseg.models.nets.energy_score import jaccard_distances

TRIALS = 40


def costs(masks: int, readers: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(TRIALS, masks, readers, generator=generator_for("costs", masks, readers, seed))


def least(cost: NDArray[np.float32], most: float) -> float:
    """The least cost of any coupling with columns of 1 / M and rows of at most `most`."""
    masks, readers = cost.shape
    row, column = np.indices(cost.shape).reshape(2, -1)
    found = linprog(
        cost.ravel(),
        A_ub=(row == np.arange(masks)[:, None]).astype(float),
        b_ub=np.full(masks, most),
        A_eq=(column == np.arange(readers)[:, None]).astype(float),
        b_eq=np.full(readers, 1 / readers),
        method="highs",
    )
    assert found.success
    return float(found.fun)


def excess(cost: torch.Tensor, most: float) -> NDArray[np.float64]:
    """How much dearer the greedy coupling is than the best one, in each trial."""
    paid = (greedy_coupling(cost, most) * cost).sum((1, 2)).numpy()
    return np.array([one - least(each, most) for one, each in zip(paid, cost.numpy(), strict=True)])


@pytest.mark.parametrize("readers", [1, 2, 4, 7])
@pytest.mark.parametrize(("masks", "most"), [(2, 0.5), (5, 0.5), (16, 0.5), (5, 1.0), (8, 0.15)])
def test_readers_give_all_their_weight_and_no_mask_takes_too_much(readers: int, masks: int, most: float) -> None:
    found = greedy_coupling(costs(masks, readers), most)
    assert (found >= 0).all()
    assert torch.allclose(found.sum(1), torch.full((TRIALS, readers), 1 / readers), atol=1e-6)
    assert (found.sum(2) <= most + 1e-6).all()


@pytest.mark.parametrize(("masks", "readers", "most"), [(5, 4, 1.0), (16, 7, 1.0), (6, 1, 0.5), (7, 1, 0.3)])
def test_it_is_the_best_where_masks_have_room_for_all_or_one_reader_chooses(
    masks: int, readers: int, most: float
) -> None:
    assert np.abs(excess(costs(masks, readers), most)).max() < 1e-6


def test_with_room_for_all_each_reader_goes_to_its_nearest_mask() -> None:
    cost = costs(6, 4)
    found = greedy_coupling(cost, 1.0)
    assert torch.equal(found.argmax(1), cost.argmin(1))
    assert torch.equal(found.amax(1), torch.full((TRIALS, 4), 0.25))


def test_it_is_the_best_where_no_mask_is_wanted_by_too_many() -> None:
    cost = costs(16, 4)
    wanted = torch.nn.functional.one_hot(cost.argmin(1), 16).sum(1).amax(1)
    gap = excess(cost, 0.5)
    assert 0 < (wanted > 2).sum() < TRIALS
    assert np.abs(gap[wanted.numpy() <= 2]).max() < 1e-6


def test_elsewhere_it_can_be_dearer_but_is_never_cheaper() -> None:
    """Two readers want the same mask. Greedy pays .5, the best coupling .15."""
    cost = torch.tensor([[[0.0, 0.1], [0.2, 1.0]]])
    assert excess(cost, 0.5).item() == pytest.approx(0.35)
    tight = costs(4, 4)  # with one mask for each reader, the tightest case
    gap = excess(tight, 0.25)
    assert gap.min() > -1e-6
    assert gap.max() > 0.1
    paid = (greedy_coupling(tight, 0.25) * tight).sum((1, 2)).mean().item()
    assert gap.mean() / paid < 0.2  # measured: .038 of .280; where 16 masks hold two readers each, 0


def test_it_has_no_gradient_and_rejects_masks_without_room() -> None:
    assert not greedy_coupling(costs(4, 2).requires_grad_(), 0.5).requires_grad
    with pytest.raises(ValueError, match=r"1 masks that hold at most 0.5 each"):
        greedy_coupling(torch.zeros(1, 1, 1), 0.5)


def test_soft_distances_of_hard_masks_are_those_of_masks_with_one_more_common_pixel() -> None:
    left, right = ((torch.rand(2, 3, 30, generator=generator_for(seed)) < 0.4).float() for seed in (0, 1))
    left[0, 0] = right[0, 1] = 0
    common = torch.ones(2, 3, 1)
    wanted = jaccard_distances(torch.cat((left, common), 2), torch.cat((right, common), 2))
    found = soft_jaccard_distances(left, right)
    assert torch.allclose(found, wanted, atol=1e-6)
    assert found[0, 0, 1] == 0
