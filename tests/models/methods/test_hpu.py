"""The hierarchical Probabilistic U-Net: its conditioning, its loss against a direct formula, and the multiplier."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributions as td
from torch import Tensor

from ambiseg.models.core.batch import Batch
from ambiseg.models.core.randomness import generator_for, normal
from ambiseg.models.methods.hpu import HPU, LOG_MULTIPLIER, Multiplier
from ambiseg.models.nets.latent_maps import LatentMap, drawn_at, given
from ambiseg.models.nets.pixels import hard_pixels, one_hot, surprise
from ambiseg.preprocessing.store.store import IGNORE

SIZE = (16, 20)


def make(classes: int = 2, **options: Any) -> HPU:
    torch.manual_seed(0)
    return HPU(1, classes, **({"widths": (4, 5, 6, 7), "convs": 1, "blocks": 2, "latents": 2} | options)).eval()


def images(batch: int = 2) -> Tensor:
    return torch.rand(batch, 1, *SIZE, generator=generator_for("images"))


def masks(classes: int = 2, readers: int = 3) -> Tensor:
    return torch.randint(0, classes, (2, readers, *SIZE), generator=generator_for("masks"))


def noise(method: HPU, batch: int = 2) -> list[Tensor]:
    shape = method.shape_for(images())
    return shape.maps(normal((batch, shape.numbers), generator_for(0), images()))


def differ(one: LatentMap, other: LatentMap) -> bool:
    return not (torch.equal(one.loc, other.loc) and torch.equal(one.scale, other.scale))


def test_latent_maps_of_one_channel_lie_on_the_coarsest_levels() -> None:
    assert [tuple(one.shape[1:]) for one in noise(make())] == [(1, 2, 3), (1, 4, 5)]
    assert make(latents=9).latents == 3  # none on the finest level


@torch.no_grad()
def test_a_map_depends_on_the_coarser_ones_that_it_is_given() -> None:
    method = make(latents=3)
    levels = method.prior.encoder(images())
    before = noise(method)
    for changed in range(3):
        after = [one + (number == changed) for number, one in enumerate(before)]
        found, other = (method.prior.decoded(levels, given(z)) for z in (before, after))
        assert [differ(*pair) for pair in zip(found[0], other[0], strict=True)] == [
            number > changed for number in range(3)
        ]
        assert not torch.equal(found[2], other[2])


@torch.no_grad()
def test_a_mask_is_decoded_from_the_prior_s_draws() -> None:
    method = make()
    normals = normal((2, 4, method.shape_for(images()).numbers), generator_for(0), images())
    drawn = method(images()).sample(4, generator_for(0))
    for draw in range(4):
        take = drawn_at(method.shape_for(images()).maps(normals[:, draw]))
        features = method.prior.decoded(method.prior.encoder(images()), take)[2]
        assert torch.allclose(drawn[:, draw], method.logits(features), atol=1e-5)


def test_all_levels_up_to_the_last_map_are_in_the_posterior() -> None:
    method = make()
    assert len(method.prior.stages) == 3
    assert len(method.posterior.stages) == 1


@torch.no_grad()
@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
def test_the_loss_is_the_constraint_and_the_divergences(share: float) -> None:
    method, labels = make(3, hard_share=share, kappa=0.2), masks(3)
    labels[0, 1, :4] = IGNORE
    method.multiplier.log.fill_(1.5)
    found = method.loss(Batch(images(), labels), generator_for(1))
    pairs, flat = images().repeat_interleave(3, 0), labels.flatten(0, 1)
    shape, generator = method.shape_for(pairs), generator_for(1)
    take = drawn_at(shape.maps(normal((6, shape.numbers), generator, pairs)))
    q, z, _ = method.posterior.decoded(method.posterior.encoder(torch.cat((pairs, one_hot(flat, 3)), 1)), take)
    p, _, features = method.prior.decoded(method.prior.encoder(pairs), given(z))
    costs = surprise(method.logits(features), flat)
    chosen = hard_pixels(costs, share, generator) & (flat != IGNORE)
    total = float(torch.tensor(1.5).exp()) * (costs[chosen].sum() - 0.2 * chosen.sum()) / 6
    for one, other in zip(q, p, strict=True):
        divergence = td.kl_divergence(td.Normal(one.loc, one.scale), td.Normal(other.loc, other.scale))
        total = total + divergence.sum() / 6
    assert found.total.item() == pytest.approx(float(total), rel=1e-4)
    assert found.terms["hard"].item() == pytest.approx(float(costs[chosen].mean()), rel=1e-4)
    assert found.terms["cross_entropy"].item() == pytest.approx(float(costs.sum()) / 6, rel=1e-4)


def test_the_multiplier_rises_while_the_constraint_is_broken_and_falls_afterwards() -> None:
    multiplier = Multiplier(rate=0.1, decay=0.5)
    seen = [multiplier.value.item()]
    for constraint in (0.5, 3.0, 3.0, -0.9, -0.9, -0.9, -0.9, -0.9, -0.9):
        multiplier.follow(torch.tensor(constraint))
        seen.append(multiplier.value.item())
    assert seen[0] == 1
    assert torch.tensor(seen[:4]).diff().gt(0).all()
    assert torch.tensor(seen[-4:]).diff().lt(0).all()
    average, wanted, log = 0.0, [1.0], torch.zeros(())
    for step, constraint in enumerate((0.5, 3.0, 3.0, -0.9, -0.9, -0.9, -0.9, -0.9, -0.9), 1):
        average += max(0.5, 1 / step) * (min(constraint, 1) - average)
        log = log + 0.1 * average
        wanted.append(log.exp().item())
    assert seen == pytest.approx(wanted, rel=1e-5)


def test_the_multiplier_keeps_its_bounds() -> None:
    multiplier = Multiplier(rate=1.0, decay=0.0)
    for _ in range(30):
        multiplier.follow(torch.tensor(5.0))
    assert multiplier.log.item() == LOG_MULTIPLIER[1]


@pytest.mark.parametrize(("kappa", "way"), [(1e-3, 1), (1e4, -1)])
def test_training_steps_alone_move_the_multiplier(kappa: float, way: int) -> None:
    method, batch = make(kappa=kappa), Batch(images(), masks())
    method.loss(batch, generator_for(0))
    with torch.no_grad():
        method.train().loss(batch, generator_for(0))
    assert method.multiplier.log.item() == 0
    method.loss(batch, generator_for(0))
    assert method.multiplier.log.item() == pytest.approx(way * 0.01, rel=0.01)


def test_a_stored_multiplier_goes_on(tmp_path: Path) -> None:
    method, batch = make().train(), Batch(images(), masks())
    for step in range(3):
        method.loss(batch, generator_for(step))
    torch.save(method.state_dict(), tmp_path / "state.pt")
    other = make().train()
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    same = copy.deepcopy(method)
    for step in (3, 4):
        assert torch.equal(other.loss(batch, generator_for(step)).total, same.loss(batch, generator_for(step)).total)
    assert torch.equal(other.multiplier.log, same.multiplier.log)
    assert other.multiplier.seen.item() == 5


def test_divergences_are_in_float32_whatever_the_nets_compute_in() -> None:
    method, batch = make().train(), Batch(images(), masks())
    with torch.autocast("cpu", torch.bfloat16):
        levels = method.prior.encoder(images())
        maps, z, features = method.prior.decoded(levels, drawn_at(noise(method)))
        loss = method.loss(batch, generator_for(0))
    assert features.dtype == torch.bfloat16
    assert all(one.dtype == torch.float32 for latent in maps for one in (latent.loc, latent.scale))
    assert all(one.dtype == torch.float32 for one in (*z, loss.total, *loss.terms.values()))
    loss.total.backward()
    assert all(parameter.grad.isfinite().all() for parameter in method.parameters())


def test_processes_keep_one_multiplier(
    tmp_path: Path, in_two_processes: Callable[[Callable[[int], None]], None]
) -> None:
    def follow(rank: int) -> None:
        multiplier = Multiplier(0.1, 0.5)
        for constraints in ((0.2, 0.6), (-0.5, 0.1), (3.0, -2.0)):
            multiplier.follow(torch.tensor(constraints[rank]))
        torch.save(multiplier.state_dict(), tmp_path / f"{rank}.pt")

    in_two_processes(follow)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    alone = Multiplier(0.1, 0.5)
    for mean in (0.4, -0.2, 0.5):
        alone.follow(torch.tensor(mean))
    for name, value in alone.state_dict().items():
        assert torch.equal(first[name], second[name])
        assert torch.allclose(first[name], value)
