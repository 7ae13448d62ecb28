"""The gated mixture: its probabilities against their parts, and which data each part learns from."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ambiseg.models.core.batch import Batch
from ambiseg.models.core.predictive import STORY_ATOMS
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.methods.gated import Gated, normal_points
from ambiseg.models.methods.registry import build, methods
from ambiseg.models.nets.lesion_gate import LesionGate, ResidualBlock
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.store.store import IGNORE, Store

NARROW = {"widths": (4, 6, 8), "convs": 1, "gate_width": 4}


def make(classes: int = 3, **options: Any) -> Gated:
    torch.manual_seed(0)
    return Gated(1, classes, **(NARROW | options)).eval()


def images(batch: int = 2) -> Tensor:
    return torch.rand(batch, 1, 12, 10, generator=generator_for("images"))


def masks(batch: int = 2, readers: int = 3) -> Tensor:
    """Masks with a lesion, all of them."""
    return torch.randint(0, 3, (batch, readers, 12, 10), generator=generator_for("masks"))


def iou(one: Tensor, other: Tensor) -> float:
    """IoU of label maps as sets of (class, pixel)."""
    common = ((one == other) & (one > 0)).sum().item()
    return common / ((one > 0).sum().item() + (other > 0).sum().item() - common)


def total(method: Gated, batch: Batch) -> float:
    return method.shape_loss(batch, generator_for(0)).total.item()


def test_the_gate_is_the_probability_of_the_empty_mask() -> None:
    method = make()
    atoms = method(images()).atoms(100)
    empty = (atoms.labels == 0).all(3).all(2)
    assert torch.allclose(atoms.weights.sum(1), torch.ones(2))
    chance = method.gate(images()).sigmoid()
    first = method(images()).log_probabilities[:, 0].exp()
    assert torch.allclose(first, chance, atol=1e-6)
    assert ((atoms.weights * empty).sum(1) >= chance - 1e-6).all()


def test_masks_with_a_lesion_share_the_rest_by_the_weights_of_the_components() -> None:
    method = make(components=3, masks=12)
    got = method(images()).log_probabilities.exp()
    assert got.shape == (2, 13) == (2, method.support)
    weights = method.shapes.prior_of(images()).logits.softmax(1)
    rest = 1 - method.gate(images()).sigmoid()
    wanted = rest[:, None] * weights
    assert torch.allclose(got[:, 1:].unflatten(1, (3, 4)).sum(2), wanted, atol=1e-6)
    assert torch.allclose(got[:, 1:].unflatten(1, (3, 4))[:, :, 0], wanted / 4, atol=1e-6)


def test_each_mask_is_the_latent_nets_at_its_point() -> None:
    method = make(components=2, masks=6)
    prior, decode = method.shapes.prior_of(images()), method.shapes.decoder(images())
    logits = method(images()).decode(torch.tensor([[0, 5], [6, 1]]))
    for image, place, component, point in [(0, 1, 1, 1), (1, 0, 1, 2), (1, 1, 0, 0)]:
        z = prior.loc[image, component] + prior.factor[image, component] @ method.points[point]
        assert torch.allclose(logits[image, place], decode(z.expand(2, 1, -1))[image, 0], atol=1e-5)
    assert (logits[0, 0].argmax(0) == 0).all()
    assert logits[0, 0].softmax(0)[1:].max() < 1e-5


def test_marginal_is_the_weighted_mean_of_all_masks() -> None:
    method = make(masks=10)
    predictive = method(images())
    every = torch.arange(method.support).expand(2, -1)
    weights = predictive.log_probabilities.exp()[:, :, None, None, None]
    wanted = (predictive.decode(every).softmax(2) * weights).sum(1)
    assert torch.allclose(predictive.atoms(method.support).marginal, wanted, atol=1e-6)


def test_empty_masks_teach_the_shapes_nothing() -> None:
    method, none = make().train(), torch.zeros_like(masks())
    method.shape_loss(Batch(images(), none), generator_for(0)).total.backward()
    assert all(p.grad is None or not p.grad.any() for p in method.shapes.parameters())


def test_readers_who_marked_something_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them are shown, and the loss is on average the mean over all readers, in which an empty mask counts 0."""
    method, some, shown = make(shape_readers=2), masks(readers=4), []
    some[0, :2], some[1, 2], some[1, 1, :5] = 0, 0, 0

    def area(batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        shown.append(batch.mask)
        marked = (batch.mask > 0).sum((2, 3)).float().flatten()
        return marked, torch.zeros_like(marked), torch.zeros(2)

    monkeypatch.setattr(method.shapes, "bound", area)
    batch = Batch(images(), some)
    losses = [method.shape_loss(batch, generator_for(seed)).total.item() for seed in range(200)]
    assert all((mask > 0).flatten(2).any(2).all() and mask.shape[1] == 2 for mask in shown)
    assert sum(losses) / 200 == pytest.approx((some > 0).sum((2, 3)).float().mean().item(), rel=0.01)
    assert len(set(losses)) == 3  # of the second image's three readers two are shown


def test_a_mask_whose_only_lesion_is_ignored_counts_as_empty() -> None:
    method, some = make(), masks()
    some[some > 0] = IGNORE
    assert total(method, Batch(images(), some)) == 0.0
    chance = method.gate(images()).sigmoid()
    loss = method.gate_loss(Batch(images(), some), generator_for(0)).total
    assert loss.item() == pytest.approx(-chance.log().mean().item(), rel=1e-5)


def test_the_gate_is_judged_by_each_reader() -> None:
    method, some = make(), masks(readers=4)
    some[0, :3] = 0
    chance = method.gate(images()).sigmoid()
    target = torch.tensor([0.75, 0.0])
    loss = method.gate_loss(Batch(images(), some), generator_for(0)).total
    assert loss.item() == pytest.approx(F.binary_cross_entropy(chance, target).item(), rel=1e-5)


def test_the_score_moves_the_prior_alone() -> None:
    method = make().train()
    before = {name: buffer.clone() for name, buffer in method.named_buffers() if "prior" not in name}
    method.score_loss(Batch(images(), masks()), generator_for(0)).total.backward()
    moved = {name.split(".")[0:2][-1] for name, p in method.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"prior"}
    assert all(torch.equal(buffer, before[name]) for name, buffer in method.named_buffers() if name in before)
    assert all(part.training for part in method.modules())


def test_the_score_is_of_the_masks_that_prediction_has() -> None:
    """With a single draw's worth of spread: all masks alike, so the score is the mean distance to readers who mark."""
    method, some = make(), masks()
    some[0, 0] = 0
    for part in method.shapes.prior.modules():
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.weight)
            nn.init.constant_(part.bias, -10.0)
    found = method(images()).atoms(method.support)
    each = [1 - iou(found.labels[b, 1], some[b, m]) for b in range(2) for m in range(3) if (b, m) != (0, 0)]
    score = method.score_loss(Batch(images(), some), generator_for(0)).total
    assert score.item() == pytest.approx(sum(each) / 5, abs=1e-5)


