"""Dropout's factors: their share, their mean, and their layout in memory."""

import pytest
import torch

from ambiseg.models.core.randomness import generator_for, kept


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_share_is_dropped_and_the_mean_is_one(rate: float) -> None:
    factors = kept((8, 16, 64, 64), rate, generator_for(0), torch.zeros(1))
    assert factors.unique().tolist() == pytest.approx([0, 1 / (1 - rate)])
    assert (factors == 0).float().mean().item() == pytest.approx(rate, abs=0.003)
    assert factors.mean().item() == pytest.approx(1, abs=0.01)


def test_factors_lie_in_memory_as_features_do() -> None:
    factors = kept((2, 3, 5, 4, 7), 0.5, generator_for(0), torch.zeros(1, dtype=torch.float64))
    assert factors.shape == (2, 3, 5, 4, 7)
    assert factors.dtype == torch.float64
    assert factors.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_the_same_seed_gives_the_same_factors() -> None:
    one, other, third = (kept((2, 3, 4, 5), 0.5, generator_for(seed), torch.zeros(1)) for seed in (1, 1, 2))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)
