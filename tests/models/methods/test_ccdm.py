"""Diffusion on label maps: its chain against brute force over all masks of four pixels, and its draws against their law."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ambiseg.models.core.batch import Batch
from ambiseg.models.core.randomness import generator_for, uniform
from ambiseg.models.methods.ccdm import CCDM, WaysBack, backwards, draw_steps, drawn_classes, kept_shares, noisy_chances
from ambiseg.models.nets.pixels import one_hot
from ambiseg.preprocessing.store.store import IGNORE

STEPS = 6


def make(classes: int = 2, **options: Any) -> CCDM:
    torch.manual_seed(0)
    narrow = {"widths": (4, 8), "blocks": 1, "attention": 1, "noise_steps": STEPS}
    return CCDM(1, classes, **(narrow | options)).eval()


def images(batch: int = 2) -> Tensor:
    return torch.rand(batch, 1, 12, 10, generator=generator_for("images"))


def masks(classes: int = 2, readers: int = 3) -> Tensor:
    return torch.randint(0, classes, (2, readers, 12, 10), generator=generator_for("masks"))


def one_step(classes: int, step: int) -> Tensor:
    """P(x_step | x_{step - 1}) of one pixel [K, K], from the definition of the chain."""
    shares = kept_shares(STEPS)
    alpha = shares[step] / shares[step - 1]
    return alpha * torch.eye(classes, dtype=torch.float64) + (1 - alpha) / classes


def transition(classes: int, start: int, end: int) -> Tensor:
    """P(x_end | x_start) of one pixel [K, K], by multiplying single steps."""
    found = torch.eye(classes, dtype=torch.float64)
    for step in range(start + 1, end + 1):
        found = found @ one_step(classes, step)
    return found


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("end", "start"), [(4, 3), (6, 2), (1, 0), (5, 0)])
def test_the_way_back_is_that_of_a_brute_force_chain_of_four_pixels(classes: int, end: int, start: int) -> None:
    """All K^4 masks x_0, weighted by a guess, with all K^4 masks x_s: Bayes' rule on whole masks, without a formula."""
    generator = generator_for("four", classes)
    guess = torch.rand(classes, 4, generator=generator, dtype=torch.float64).softmax(0)
    noisy = torch.randint(0, classes, (4,), generator=generator)
    first, second = transition(classes, 0, start), transition(classes, start, end)
    wanted = torch.zeros(classes, 4, dtype=torch.float64)
    pixels = range(4)
    for clean in itertools.product(range(classes), repeat=4):
        believed = math.prod(guess[clean[i], i].item() for i in pixels)
        joint = {
            earlier: math.prod((first[clean[i], earlier[i]] * second[earlier[i], noisy[i]]).item() for i in pixels)
            for earlier in itertools.product(range(classes), repeat=4)
        }
        evidence = sum(joint.values())
        for earlier, mass in joint.items():
            for i in pixels:
                wanted[earlier[i], i] += believed * mass / evidence
    shares = kept_shares(STEPS)
    planes = one_hot(noisy.view(1, 2, 2), classes).double()
    found = backwards(planes, guess.view(1, classes, 2, 2), shares[end], shares[start])
    assert torch.allclose(found.flatten(2)[0], wanted, atol=1e-7)


def test_noise_follows_the_chain_and_ends_uniform() -> None:
    for step in range(STEPS + 1):
        found = noisy_chances(torch.eye(3).view(3, 3, 1, 1), kept_shares(STEPS)[step]).view(3, 3)
        assert torch.allclose(found.double(), transition(3, 0, step), atol=1e-6)
    assert torch.allclose(found, torch.full((3, 3), 1 / 3), atol=1e-3)


def test_classes_are_drawn_with_their_probabilities() -> None:
    chances = torch.tensor([0.2, 0.0, 0.5, 0.3]).view(1, 4, 1, 1).expand(1, 4, 200, 200)
    labels = drawn_classes(chances, uniform((1, 200, 200), generator_for(0), chances))
    assert torch.allclose(one_hot(labels, 4).mean((0, 2, 3)), chances[0, :, 0, 0], atol=0.01)


