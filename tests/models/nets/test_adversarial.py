"""The losses of both players, R1 and the calibration loss against their formulas; contexts leave a network unchanged."""

import math

import pytest
import torch
from torch import nn

from ambiseg.models.core.randomness import generator_for, normal
from ambiseg.models.nets.adversarial import (
    FLOOR,
    Discriminator,
    calibration_loss,
    fooling_loss,
    gradient_penalty,
    telling_loss,
)
from ambiseg.models.nets.at_rest import evaluating, frozen

SCORES = torch.tensor([-2.0, 0.5, 3.0])


def test_the_players_losses_are_logarithms_of_the_odds() -> None:
    believed = SCORES.sigmoid()
    assert fooling_loss(SCORES).item() == pytest.approx(-believed.log().mean().item())
    real, fake = SCORES, SCORES[:2] - 1
    expected = -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()
    assert telling_loss(real, fake).item() == pytest.approx(expected.item())
    assert telling_loss(torch.zeros(3), torch.zeros(3)).item() == pytest.approx(2 * math.log(2))


def test_the_generators_gradient_does_not_vanish_when_it_is_caught() -> None:
    scores = torch.tensor([-50.0], requires_grad=True)
    fooling_loss(scores).backward()
    assert scores.grad is not None
    assert scores.grad.item() == pytest.approx(-1)


def test_the_penalty_of_a_linear_score_is_half_its_squared_weights() -> None:
    weight = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    real = normal((5, 3), generator_for(0), SCORES).requires_grad_()
    penalty = gradient_penalty(real @ weight, real)
    assert penalty.item() == pytest.approx(7.0)
    penalty.backward()
    assert weight.grad is not None
    assert torch.allclose(weight.grad, weight.detach())


@pytest.mark.parametrize("released", [False, True])
def test_the_penalty_agrees_with_finite_differences(released: bool) -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(1, 2, 3, released=released).double()
    planes = torch.rand(1, 2, 5, 6, generator=generator_for(0), dtype=torch.float64)
    image = torch.rand(1, 1, 5, 6, generator=generator_for(1), dtype=torch.float64)
    real = planes.clone().requires_grad_()
    found = gradient_penalty(discriminator(real, image), real).item()
    squares = 0.0
    for place in range(planes.numel()):
        step = torch.zeros_like(planes)
        step.view(-1)[place] = 1e-5
        with torch.no_grad():
            up, down = (discriminator(planes + sign * step, image).item() for sign in (1, -1))
        squares += ((up - down) / 2e-5) ** 2
    assert found == pytest.approx(squares / 2, rel=1e-5)


def test_the_calibration_loss_is_the_divergence_of_counted_pixels() -> None:
    mean = torch.tensor([[0.25, 0.5, 0.9], [0.75, 0.5, 0.1]]).view(1, 2, 1, 3)
    target = torch.tensor([[0.5, 0.5, 0.2], [0.5, 0.5, 0.8]]).view(1, 2, 1, 3)
    counted = torch.tensor([True, True, False]).view(1, 1, 3)
    first = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert calibration_loss(mean, target, counted).item() == pytest.approx(first / 2, rel=1e-5)
    assert calibration_loss(target, target, counted).item() == 0
    assert calibration_loss(mean, target, torch.zeros_like(counted)).item() == 0


def test_certain_probabilities_are_clamped() -> None:
    sure = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    loss = calibration_loss(sure, sure.flip(1), torch.ones(1, 1, 1, dtype=torch.bool))
    assert loss.item() == pytest.approx((1 - 2 * FLOOR) * math.log((1 - FLOOR) / FLOOR), rel=1e-3)


def test_a_frozen_net_passes_gradients_and_keeps_none() -> None:
    net = nn.Linear(2, 1)
    net.bias.requires_grad_(False)
    inputs = torch.ones(1, 2, requires_grad=True)
    with frozen(net):
        net(inputs).sum().backward()
    assert inputs.grad is not None
    assert net.weight.grad is None
    assert (net.weight.requires_grad, net.bias.requires_grad) == (True, False)


def test_evaluating_restores_the_mode_even_after_an_error() -> None:
    net = nn.Sequential(nn.BatchNorm2d(2))
    with evaluating(net):
        assert not net[0].training
    assert net[0].training
    one_value = torch.ones(1, 2, 1, 1)
    with pytest.raises(RuntimeError, match="running_mean"), evaluating(net):
        net(one_value[:, :1])
    assert net[0].training
    with evaluating(net.eval()):
        pass
    assert not net[0].training


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 23)])
def test_the_discriminator_scores_any_size(size: tuple[int, int], released: bool) -> None:
    torch.manual_seed(0)
    image = torch.rand(3, 2, *size, generator=generator_for(0))
    discriminator = Discriminator(2, 4, 3, released=released)
    scores = discriminator(torch.rand(3, 4, *size, generator=generator_for(1)), image)
    assert scores.shape == (3,)
    assert scores.unique().numel() == 3


@pytest.mark.parametrize("released", [False, True])
def test_only_the_released_discriminator_tells_where_a_mark_lies(released: bool) -> None:
    """A mark far from the border, moved by a whole number of the coarsest pixels."""
    torch.manual_seed(0)
    planes = torch.zeros(2, 1, 160, 160)
    for one, at in zip(planes, (48, 96), strict=True):
        one[0, at : at + 8, at : at + 8] = 1
    scores = Discriminator(1, 1, 4, released=released)(planes, torch.zeros(2, 1, 160, 160))
    assert torch.isclose(*scores, rtol=1e-5, atol=1e-7) != released
