"""The mixture of stochastic experts: its support and its loss against loops, and what each part learns from."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ambiseg.models.core.batch import Batch
from ambiseg.models.core.predictive import STORY_ATOMS
from ambiseg.models.core.randomness import generator_for, normal
from ambiseg.models.methods.mose import MoSE, quantile_middles
from ambiseg.preprocessing.store.store import IGNORE


def make(classes: int = 2, **options: Any) -> MoSE:
    torch.manual_seed(0)
    return MoSE(1, classes, **({"widths": (4, 6, 8), "convs": 1} | options)).eval()


def images(batch: int = 2) -> Tensor:
    return torch.rand(batch, 1, 12, 10, generator=generator_for("images"))


def masks(classes: int = 2, readers: int = 3) -> Tensor:
    return torch.randint(0, classes, (2, readers, 12, 10), generator=generator_for("masks"))


def soft_distance(mask: Tensor, reader: Tensor) -> float:
    """1 - IoU of class probabilities [K, H, W] and labels [H, W], with one pixel added to both sides of the ratio."""
    common = sum(mask[k][reader == k].sum().item() for k in range(1, len(mask)))
    union = mask[1:].sum().item() + (reader > 0).sum().item() - common
    return 1 - (common + 1) / (union + 1)


def test_the_support_is_every_expert_at_its_quantiles_with_equal_shares_of_the_gate() -> None:
    method = make(experts=3, masks=12)
    predictive = method(images())
    levels = method.unet.encoder(images())
    chances = method.gate(levels[-1].mean((2, 3))).softmax(1)
    assert predictive.log_probabilities.shape == (2, 12) == (2, method.support)
    shares = predictive.log_probabilities.exp().unflatten(1, (3, 4))
    assert torch.allclose(shares, chances.unsqueeze(2).expand(-1, -1, 4) / 4, atol=1e-6)
    logits = predictive.decode(torch.tensor([[0, 7], [11, 2]]))
    prepared = method.head.prepare(method.unet(images()))
    for image, place, expert, point in [(0, 0, 0, 0), (0, 1, 1, 3), (1, 0, 2, 3), (1, 1, 0, 2)]:
        z = method.loc[expert] + method.log_scale[expert].exp() * method.points[point]
        assert torch.allclose(logits[image, place], method.head(prepared, z.expand(2, 1, 1))[image, 0], atol=1e-5)


def test_a_short_list_shows_every_expert() -> None:
    method = make(experts=3, masks=12)
    predictive = method(images())
    few = predictive.coarser(7)
    shares = predictive.log_probabilities.exp().unflatten(1, (3, 4)).sum(2)
    assert torch.allclose(few.log_probabilities.exp().unflatten(1, (3, 2)), shares.unsqueeze(2).expand(-1, -1, 2) / 2)
    places = torch.tensor([[1, 3, 5, 7, 9, 11]] * 2)
    assert torch.equal(few.decode(torch.arange(6).expand(2, -1)), predictive.decode(places))
    assert predictive.atoms(7).left_out is None


def test_points_are_the_middles_of_equal_shares() -> None:
    below = torch.special.ndtr(quantile_middles(5))
    assert torch.allclose(below, torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]), atol=1e-6)
    assert quantile_middles(1).item() == 0


@pytest.mark.parametrize("classes", [2, 3])
def test_the_loss_is_that_of_loops_over_images_masks_and_readers(classes: int) -> None:
    """In the second half of the steps each reader goes to its nearest mask, so the coupling needs no solver."""
    method, labels = make(classes, experts=2, draws=3, beta=2.0), masks(classes)
    labels[0, 1] = 0
    found = method.loss(Batch(images(), labels, progress=0.9), generator_for(1))
    z = method.loc[:, None] + method.log_scale.exp()[:, None] * normal((2, 2, 3), generator_for(1), method.loc)
    drawn = method.head(method.head.prepare(method.unet(images())), z.flatten(1).unsqueeze(2)).softmax(2)
    shares = method(images()).log_probabilities.exp().unflatten(1, (2, -1)).sum(2)
    transport, divergence = 0.0, 0.0
    for image in range(2):
        taken = [0.0] * 6
        for reader in labels[image]:
            distances = [soft_distance(mask, reader) for mask in drawn[image]]
            transport += min(distances) / 3 / 2
            taken[distances.index(min(distances))] += 1 / 3
        for number, weight in enumerate(taken):
            chance = torch.tensor(shares[image, number // 3].item() / 3)
            divergence += weight * (torch.tensor(weight) / chance).log().item() / 12 if weight else 0.0
    assert found.terms["transport"].item() == pytest.approx(transport, rel=1e-4)
    assert found.terms["gate"].item() == pytest.approx(divergence, rel=1e-4)
    assert found.total.item() == pytest.approx(transport + 2 * divergence, rel=1e-4)


def test_at_first_a_mask_takes_half_of_the_readers_at_most() -> None:
    """All readers draw one mask, so a single nearest mask costs less than two."""
    method = make(spread_share=0.4)
    same = masks(readers=1).expand(-1, 4, -1, -1)
    early, late = (
        method.loss(Batch(images(), same, progress=progress), generator_for(0)).terms["transport"]
        for progress in (0.39, 0.4)
    )
    assert early > late


def test_the_gate_learns_the_weight_taken_and_nothing_of_the_masks_does() -> None:
    method = make(beta=3.0)
    gates = list(method.gate.parameters())

    def gradient(beta: float) -> tuple[list[Tensor], list[Tensor]]:
        method.beta = beta
        method.zero_grad(set_to_none=True)
        method.loss(Batch(images(), masks()), generator_for(0)).total.backward()
        heads = [p.grad.clone() for p in (*method.head.parameters(), method.loc, method.log_scale)]
        return heads, [p.grad.clone() for p in gates]

    (heads, gate), (again, tripled) = gradient(1.0), gradient(3.0)
    assert all(torch.equal(*pair) for pair in zip(heads, again, strict=True))
    assert all(torch.allclose(3 * one, three, rtol=1e-4, atol=1e-8) for one, three in zip(gate, tripled, strict=True))
    assert any(one.any() for one in gate)


def test_ignored_pixels_count_for_no_reader() -> None:
    method, labels = make(), masks()
    labels[:, 0, :6] = IGNORE
    other = labels.clone()
    other[:, 1:, :6] = 1 - other[:, 1:, :6]
    losses = [method.loss(Batch(images(), some), generator_for(0)).total.item() for some in (labels, other)]
    assert losses[0] == losses[1]


def test_the_whole_support_is_weighed_when_slices_share_a_story() -> None:
    assert make().support <= STORY_ATOMS
