"""Which readers appear in a batch, and the modes that flips make of one label map."""

import torch

from ambiseg.models.core.randomness import generator_for
from ambiseg.models.core.readers import chosen_masks, likely_modes, present_readers
from ambiseg.preprocessing.store.flips import Flip
from ambiseg.preprocessing.store.store import IGNORE


def test_readers_are_drawn_among_those_present_without_repetition() -> None:
    present = torch.tensor([[True, False, True, True, False]]).expand(300, -1)
    chosen = present_readers(present, 2, generator_for(0))
    assert set(chosen.flatten().tolist()) == {0, 2, 3}
    assert (chosen[:, 0] != chosen[:, 1]).all()
    counts = torch.bincount(chosen.flatten(), minlength=5)
    assert counts[[0, 2, 3]].min() > 150


def test_too_few_readers_repeat() -> None:
    chosen = present_readers(torch.tensor([[False, True, True]]), 4, generator_for(0))
    assert sorted(chosen[0].tolist()) == [1, 1, 2, 2]


def test_modes_are_drawn_as_often_as_they_are_likely() -> None:
    odds = torch.tensor([[0.1, 0.0, 0.6, 0.3]]).expand(4000, -1)
    chosen = likely_modes(odds, 3, generator_for(0))
    assert chosen.shape == (4000, 3)
    shares = torch.bincount(chosen.flatten(), minlength=4) / chosen.numel()
    assert torch.allclose(shares, odds[0], atol=0.015)
    both = ((chosen[:, 0] == 2) & (chosen[:, 1] == 2)).float().mean()
    assert abs(both - 0.36) < 0.03  # draws of one image are independent


def test_chosen_masks_are_taken_by_number() -> None:
    masks = torch.arange(3).view(1, 3, 1, 1).expand(2, -1, 4, 4)
    chosen = torch.tensor([[2, 0], [1, 1]])
    assert torch.equal(chosen_masks(masks, chosen, ())[:, :, 0, 0], chosen)


def test_a_modes_bits_say_which_flips_apply() -> None:
    flips = (Flip(0, 3, 0.5), Flip(2, 4, 0.25))
    base = torch.tensor([0, 1, 2, IGNORE], dtype=torch.uint8).view(1, 1, 2, 2)
    modes = chosen_masks(base, torch.tensor([[0, 1, 2, 3]]), flips)
    expected = [[0, 1, 2, IGNORE], [3, 1, 2, IGNORE], [0, 1, 4, IGNORE], [3, 1, 4, IGNORE]]
    assert modes[0].flatten(1).tolist() == expected
