"""Masks as pixels: ignored pixels have no effect."""

import pytest
import torch

from ambiseg.models.core.randomness import generator_for
from ambiseg.models.nets.pixels import cross_entropy, mean_cross_entropy, one_hot
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


def test_one_hot_planes_are_zero_where_pixels_are_ignored() -> None:
    planes = one_hot(torch.tensor([[[0, 2], [1, IGNORE]]]), 3)
    assert planes.shape == (1, 3, 2, 2)
    assert planes.sum(1).tolist() == [[[1, 1], [1, 0]]]
    assert planes[0, 2].tolist() == [[0, 1], [0, 0]]