def test_the_loss_is_the_divergence_summed_over_the_pixels_that_count() -> None:
    method, labels = make(3), masks(3)
    labels[0, 1, :4] = IGNORE
    found = method.loss(Batch(images(), labels), generator_for(1))
    generator, shares = generator_for(1), torch.tensor(kept_shares(STEPS))
    step = torch.randint(1, STEPS + 1, (6,), generator=generator)
    readers, counts = labels.flatten(0, 1), (labels.flatten(0, 1) != IGNORE)
    numbers = uniform(readers.shape, generator, images())
    total = 0.0
    for row, t in enumerate(step.tolist()):
        clean = one_hot(readers[row : row + 1], 3)
        clean[:, :, ~counts[row]] = 1 / 3
        noisy = one_hot(drawn_classes(noisy_chances(clean, shares[t]), numbers[row : row + 1]), 3)
        prepared = method.denoiser.prepare(images()[row // 3][None])
        guess = method.denoiser(prepared, noisy, step[row : row + 1]).softmax(1)
        wanted, stated = (backwards(noisy, one, shares[t], shares[t - 1])[0] for one in (clean, guess))
        apart = torch.distributions.kl_divergence(
            *(torch.distributions.Categorical(one.permute(1, 2, 0) + 1e-12) for one in (wanted, stated))
        )
        total += apart[counts[row]].sum().item() / 6
    assert found.total.item() == pytest.approx(total, rel=1e-3)
    assert all(bool(parameter.isfinite().all()) for parameter in found.terms.values())


class Certain:
    """A denoiser that sees in the noisy mask which of two masks it came from, by Bayes' rule: the best possible guess."""

    def __init__(self, both: Tensor, chance: float, steps: int):
        self.both, self.chance, self.shares = both, chance, kept_shares(steps)

    def __call__(self, prepared: Tensor, noisy: Tensor, step: Tensor) -> Tensor:
        noised = noisy_chances(one_hot(self.both, 2), self.shares[int(step)]).log()
        evidence = torch.einsum("nkhw,mkhw->nm", noisy, noised) + torch.tensor([self.chance, 1 - self.chance]).log()
        return torch.einsum("nm,mkhw->nkhw", evidence.softmax(1), one_hot(self.both, 2)).clamp_min(1e-30).log()


@pytest.mark.parametrize("count", [40, 10])
def test_with_the_best_guess_draws_are_one_of_two_masks_with_its_probability(count: int) -> None:
    both = torch.zeros(2, 6, 6, dtype=torch.long)
    both[1, 1:5, 1:5] = 1
    shares = kept_shares(40)
    steps = tuple((step, shares[step]) for step in draw_steps(40, count))
    ways = WaysBack(Certain(both, 0.3, 40), torch.zeros(2, 1, 6, 6), 2, steps)
    labels = ways.atoms(400, generator_for(0)).labels
    empty = (labels == both[0]).flatten(2).all(2)
    whole = (labels == both[1]).flatten(2).all(2)
    assert (empty | whole).float().mean() > 0.97
    assert empty.float().mean().item() == pytest.approx(0.3, abs=0.06)


def test_fewer_steps_are_evenly_spaced_and_end_at_the_mask() -> None:
    assert draw_steps(250, 250) == tuple(range(250, -1, -1))
    assert draw_steps(250, 5) == (250, 200, 150, 100, 50, 0)
    assert make(draw_steps=0)(images()).steps[0] == make(draw_steps=2)(images()).steps[0]
    assert len(make(draw_steps=2)(images()).steps) == 3
    assert len(make(draw_steps=99)(images()).steps) == STEPS + 1


def test_tied_images_share_all_random_numbers() -> None:
    method, one = make(), images(1)
    tied, free = (method(one.expand(3, -1, -1, -1)).sample(5, generator_for(0), tied=tied) for tied in (True, False))
    assert torch.allclose(tied[0], tied[2], atol=1e-5)
    assert not torch.equal(free[0].argmax(1), free[2].argmax(1))
    alone = method(one).sample(5, generator_for(0))
    assert torch.allclose(alone[0], tied[1], atol=1e-4)
