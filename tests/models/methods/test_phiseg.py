"""PHiSeg: what each net is conditioned on, the residual sum, and the loss against a direct formula."""

from typing import Any

import pytest
import torch
import torch.distributions as td
import torch.nn.functional as F
from torch import Tensor

from ambiseg.models.core.batch import Batch
from ambiseg.models.core.randomness import generator_for, normal
from ambiseg.models.methods.phiseg import PHiSeg
from ambiseg.models.nets.latent_maps import LatentMap, drawn_at, given
from ambiseg.models.nets.pixels import cross_entropy
from ambiseg.preprocessing.store.store import IGNORE

SIZE = (16, 20)


def make(classes: int = 2, **options: Any) -> PHiSeg:
    torch.manual_seed(0)
    return PHiSeg(1, classes, **({"widths": (4, 5, 6, 7), "convs": 1, "latents": 3} | options)).eval()


def images(batch: int = 2) -> Tensor:
    return torch.rand(batch, 1, *SIZE, generator=generator_for("images"))


def masks(classes: int = 2, readers: int = 3) -> Tensor:
    return torch.randint(0, classes, (2, readers, *SIZE), generator=generator_for("masks"))


def noise(method: PHiSeg, batch: int = 2, seed: int = 0) -> list[Tensor]:
    shape = method.shape_for(images())
    return shape.maps(normal((batch, shape.numbers), generator_for(seed), images()))


def differ(one: LatentMap, other: LatentMap) -> bool:
    return not (torch.equal(one.loc, other.loc) and torch.equal(one.scale, other.scale))


def test_latent_maps_lie_on_the_coarsest_levels() -> None:
    assert [tuple(one.shape[1:]) for one in noise(make())] == [(2, 2, 3), (2, 4, 5), (2, 8, 10)]
    assert make(latents=9).latents == 4


@torch.no_grad()
def test_a_map_depends_on_the_coarser_ones_that_it_is_given() -> None:
    """And on no other: the prior in training on the posterior's, not on its own draws."""
    method = make()
    levels = method.prior.encoder(images())
    before = noise(method)
    for changed in range(3):
        after = [one + (number == changed) for number, one in enumerate(before)]
        found = [method.prior.maps(levels, given(z))[0] for z in (before, after)]
        assert [differ(*pair) for pair in zip(*found, strict=True)] == [number > changed for number in range(3)]


@torch.no_grad()
def test_a_draw_is_conditioned_on_its_own_coarser_maps() -> None:
    method = make()
    levels = method.prior.encoder(images())
    found, z = method.prior.maps(levels, drawn_at(noise(method)))
    again, _ = method.prior.maps(levels, given(z))
    assert not any(differ(*pair) for pair in zip(found, again, strict=True))
    for latent, one, own in zip(found, z, noise(method), strict=True):
        assert torch.allclose(one, td.Normal(latent.loc, latent.scale).loc + latent.scale * own)


@torch.no_grad()
def test_levels_add_to_the_logits_of_coarser_ones() -> None:
    method = make(3)
    own: list[Tensor] = []
    for layer in method.likelihood.logits:
        layer.register_forward_hook(lambda layer, inputs, output: own.append(output))
    sums = method.likelihood(noise(method), SIZE)
    assert [tuple(one.shape[1:]) for one in own] == [(3, 4, 5), (3, 8, 10), (3, 16, 20)]
    total = torch.zeros(2, 3, *SIZE)
    for one, found in zip(own, sums, strict=True):
        factor = SIZE[0] // one.shape[2]
        total = total + one.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        assert torch.allclose(found, total, atol=1e-5)


@torch.no_grad()
def test_a_mask_follows_from_the_finest_sum_at_the_prior_s_draw() -> None:
    method = make()
    normals = normal((2, 4, method.shape_for(images()).numbers), generator_for(0), images())
    drawn = method(images()).sample(4, generator_for(0))
    for draw in range(4):
        maps = method.shape_for(images()).maps(normals[:, draw])
        _, z = method.prior.maps(method.prior.encoder(images()), drawn_at(maps))
        assert torch.allclose(drawn[:, draw], method.likelihood(z, SIZE)[-1], atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("beta", "coarse"), [(1.0, 4.0), (0.5, 2.0)])
def test_the_loss_is_the_weighted_bound(beta: float, coarse: float) -> None:
    method, labels = make(3, beta=beta, coarse=coarse), masks(3)
    labels[0, 1, :4] = IGNORE
    found = method.loss(Batch(images(), labels), generator_for(1))
    pairs, flat = images().repeat_interleave(3, 0), labels.flatten(0, 1)
    evidence = F.one_hot(flat.clamp(max=3), 4).movedim(3, 1)[:, :3] - 0.5
    shape = method.shape_for(pairs)
    maps = shape.maps(normal((6, shape.numbers), generator_for(1), pairs))
    q, z = method.posterior.maps(method.posterior.encoder(torch.cat((pairs, evidence), 1)), drawn_at(maps))
    p, _ = method.prior.maps(method.prior.encoder(pairs), given(z))
    total = sum(cross_entropy(logits, flat).mean() for logits in method.likelihood(z, SIZE))
    for number, (one, other) in enumerate(zip(q, p, strict=True)):
        divergence = td.kl_divergence(td.Normal(one.loc, one.scale), td.Normal(other.loc, other.scale))
        total = total + beta * coarse ** (2 - number) * divergence.sum() / 6
    assert found.total.item() == pytest.approx(float(total), rel=1e-4)
    assert found.terms["cross_entropy"] == pytest.approx(cross_entropy(method.likelihood(z, SIZE)[-1], flat).mean())
    wrong, _ = method.prior.maps(method.prior.encoder(pairs), drawn_at(maps))
    assert differ(wrong[1], p[1])


def test_divergences_are_in_float32_whatever_the_nets_compute_in() -> None:
    method = make().train()
    with torch.autocast("cpu", torch.bfloat16):
        maps, z = method.prior.maps(method.prior.encoder(images()), drawn_at(noise(method)))
        loss = method.loss(Batch(images(), masks()), generator_for(0))
    assert all(one.dtype == torch.float32 for latent in maps for one in (latent.loc, latent.scale))
    assert all(one.dtype == torch.float32 for one in (*z, loss.total, *loss.terms.values()))
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in method.parameters())
