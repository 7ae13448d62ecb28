"""Calibrated adversarial refinement: what each network learns, ignored pixels, the black box, and the calibration loss."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ambiseg.models.core.batch import Batch
from ambiseg.models.core.method import Player
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.evaluation.evaluation import Evaluation
from ambiseg.models.methods.refine import Drawn, Refine
from ambiseg.models.methods.registry import build
from ambiseg.models.nets.refiner import Refiner
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.sources.papers.known_readers import PROBABILITIES
from ambiseg.preprocessing.store.store import IGNORE, Store

NARROW = {"widths": [4, 6], "convs": 1, "refiner_width": 3, "discriminator_width": 4, "samples": 3}
VARIANTS: list[dict[str, Any]] = [
    {"latent": latent, "calibration": calibration}
    for latent in ("noise", "vae")
    for calibration in ("mean", "cross-entropy", "none")
]
SETTINGS = [
    "batch=8",
    "validation.every=500",
    "validation.limit=8",
    "optimiser.learning_rate=2e-3",
    "optimiser.betas=[0.5, 0.99]",
    "optimiser.ema=0.97",
    "options.refiner_width=8",
    "options.discriminator_width=16",
    "options.samples=8",
    "options.calibrate_share=0.4",
    "options.discriminator_rate=0.5",  # so short a run needs a discriminator that learns fast and without rests
    "options.discriminator_off=0",
]
every_variant = pytest.mark.parametrize("options", VARIANTS, ids=lambda options: "-".join(options.values()))


def make(channels: int = 1, classes: int = 2, **options: Any) -> Refine:
    torch.manual_seed(0)
    method = build("refine", channels, classes, NARROW | options)
    assert isinstance(method, Refine)
    return method


def make_batch(height: int = 16, width: int = 16, channels: int = 1, classes: int = 2, readers: int = 2) -> Batch:
    image = torch.rand(3, channels, height, width, generator=generator_for("image"))
    mask = torch.randint(0, classes, (3, readers, height, width), generator=generator_for("mask"))
    return Batch(image, mask)


def players(method: Refine) -> dict[str, Player]:
    return {player.name: player for stage in method.stages() for player in stage.players}


@every_variant
@pytest.mark.parametrize("size", [(16, 16), (17, 23)])
def test_each_player_moves_its_own_parameters_alone(options: dict[str, Any], size: tuple[int, int]) -> None:
    method, batch = make(**options), make_batch(*size)
    found = players(method)
    assert {id(p) for player in found.values() for p in player.parameters} == {id(p) for p in method.parameters()}
    for player in found.values():
        method.zero_grad(set_to_none=True)
        player.loss(batch, generator_for(0)).total.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in player.parameters)
        own = {id(p) for p in player.parameters}
        assert all(p.grad is None for p in method.parameters() if id(p) not in own)


@every_variant
def test_the_loss_can_be_had_while_judging(options: dict[str, Any]) -> None:
    method, batch = make(**options).eval(), make_batch(readers=3)
    with torch.inference_mode():
        losses = [method.loss(batch, generator_for(0)) for _ in range(2)]
    assert losses[0].total == losses[1].total
    assert "cross_entropy" in losses[0].terms
    assert ("calibration" in losses[0].terms) == (options["calibration"] == "mean")
    assert ("kl" in losses[0].terms) == (options["latent"] == "vae" and options["calibration"] != "mean")
    assert all(parameter.requires_grad for parameter in method.parameters())


def test_the_total_is_the_weighted_sum_of_the_terms() -> None:
    for calibration, name in (("mean", "calibration"), ("cross-entropy", "draws_cross_entropy")):
        loss = make(calibration=calibration, latent="vae", beta=3.0).loss(make_batch(), generator_for(0))
        total = 10 * loss.terms["adversarial"] + 5 * loss.terms[name] + 3 * loss.terms.get("kl", 0)
        assert loss.total.item() == pytest.approx(float(total), rel=1e-5)


def test_the_calibration_net_rests_while_others_learn() -> None:
    """Its BatchNorm neither counts nor normalises by the batch, and is in training mode again afterwards."""
    method, batch = make(), make_batch()
    before = {name: value.clone() for name, value in method.calibrator.state_dict().items()}
    for name in ("generator", "discriminator"):
        players(method)[name].loss(batch, generator_for(0))
    assert all(torch.equal(before[name], value) for name, value in method.calibrator.state_dict().items())
    assert all(module.training for module in method.modules())
    with torch.inference_mode():
        expected = method.eval().calibrated(batch.image)
        assert torch.equal(method(batch.image).pixelwise(), expected)
    assert torch.allclose(expected.sum(1), torch.ones(3, 16, 16))


def test_both_players_look_at_the_same_draws() -> None:
    """What the stage prepares gives each player the loss that it would have alone, and the generator its gradients."""
    method, batch = make(dropout=0.0), make_batch()
    stage = method.stages()[-1]
    shared = stage.prepare(batch, generator_for(5))
    for player in stage.players:
        alone = player.loss(batch, generator_for(5)).total
        torch.testing.assert_close(player.loss(shared, generator_for(6)).total, alone)
    stage.players[1].loss(shared, generator_for(6)).total.backward()
    assert all(parameter.grad is None for parameter in method.refiner.parameters())
    stage.players[0].loss(shared, generator_for(6)).total.backward()
    assert all(parameter.grad is not None for parameter in method.refiner.parameters())


def test_the_discriminator_learns_in_cycles_that_it_begins() -> None:
    method = make(discriminator_on=2, discriminator_off=3)
    discriminator = players(method)["discriminator"]
    assert [discriminator.active(step) for step in range(7)] == [True, True, False, False, False, True, True]
    assert discriminator.learning_rate == 0.05
    assert [stage.share for stage in method.stages()] == [0.25, 0.75]


@every_variant
def test_ignored_pixels_count_for_nothing(options: dict[str, Any]) -> None:
    """What the networks think of an ignored pixel changes no loss; which label it hides cannot matter."""
    method, batch = make(**options).eval(), make_batch()
    batch.mask[:, :, :8] = IGNORE
    image = batch.image
    with torch.no_grad():
        target = method.calibrated(image)
        logits = method.refiner(torch.cat((target, image), 1), torch.ones(3, 2, 8)).float()
        changed = logits + 5 * (batch.mask == IGNORE).unsqueeze(2) * torch.tensor([1.0, -1.0])[:, None, None]
        scores = [method._scores_of_draws(some.softmax(2), batch) for some in (logits, changed)]
        drawn = [Drawn(target.log(), target, some, None) for some in (logits, changed)]
        held = [method._regularisers(some, some.logits.softmax(2), batch) for some in drawn]
    assert torch.equal(*scores)
    assert held[0].keys() == held[1].keys()
    assert all(torch.equal(held[0][name], held[1][name]) for name in held[0])


def test_an_image_without_a_counted_pixel_has_a_loss() -> None:
    batch = make_batch()
    batch.mask[:] = IGNORE
    for player in players(make()).values():
        assert player.loss(batch, generator_for(0)).total.isfinite()


def test_the_black_box_sees_stored_probabilities_and_the_rest_the_image() -> None:
    method = make(channels=5, classes=3, segmenter="stored").eval()
    image = make_batch(17, 23, channels=5).image
    with torch.inference_mode():
        target = method.calibrated(image)
        assert target.shape == (3, 3, 17, 23)
        other = torch.cat((torch.zeros_like(image[:, :2]), image[:, 2:]), 1)
        assert torch.equal(method.calibrated(other), target)
        draws = [method(some).sample(2, generator_for(0)) for some in (image, other)]
        assert not torch.equal(*draws)
        assert not torch.equal(method.calibrated(image.flip(1)), target)
    assert method.discriminator.blocks[0].weight.shape[1] == 3 + 2


def test_given_probabilities_stand_in_the_place_of_the_calibration_net() -> None:
    method = make(channels=3, classes=2, segmenter="given").eval()
    batch = make_batch(channels=3)
    stated = torch.stack((batch.image[:, 1], 1 - batch.image[:, 1]), 1)
    image = torch.cat((batch.image[:, :1], stated), 1)
    with torch.inference_mode():
        assert torch.allclose(method(image).pixelwise(), stated, atol=2e-3)
    assert [stage.name for stage in method.stages()] == ["refine"]
    assert "calibrator" not in players(method)
    loss = players(method)["generator"].loss(replace(batch, image=image), generator_for(0))
    loss.total.backward()
    assert loss.terms["calibration"] > 0
    assert method.state_dict().keys() < make(channels=3, segmenter="stored").state_dict().keys()


@pytest.mark.parametrize("segmenter", ["stored", "given"])
def test_without_stored_probabilities_they_cannot_be_read(segmenter: str) -> None:
    with pytest.raises(
        UsageError, match=rf"{segmenter}.* probabilities of the 3 classes .* there are 3 channels in all"
    ):
        make(channels=3, classes=3, segmenter=segmenter)


def test_shared_work_gives_what_each_draw_alone_would() -> None:
    """A draw does not depend on its company, in eval mode; noise reaches every block of the upward path."""
    torch.manual_seed(0)
    refiner = Refiner(3, 2, 4, 5, 0.1).eval()
    image = torch.rand(2, 3, 17, 23, generator=generator_for(0))
    noise = torch.randn(2, 6, 5, generator=generator_for(1))
    with torch.inference_mode():
        together = refiner(image, noise)
        alone = torch.cat([refiner(image, noise[:, [draw]]) for draw in range(6)], 1)
    assert together.shape == (2, 6, 2, 17, 23)
    assert torch.allclose(together, alone, atol=1e-5)
    refiner(image, noise).square().sum().backward()
    for block in (refiner.lowest, *refiner.up):
        assert block.scale.weight.grad.abs().sum() > 0
        assert block.shift.weight.grad.abs().sum() > 0


def test_the_split_convolution_is_one_over_both_inputs() -> None:
    torch.manual_seed(0)
    refiner = Refiner(1, 2, 4, 3, 0.0).eval()
    block, view = refiner.up[0], refiner.from_skips[1]
    below = torch.rand(2, 3, 32, 4, 5, generator=generator_for(0))
    skip = torch.rand(2, 16, 7, 9, generator=generator_for(1))
    up = torch.nn.functional.interpolate(below.flatten(0, 1), size=(7, 9), mode="nearest")
    weight = torch.cat((block.from_below.weight, view.weight), 1)
    both = torch.cat((up, skip.repeat_interleave(3, 0)), 1)
    expected = block.norm(torch.nn.functional.conv2d(both, weight, padding=1))
    with torch.no_grad():
        found = block.normalised(below, view(skip)).flatten(0, 1)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.learning
@pytest.mark.slow
def test_the_calibration_loss_keeps_the_modes_that_cross_entropy_loses(
    train_narrow: Callable[..., Trained], lesions_truth: Store
) -> None:
    """The paper's finding: cGAN + L_ce gives an image its most probable mask, the calibration loss several."""

    def judged(calibration: str) -> Evaluation:
        trained = train_narrow("refine", *SETTINGS, f"options.calibration={calibration}", run=calibration)
        return evaluate(trained, lesions_truth, "test", samples=32)

    kept, lost = judged("mean"), judged("cross-entropy")
    assert kept.figures["sample_diversity"].mean > 2 * lost.figures["sample_diversity"].mean
    assert kept.figures["ged_v"].mean < lost.figures["ged_v"].mean
    assert all(lost.modes[cue].model[np.argmax(PROBABILITIES[cue])] > 0.8 for cue in PROBABILITIES)
