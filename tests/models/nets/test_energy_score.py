"""The energy score against slow sums, and that the true distribution of masks has the smallest score."""

import itertools

import pytest
import torch

from ambiseg.models.core.randomness import generator_for
from ambiseg.models.nets.energy_score import energy_score, hard_planes, jaccard_distances, pair_weights, reader_planes
from ambiseg.preprocessing.store.store import IGNORE


def planes(*shape: int, seed: int = 0) -> torch.Tensor:
    return (torch.rand(*shape, generator=generator_for(seed)) < 0.4).float()


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    union = torch.maximum(one, other).sum().item()
    return 0.0 if union == 0 else 1 - torch.minimum(one, other).sum().item() / union


def test_distances_are_one_less_iou() -> None:
    left, right = planes(2, 3, 20), planes(2, 4, 20, seed=1)
    left[0, 0] = right[0, 1] = 0
    table = jaccard_distances(left, right)
    for b, s, t in itertools.product(range(2), range(3), range(4)):
        assert table[b, s, t].item() == pytest.approx(distance(left[b, s], right[b, t]), abs=1e-6)
    assert table[0, 0, 1] == 0


def test_score_is_the_double_sum() -> None:
    masks, readers = planes(2, 4, 12), planes(2, 3, 12, seed=1)
    components = torch.tensor([[0.3, 0.7], [0.9, 0.1]])
    weights = components.repeat_interleave(2, 1) / 2
    got = energy_score(masks, weights, pair_weights(components, 2), readers)
    for b, m in itertools.product(range(2), range(3)):
        near = sum(weights[b, s] * distance(masks[b, s], readers[b, m]) for s in range(4))
        one, two = components[b]
        spread = one**2 * distance(masks[b, 0], masks[b, 1]) + two**2 * distance(masks[b, 2], masks[b, 3])
        across = [distance(masks[b, s], masks[b, t]) for s in (0, 1) for t in (2, 3)]
        spread += 2 * one * two * sum(across) / 4
        assert got[b, m].item() == pytest.approx((near - spread / 2).item(), abs=1e-6)


def test_pairs_weigh_one_and_leave_out_a_draw_with_itself() -> None:
    pairs = pair_weights(torch.tensor([[0.2, 0.5, 0.3]]), 3)
    assert pairs.sum().item() == pytest.approx(1)
    assert pairs.diagonal(dim1=1, dim2=2).abs().max() == 0
    assert pairs[0, :3, :3].sum().item() == pytest.approx(0.04)
    assert pairs[0, :3, 3:6].sum().item() == pytest.approx(0.1)


def test_the_readers_own_frequencies_score_least() -> None:
    """Three masks that readers draw with .5, .3 and .2: the score's gradient over the weights leads there."""
    masks, truth = planes(1, 3, 30), torch.tensor([0.5, 0.3, 0.2])
    table = jaccard_distances(masks, masks)[0]

    def score(weights: torch.Tensor) -> torch.Tensor:
        pairs = (weights[:, None] * weights[None])[None]
        return (energy_score(masks, weights[None], pairs, masks)[0] * truth).sum()

    logits = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.05)
    for _ in range(500):
        optimiser.zero_grad()
        score(logits.softmax(0)).backward()
        optimiser.step()
    assert table.max() > 0.3
    assert torch.allclose(logits.softmax(0), truth, atol=0.01)


def test_masks_are_hard_and_gradients_soft() -> None:
    logits = torch.randn(2, 3, 4, 5, 6, generator=generator_for(0), requires_grad=True)
    hard = hard_planes(logits)
    labels = logits.argmax(2)
    wanted = torch.stack([labels == k for k in (1, 2, 3)], 2).float().flatten(2)
    assert torch.allclose(hard, wanted, atol=1e-6)
    hard[:, :, 0].sum().backward()
    assert logits.grad is not None
    assert logits.grad[:, :, 1, 0, 0].min() > 0
    assert logits.grad[:, :, :, 1:].abs().max() == 0


def test_ignored_pixels_count_for_nothing() -> None:
    masks = torch.tensor([[[[1, 2], [IGNORE, 0]], [[0, 2], [1, 0]]]])
    readers, counts = reader_planes(masks, 3)
    assert counts.tolist() == [[[1, 1, 0, 1, 1, 1, 0, 1]]]
    assert readers[0, 0].tolist() == [1, 0, 0, 0, 0, 1, 0, 0]
    assert (readers * counts)[0, 1].tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
