"""Latent maps: their divergence in closed form, their noise, and the chunks in which draws come."""

from collections.abc import Sequence

import pytest
import torch
import torch.distributions as td
from torch import Tensor

from ambiseg.models.core.randomness import generator_for, normal
from ambiseg.models.nets.latent_maps import (
    PAIRS_A_CHUNK,
    LatentMap,
    MapHead,
    MapPredictive,
    MapShape,
    drawn_at,
    given,
    kl_of_maps,
    repeated,
    resolutions,
)
from ambiseg.models.nets.unet import Encoder


def random_map(seed: int) -> LatentMap:
    generator = generator_for("map", seed)
    return LatentMap(torch.randn(3, 2, 4, 5, generator=generator), torch.rand(3, 2, 4, 5, generator=generator) + 0.1)


def test_the_divergence_is_that_of_independent_gaussians() -> None:
    q, p = random_map(0), random_map(1)
    wanted = td.kl_divergence(*(td.Independent(td.Normal(one.loc, one.scale), 3) for one in (q, p)))
    assert torch.allclose(kl_of_maps(q, p), wanted, rtol=1e-5)
    assert kl_of_maps(q, q).abs().max() < 1e-6


def test_draws_have_the_mean_and_the_deviation_of_the_map() -> None:
    latent = random_map(0)
    normals = normal((20_000, *latent.loc.shape), generator_for(0), latent.loc)
    drawn = drawn_at([normals])(0, latent)
    assert ((drawn.mean(0) - latent.loc) / latent.scale).abs().max() < 5 / 20_000**0.5
    assert torch.allclose(drawn.std(0), latent.scale, rtol=0.03)
    assert torch.equal(given(normals)(3, latent), normals[3])


def test_a_head_starts_near_the_standard_normal() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 32, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        latent = MapHead(32, 2)(features)
    assert latent.loc.dtype == latent.scale.dtype == torch.float32
    assert latent.loc.abs().max() < 0.6
    assert (latent.scale - 1).abs().max() < 0.4


@pytest.mark.parametrize("size", [(16, 16), (23, 37), (1, 5)])
def test_resolutions_are_those_of_an_encoder(size: tuple[int, int]) -> None:
    levels = Encoder(1, (2, 2, 2, 2), 1, False)(torch.zeros(1, 1, *size))
    assert resolutions(*size, 4) == [tuple(level.shape[-2:]) for level in levels]


def test_numbers_become_maps_in_their_order() -> None:
    shape = MapShape(2, ((2, 3), (4, 6)))
    normals = torch.arange(2 * shape.numbers).view(2, -1)
    maps = shape.maps(normals)
    assert [tuple(one.shape) for one in maps] == [(2, 2, 2, 3), (2, 2, 4, 6)]
    assert torch.equal(torch.cat([one.flatten(1) for one in maps], 1), normals)


def test_features_are_repeated_image_by_image() -> None:
    level = torch.arange(2.0)[:, None, None, None].expand(2, 1, 2, 2)
    assert repeated([level], 3)[0][:, 0, 0, 0].tolist() == [0, 0, 0, 1, 1, 1]


def echo(normals: Sequence[Tensor]) -> Tensor:
    return normals[0]


@pytest.mark.parametrize("tied", [False, True])
def test_draws_come_in_bounded_chunks_and_do_not_depend_on_them(tied: bool) -> None:
    images, draws = 5, 256
    predictive = MapPredictive(torch.zeros(images, 1, 4, 4), MapShape(2, ((4, 4),)), echo)
    sizes = [chunk.shape[1] for chunk in predictive.chunks(draws, generator_for(0), tied)]
    assert sum(sizes) == draws
    assert images * max(sizes) <= PAIRS_A_CHUNK
    drawn = predictive.sample(draws, generator_for(0), tied=tied)
    wanted = normal((1 if tied else images, draws, 2 * 16), generator_for(0), drawn)
    assert torch.equal(drawn.flatten(2), wanted.expand(images, -1, -1))