def test_points_are_standard_normal_and_the_same_every_time() -> None:
    points = normal_points(64, 2)
    assert torch.equal(points, normal_points(64, 2))
    assert points.mean(0).abs().max() < 0.05
    assert (points.std(0) - 1).abs().max() < 0.1
    assert points.unique(dim=0).shape == points.shape


def test_the_whole_support_is_weighed_when_slices_share_a_story() -> None:
    assert make().support <= STORY_ATOMS


def test_one_gaussian_has_all_points() -> None:
    assert make(family="full", masks=20).support == 21


@pytest.mark.parametrize(
    ("views", "same"),
    [
        ("horizontal", [lambda x: x.flip(-1)]),
        ("all", [lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.mT, lambda x: x.rot90(1, (-2, -1))]),
    ],
)
def test_mirrored_views_count_alike_in_prediction(views: Any, same: list[Callable[[Tensor], Tensor]]) -> None:
    torch.manual_seed(0)
    gate = LesionGate(1, 4, 0.0, views).eval()
    wanted = gate(images())
    for view in same:
        assert torch.allclose(gate(view(images())), wanted, atol=1e-5)
    gate.views = "one"
    assert not torch.allclose(gate(images()), gate(images().flip(-1)), atol=1e-5)
    own = torch.stack([gate(images()), gate(images().flip(-1))]).sigmoid().mean(0)
    gate.views = "horizontal"
    assert torch.allclose(gate(images()).sigmoid(), own, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 16)])
