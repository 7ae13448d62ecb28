"""The baselines against slow versions of themselves; then what each one fails to learn from readers of known distributions."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ambiseg.models.core.batch import Batch
from ambiseg.models.core.method import Method
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.methods.baselines.dropout import dropout
from ambiseg.models.methods.registry import build, check_options
from ambiseg.models.nets.pixels import cross_entropy, pairwise_cross_entropy
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.store.store import IGNORE, Store

NARROW = {"widths": (4, 6, 8), "convs": 1}
BASELINES = ("dropout", "ensemble", "image2image-vae", "mheads")


def make(name: str, **options: Any) -> Method:
    torch.manual_seed(0)
    return build(name, 1, 3, NARROW | options)


def images(batch: int = 2) -> Tensor:
    return torch.rand(batch, 1, 12, 10, generator=generator_for("images"))


def masks(batch: int = 2, readers: int = 3) -> Tensor:
    return torch.randint(0, 3, (batch, readers, 12, 10), generator=generator_for("masks"))


def count_calls(module: nn.Module) -> list[int]:
    """The batch sizes of the calls of a module, from now on."""
    sizes: list[int] = []
    module.register_forward_hook(lambda _, given, result: sizes.append(len(given[0])))
    return sizes


def test_pairwise_cross_entropy_is_that_of_each_pair() -> None:
    logits, labels = torch.randn(2, 4, 3, 5, 7, generator=generator_for(0)), masks()[:, :, :5, :7].clone()
    labels[0, 1, 2:] = IGNORE
    table = pairwise_cross_entropy(logits, labels)
    for mask in range(3):
        for one in range(4):
            assert torch.allclose(table[:, one, mask], cross_entropy(logits[:, one], labels[:, mask]), rtol=1e-5)


@pytest.mark.parametrize("name", ["dropout", "ensemble", "mheads"])
def test_readers_count_alike(name: str) -> None:
    """The loss of one reader thrice is that of the reader, since all readers of an image share what is drawn for it."""
    one = masks(readers=1)
    many = one.expand(-1, 3, -1, -1)
    method = make(name)
    losses = [method.loss(Batch(images(), some), generator_for(0)).total for some in (one, many)]
    assert torch.allclose(*losses)


@pytest.mark.parametrize("name", BASELINES)
def test_ignored_pixels_count_for_nothing(name: str) -> None:
    loss = make(name).loss(Batch(images(), torch.full((2, 3, 12, 10), IGNORE)), generator_for(0))
    assert loss.total.item() == pytest.approx(loss.terms["kl"].item() if "kl" in loss.terms else 0.0)


def test_dropout_zeroes_at_its_rate_and_keeps_the_mean() -> None:
    dropped = dropout(torch.ones(4, 10, 50, 50), rate=0.3, generator=generator_for(0), draws=2)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.7])


def test_tied_dropout_is_shared_by_images_not_by_draws() -> None:
    free, tied = (
        dropout(torch.ones(4, 3, 8, 8), rate=0.5, generator=generator_for(0), draws=2, tied=tied).unflatten(0, (2, 2))
        for tied in (False, True)
    )
    assert torch.equal(tied[0], tied[1])
    assert not torch.equal(free[0], free[1])
    assert not torch.equal(tied[:, 0], tied[:, 1])


def test_dropout_needs_no_training_mode() -> None:
    method = make("dropout").eval()
    with torch.inference_mode():
        draws = method(images()).sample(3, generator_for(0))
    assert not torch.equal(draws[:, 0], draws[:, 1])


@pytest.mark.parametrize(("widths", "outer"), [((4, 4), 1), ((4, 4, 4), 1), ((4, 4, 4, 4), 1), ((4, 4, 4, 4, 4), 2)])
def test_what_dropout_does_not_change_runs_once(widths: tuple[int, ...], outer: int) -> None:
    method = make("dropout", widths=widths).eval()
    blocks = [count_calls(block) for block in method.unet.encoder.blocks]
    with torch.inference_mode():
        method(images()).atoms(7, generator_for(0))
    assert [sum(sizes) for sizes in blocks] == [2] * outer + [14] * (len(widths) - outer)


@pytest.mark.parametrize(("levels", "decoder"), [(2, 1), (3, 1), (4, 2), (5, 3), (7, 3)])
def test_inner_decoder_blocks_drop_and_the_last_does_not(levels: int, decoder: int) -> None:
    """Three of each at most; each decoder block drops its coarse features and its skip."""
    method = make("dropout", widths=(4,) * levels).eval()
    drops: list[tuple[int, ...]] = []

    def noted(features: torch.Tensor) -> torch.Tensor:
        drops.append(tuple(features.shape[2:]))
        return features

    method._inner(method._outer(torch.rand(1, 1, 64, 64)), noted)
    sizes = [64 // 2**level for level in range(levels)]
    encoder = min(3, levels - 1)
    wanted = sizes[-encoder:] + [size for number in range(decoder) for size in (sizes[-1 - number], sizes[-2 - number])]
    assert drops == [(size, size) for size in wanted]


def test_a_net_without_inner_levels_cannot_drop() -> None:
    with pytest.raises(UsageError, match="'widths' of method dropout"):
        check_options("dropout", {"widths": [8]})


def test_members_learn_as_they_would_alone() -> None:
    method, batch = make("ensemble", members=3), Batch(images(), masks())
    method.loss(batch, generator_for(0)).total.backward()
    together = [parameter.grad.clone() for parameter in method.members[1].parameters()]
    method.zero_grad(set_to_none=True)
    sum(
        cross_entropy(method.members[1](batch.image), batch.mask[:, reader]).mean() / 3 for reader in range(3)
    ).backward()
    alone = [parameter.grad for parameter in method.members[1].parameters()]
    assert all(torch.allclose(*pair, rtol=1e-4, atol=1e-4) for pair in zip(together, alone, strict=True))


def test_members_differ_and_each_runs_once() -> None:
    method = make("ensemble", members=3).eval()
    calls = [count_calls(member) for member in method.members]
    with torch.inference_mode():
        predictive = method(images())
        assert calls == [[], [], []]
        draws, atoms = predictive.sample(40, generator_for(0)), predictive.atoms(2)
        assert calls == [[2], [2], [2]]
        support = torch.stack([member(images()) for member in method.members], 1)
    nearest = (draws.unsqueeze(2) - support.unsqueeze(1)).abs().amax((3, 4, 5)).min(2)
    assert nearest.values.max() == 0
    assert nearest.indices.unique().tolist() == [0, 1, 2]
    assert torch.equal(atoms.labels, support[:, :2].argmax(2).to(torch.uint8))
    assert atoms.weights.tolist() == [[0.5, 0.5]] * 2


@pytest.mark.parametrize("gate", ["uniform", "learned"])
def test_the_best_head_learns_most(gate: str) -> None:
    """Against a loop over images and readers."""
    method = make("mheads", heads=5, epsilon=0.2, gate=gate)
    batch = Batch(images(), masks())
    found = method.loss(batch, generator_for(0))
    predictive = method(batch.image)
    logits = predictive.decode(torch.arange(5).expand(2, -1))
    expected = []
    for image in range(2):
        for reader in range(3):
            losses = [cross_entropy(logits[image, [head]], batch.mask[image, [reader]]).item() for head in range(5)]
            best = min(range(5), key=losses.__getitem__)
            shared = sum(loss * (0.8 if head == best else 0.05) for head, loss in enumerate(losses))
            said = predictive.log_probabilities[image, best].item() if gate == "learned" else 0.0
            expected.append(shared - said)
    assert found.total.item() == pytest.approx(sum(expected) / 6, rel=1e-5)


def test_the_paper_gives_every_head_the_same_probability() -> None:
    with torch.inference_mode():
        atoms = make("mheads", heads=4).eval()(images()).atoms(9)
    assert atoms.weights.tolist() == [[0.25] * 4] * 2


def test_one_head_is_refused() -> None:
    with pytest.raises(UsageError, match="'heads' of method mheads: input should be greater than or equal to 2, got 1"):
        check_options("mheads", {"heads": 1})


def test_image2image_vae_is_probunet_with_all_three_ablations() -> None:
    ablated = make("probunet", prior="fixed", posterior="mask", injection="early")
    vae = make("image2image-vae")
    vae.load_state_dict(ablated.state_dict())
    losses = [method.loss(Batch(images(), masks()), generator_for(0)).total for method in (vae, ablated)]
    assert torch.equal(*losses)


TOY = "options.norm=true", "steps=300", "validation.every=100"


def mean_error(trained: Trained, truth: Store) -> float:
    """Mean over images and modes of |p_model - p_true|."""
    return evaluate(trained, truth, "test", samples=32).figures["mode_error"].mean


@pytest.mark.learning
@pytest.mark.slow
def test_a_gate_learns_probabilities_that_equal_heads_miss(
    train_narrow: Callable[..., Trained], lesions_truth: Store
) -> None:
    trained = train_narrow("mheads", *TOY, "options.gate=learned")
    learned = mean_error(trained, lesions_truth)
    trained.method.gate = None  # the same heads as the paper weighs them
    assert learned < 0.18
    assert mean_error(trained, lesions_truth) > learned + 0.1


@pytest.mark.learning
@pytest.mark.slow
@pytest.mark.parametrize("options", [("dropout",), ("ensemble", "options.members=2")], ids=lambda options: options[0])
def test_the_most_probable_mask_is_nearly_all_they_draw(
    train_narrow: Callable[..., Trained], lesions_truth: Store, options: tuple[str, ...]
) -> None:
    """Nearly every draw is nearest to the one mask that most readers draw, and they are 60 and 75 %."""
    method, *settings = options
    trained = train_narrow(method, *TOY, *settings)
    groups = evaluate(trained, lesions_truth, "test", samples=32).modes
    for group in (groups["medium"], groups["bright"]):
        favourite = group.truth.argmax()
        assert group.model[favourite] > group.truth[favourite] + 0.15
    assert mean_error(trained, lesions_truth) > 0.14
