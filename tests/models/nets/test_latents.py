"""Latent distributions against closed forms, integrals and Monte Carlo."""

import pytest
import torch

from ambiseg.models.core.randomness import generator_for
from ambiseg.models.nets.latents import Family, LatentHead, LatentShape, kl, kl_by_dimension, latent, standard_normal

FAMILIES: tuple[Family, ...] = ("axis", "full", "low-rank", "mixture-axis", "mixture-full", "mixture-low-rank")


def shape_of(family: Family, dim: int = 2) -> LatentShape:
    return LatentShape(family, dim=dim, components=3, rank=2)


def random_latent(family: Family, seed: int, batch: int = 4, dim: int = 2):
    shape = shape_of(family, dim)
    count = shape.components if shape.mixture else 1
    numbers = torch.randn(batch, count * sum(shape.sizes), generator=generator_for(seed)) * 0.4
    return latent(numbers, shape)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_density_integrates_to_one(family: Family) -> None:
    axis = torch.linspace(-9, 9, 901)
    grid = torch.cartesian_prod(axis, axis)
    density = random_latent(family, 1).log_prob(grid.expand(4, -1, -1)).exp()
    total = density.sum(1) * (axis[1] - axis[0]) ** 2
    assert torch.allclose(total, torch.ones(4), atol=2e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_draws_have_the_moments_of_the_distribution(family: Family) -> None:
    found = random_latent(family, 2)
    z = found.draw(found.noise(60_000, generator_for(3)))
    mean, variance = found.moments()
    assert torch.allclose(z.mean(1), mean, atol=0.05)
    assert torch.allclose(z.var(1), variance, rtol=0.05)
    reference = found.distribution()
    assert torch.allclose(reference.mean.squeeze(1), mean, atol=1e-5)
    assert torch.allclose(reference.variance.squeeze(1), variance, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_draws_are_distributed_as_the_density_says(family: Family) -> None:
    """The mean of -log p over draws is the entropy, found here by a sum over a fine grid."""
    found = random_latent(family, 4)
    z = found.draw(found.noise(40_000, generator_for(5)))
    axis = torch.linspace(-9, 9, 901)
    log_p = found.log_prob(torch.cartesian_prod(axis, axis).expand(4, -1, -1))
    entropy = -(log_p.exp() * log_p).sum(1) * (axis[1] - axis[0]) ** 2
    assert torch.allclose(-found.log_prob(z).mean(1), entropy, atol=0.03)


@pytest.mark.parametrize("family", FAMILIES)
def test_kl_agrees_with_monte_carlo(family: Family) -> None:
    q, p = random_latent(family, 6), random_latent(family, 7)
    z = q.draw(q.noise(100_000, generator_for(8)))
    ratio = q.log_prob(z) - p.log_prob(z)
    error = ratio.std(1) / 100_000**0.5
    estimate = kl(q, p, generator_for(9), draws=4000)
    assert ((estimate - ratio.mean(1)).abs() < 5 * error + 0.02 * estimate).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_kl_of_a_distribution_with_itself_is_zero(family: Family) -> None:
    q = random_latent(family, 10)
    assert torch.allclose(kl(q, q, generator_for(0)), torch.zeros(4), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_few_draws_estimate_a_kl_without_bias(family: Family) -> None:
    q, p = random_latent(family, 11), random_latent(family, 12)
    few = torch.stack([kl(q, p, generator_for("few", n), draws=8) for n in range(400)])
    many = kl(q, p, generator_for("many"), draws=20_000)
    assert ((few.mean(0) - many).abs() < 5 * few.std(0) / 20 + 0.02).all()


def test_kl_by_dimension_adds_up_for_axis_aligned_gaussians() -> None:
    q, p = random_latent("axis", 13, dim=5), random_latent("axis", 14, dim=5)
    assert torch.isclose(kl_by_dimension(q, p).sum(), kl(q, p, None).mean(), rtol=1e-4)


def test_an_unused_dimension_shows_as_zero() -> None:
    q, p = random_latent("axis", 15, dim=3), random_latent("axis", 16, dim=3)
    q.loc[:, :, 1], q.factor[:, :, 1, 1] = p.loc[:, :, 1], p.factor[:, :, 1, 1]
    by_dimension = kl_by_dimension(q, p)
    assert by_dimension[1].abs() < 1e-6
    assert (by_dimension[[0, 2]] > 0.01).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_all_zeros_are_the_standard_normal(family: Family) -> None:
    prior = standard_normal(shape_of(family), 2, torch.zeros(1))
    mean, variance = prior.moments()
    assert torch.allclose(mean, torch.zeros(2, 2))
    assert torch.allclose(variance, torch.ones(2, 2), atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_tied_draws_share_their_noise(family: Family) -> None:
    """Images with the same distribution get the same z when tied, different ones otherwise."""
    found = random_latent(family, 17, batch=1)
    twice = latent_of_copies(found, 2)
    tied = twice.draw(twice.noise(5, generator_for(0), tied=True))
    free = twice.draw(twice.noise(5, generator_for(0)))
    assert torch.equal(tied[0], tied[1])
    assert not torch.equal(free[0], free[1])


def latent_of_copies(found, times: int):
    parts = (part.expand(times, *part.shape[1:]) for part in (found.loc, found.factor, found.logits))
    return type(found)(found.shape, *parts)


def test_component_choices_pass_gradients_to_the_mixture_weights() -> None:
    found = random_latent("mixture-full", 18)
    found.logits.requires_grad_()
    found.draw(found.noise(16, generator_for(1))).square().sum().backward()
    assert found.logits.grad is not None
    assert (found.logits.grad.abs().sum(1) > 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_extreme_numbers_stay_finite(family: Family) -> None:
    shape = shape_of(family)
    count = shape.components if shape.mixture else 1
    wild = torch.randn(8, count * sum(shape.sizes), generator=generator_for(19)) * 50
    q, p = latent(wild, shape), standard_normal(shape, 8, wild)
    assert q.draw(q.noise(4, generator_for(0))).isfinite().all()
    assert kl(q, p, generator_for(0)).isfinite().all()


@pytest.mark.parametrize("family", FAMILIES)
def test_autocast_changes_nothing(family: Family) -> None:
    """Half precision is for the networks: draws and divergences stay in float32."""
    q, p = random_latent(family, 20), random_latent(family, 21)
    head, features = LatentHead(6, shape_of(family)), torch.randn(4, 6, generator=generator_for(22))
    plain = (q.draw(q.noise(5, generator_for(0))), kl(q, p, generator_for(1)), head(features).loc)
    with torch.autocast("cpu", torch.bfloat16):
        cast = (q.draw(q.noise(5, generator_for(0))), kl(q, p, generator_for(1)), head(features).loc)
    assert all(torch.equal(one, other) for one, other in zip(plain, cast, strict=True))
