"""Masks as pixels: ignored pixels have no effect."""

import pytest
import torch

from ambiseg.models.core.randomness import generator_for
from ambiseg.models.nets.pixels import cross_entropy, hard_pixels, mean_cross_entropy, one_hot, surprise
from ambiseg.preprocessing.store.store import IGNORE


def test_cross_entropy_is_summed_over_the_pixels_that_count() -> None:
    logits = torch.log(torch.tensor([0.2, 0.5, 0.3])).view(1, 3, 1, 1).expand(2, -1, 2, 2)
    mask = torch.tensor([[[0, 1], [2, IGNORE]], [[IGNORE, IGNORE], [IGNORE, IGNORE]]])
    expected = -torch.log(torch.tensor(0.2 * 0.5 * 0.3))
    assert cross_entropy(logits, mask).tolist() == pytest.approx([expected.item(), 0.0], rel=1e-6)
    assert mean_cross_entropy(logits, mask).tolist() == pytest.approx([expected.item() / 3, 0.0], rel=1e-6)


def test_an_ignored_pixel_has_no_gradient() -> None:
    logits = torch.randn(1, 2, 3, 3, generator=generator_for(0)).requires_grad_()
    mask = torch.zeros(1, 3, 3, dtype=torch.long)
    mask[0, 1, 1] = IGNORE
    cross_entropy(logits, mask).sum().backward()
    assert (logits.grad.abs().sum(1) > 0).sum() == 8
    assert logits.grad[0, :, 1, 1].abs().sum() == 0


def test_hard_pixels_are_drawn_without_replacement_in_proportion_to_their_cross_entropy() -> None:
    costs = torch.tensor([0.0, 0.5, 1.0, 2.5])
    drawn, generator = torch.zeros(4), generator_for(0)
    for _ in range(3000):
        chosen = hard_pixels(costs.view(1, 2, 2), 0.5, generator).flatten()
        assert chosen.sum() == 2
        drawn += chosen
    odds = costs / costs.sum()
    wanted = [
        sum(odds[first] * (1 if first == pixel else odds[pixel] / (1 - odds[first])) for first in (1, 2, 3)).item()
        for pixel in range(4)
    ]
    assert (drawn / 3000).tolist() == pytest.approx(wanted, abs=0.04)


def test_the_hardest_pixels_are_likely_and_ignored_ones_are_last() -> None:
    logits = torch.randn(2, 2, 6, 6, generator=generator_for(0)) * 3
    mask = torch.zeros(2, 6, 6, dtype=torch.long)
    mask[0, :3] = IGNORE
    costs = surprise(logits, mask)
    assert torch.allclose(costs.sum((1, 2)), cross_entropy(logits, mask))
    chosen = hard_pixels(costs, 54 / 72, generator_for(1))
    assert torch.equal(chosen, mask != IGNORE)
    few = hard_pixels(costs, 0.2, generator_for(1))
    assert few.sum() == 14
    assert costs[few].mean() > 1.5 * costs[mask != IGNORE].mean()
    assert hard_pixels(costs, 1e-9, generator_for(1)).sum() == 1


def test_one_hot_planes_are_zero_where_pixels_are_ignored() -> None:
    planes = one_hot(torch.tensor([[[0, 2], [1, IGNORE]]]), 3)
    assert planes.shape == (1, 3, 2, 2)
    assert planes.sum(1).tolist() == [[[1, 1], [1, 0]]]
    assert planes[0, 2].tolist() == [[0, 1], [0, 0]]