def test_gate_takes_any_size(size: tuple[int, int]) -> None:
    assert LesionGate(2, 4, 0.0).eval()(torch.rand(3, 2, *size)).shape == (3,)


@pytest.mark.learning
@pytest.mark.slow
def test_learns_how_often_readers_mark_nothing(train_narrow: Callable[..., Trained], lesions_truth: Store) -> None:
    """On lesions whose visible cue says how often readers mark nothing, the gate follows it."""
    groups = evaluate(
        train_narrow("gated", "options.gate_width=8", "steps=700"), lesions_truth, "test", samples=256
    ).modes
    assert max(float(abs(group.model[0] - group.truth[0])) for group in groups.values()) < 0.1
    assert max(float(abs(group.model - group.truth).max()) for group in groups.values()) < 0.2


def test_shapes_can_be_a_gaussian_over_all_logits() -> None:
    """Each mask is the mean plus its factors at a point, all with a lesion are equally probable, and there is no energy."""
    method = make(shapes="ssn", rank=2, masks=12)
    assert method.support == 13
    assert [stage.name for stage in method.stages()] == ["train"]
    found = method(images())
    chance = method.gate(images()).sigmoid()
    assert torch.allclose(found.log_probabilities[:, 1:].exp(), ((1 - chance) / 12)[:, None].expand(-1, 12), atol=1e-6)
    gaussian = method.shapes(images())
    wanted = gaussian.mean[1] + (method.points[4][:, None, None, None] * gaussian.factors[1]).sum(0)
    assert torch.allclose(found.decode(torch.tensor([[0, 1], [5, 2]]))[1, 0], wanted, atol=1e-5)
    batch, some = Batch(images(), masks()), masks()
    assert set(method.loss(batch, generator_for(0)).terms) == {"gate", "surprise", "mean", "deviation", "factor"}
    assert method.shape_loss(batch, generator_for(0)).total > 0
    some[:] = 0
    assert total(method, Batch(images(), some)) == 0.0


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (7, 8), (9, 5)])
def test_a_shortcut_is_a_convolution_with_a_stride(size: tuple[int, int], stride: int) -> None:
    torch.manual_seed(0)
    block = ResidualBlock(8, 16, stride).eval()
    features = torch.rand(2, 8, *size)
    expected = F.relu(block.body(features) + F.conv2d(features, block.shortcut.weight, stride=stride))
    assert torch.allclose(block(features), expected, atol=1e-6)


@pytest.mark.parametrize("width", range(1, 9))
def test_a_narrow_gate_learns_on_every_processor(width: int) -> None:
    """Where torch's own strided 1x1 convolution ends the process on CPUs with AVX2 alone."""
    torch.manual_seed(0)
    gate = LesionGate(1, width, 0.0).to(memory_format=torch.channels_last)
    for _ in range(20):
        image = torch.rand(12, 1, 16, 16).to(memory_format=torch.channels_last)
        gate(image).square().sum().backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in gate.parameters())


def test_no_network_has_a_strided_convolution_of_single_pixels() -> None:
    strided = {
        f"{name}: {where}"
        for name in methods()
        for where, module in build(name, 1, 2, {}).named_modules()
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (1, 1) and module.stride != (1, 1)
    }
    assert not strided
