"""Modal Uncertainty Estimation: its loss by hand, its decoder's shortcuts, dead codes, and known mode probabilities."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ambiseg.models.core.batch import Batch
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.methods.modal import Modal
from ambiseg.models.methods.registry import build
from ambiseg.models.nets.residual import CodeDecoder, ResidualEncoder
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.store.store import Store

SMALL = {"widths": (6, 8), "latent_widths": (8,), "codes": 12, "code_dim": 5}


def make(**options: object) -> Modal:
    torch.manual_seed(0)
    method = build("modal", 1, 2, SMALL | options)
    assert isinstance(method, Modal)
    return method


def make_batch(images: int = 3, readers: int = 2, progress: float = 0.5) -> Batch:
    generator = generator_for("batch")
    image = torch.rand(images, 1, 16, 16, generator=generator)
    return Batch(image, torch.randint(0, 2, (images, readers, 16, 16), generator=generator), progress)


def test_the_loss_is_equation_four() -> None:
    """Each pair by itself, in evaluation mode (nothing moves): pixels' mean, mean squared distance, log probability."""
    method, batch = make().eval(), make_batch()
    loss = method.loss(batch, generator_for(0))
    expected = []
    for image, masks in zip(batch.image, batch.mask, strict=True):
        for mask in masks:
            evidence = F.one_hot(mask, 2).permute(2, 0, 1) - 0.5
            features = method.posterior(torch.cat((image, evidence))[None])[-1]
            output = method.posterior_head(features.mean((2, 3)))[0]
            distance = (method.codebook.codes - output).square().sum(1)
            predictive = method(image[None])
            logits = predictive.decode(distance.argmin().view(1, 1))[0, 0]
            terms = (
                F.cross_entropy(logits[None], mask[None]),
                0.25 * distance.min() / 5,
                -predictive.log_probabilities[0, distance.argmin()],
            )
            expected.append(sum(terms).item())
    assert loss.total.item() == pytest.approx(np.mean(expected), rel=1e-4)


def test_the_prior_waits_for_the_end_of_the_warm_up() -> None:
    method = make(warmup=0.5, prior_weight=0.1)
    for progress, learns in ((0.49, False), (0.5, True)):
        method.zero_grad()
        loss = method.loss(make_batch(progress=progress), generator_for(0))
        loss.total.backward()
        assert (method.prior_head.weight.grad is not None) == learns
        terms = loss.terms["reconstruction"] + 0.25 * loss.terms["commitment"] + learns * 0.1 * loss.terms["code"]
        assert loss.total.item() == pytest.approx(terms.item())


def test_ignored_pixels_change_nothing() -> None:
    """Whatever the image's readers would have drawn there: an ignored pixel has no part in the reconstruction."""
    method, batch = make().eval(), make_batch(1, 1)
    predictive = method(batch.image)
    mask = batch.mask.clone()
    mask[..., :8] = 255
    index = method.posterior_code(batch.image, mask[:, 0], generator_for(0)).index
    kept = F.cross_entropy(predictive.decode(index[None])[:, 0, :, :, 8:], mask[:, 0, :, 8:])
    found = method.loss(Batch(batch.image, mask, 1.0), generator_for(0)).terms["reconstruction"]
    assert found.item() == pytest.approx(kept.item(), rel=1e-5)


def test_dead_codes_have_no_probability_once_trained() -> None:
    method, batch = make(decay=0.5), make_batch()
    assert (method.eval()(batch.image).log_probabilities > -torch.inf).all()
    for _ in range(6):
        method.train().loss(batch, generator_for(0)).total.backward()
    live = method.codebook.live
    assert 1 <= live.sum() <= 6
    predictive = method.eval()(batch.image)
    assert predictive.atoms(12).labels.shape[1] == live.sum()
    probabilities = predictive.log_probabilities.exp()
    assert (probabilities[:, ~live] == 0).all()
    assert torch.allclose(probabilities.sum(1), torch.ones(3))
    assert (method.train()(batch.image).log_probabilities > -torch.inf).all()


def test_unused_codes_are_recycled_in_the_first_share_of_the_schedule() -> None:
    for progress, recycled in ((0.29, True), (0.3, False)):
        method = make(recycle=0.3).train()
        method.loss(make_batch(), generator_for(0))
        method.codebook.counts[:] = torch.tensor([1.0] * 10 + [0.0] * 2)
        before = method.codebook.codes[10:].clone()
        method.loss(make_batch(progress=progress), generator_for(1))
        assert bool((method.codebook.codes[10:] != before).any()) == recycled


def test_the_decoder_is_that_of_concatenated_inputs() -> None:
    """Splitting a block's first layer over image, code and coarser features is the same as concatenating them."""
    torch.manual_seed(0)
    decoder = CodeDecoder((4, 6), 3, 2, convs=2, norm=False)
    levels = [torch.randn(2, 4, 9, 7), torch.randn(2, 6, 5, 4)]
    codes = torch.randn(2, 3, 3)
    found = decoder(decoder.prepare(levels), codes)
    low, high = decoder.from_encoder
    weight, shortcut = low.first.weight, low.shortcut.weight
    for image in range(2):
        for code in range(3):
            c = codes[image, code]
            coarse = levels[1][image : image + 1]
            hidden = (
                F.conv2d(coarse.relu(), weight, low.first.bias, padding=1)
                + (decoder.from_code.first.weight @ c)[:, None, None]
            )
            block = decoder.tails[0].convs[0](hidden.relu()) + F.conv2d(coarse, shortcut)
            block = block + (decoder.from_code.shortcut.weight @ c)[:, None, None]
            up = F.interpolate(block, size=(9, 7), mode="bilinear")
            both = torch.cat((levels[0][image : image + 1], up), 1)
            joined = torch.cat((high.first.weight, decoder.from_below[0].first.weight), 1)
            hidden = F.conv2d(both.relu(), joined, high.first.bias + decoder.from_below[0].first.bias, padding=1)
            joined = torch.cat((high.shortcut.weight, decoder.from_below[0].shortcut.weight), 1)
            last = decoder.tails[1].convs[0](hidden.relu()) + F.conv2d(both, joined)
            assert torch.allclose(found[image, code], decoder.logits(last)[0], atol=1e-4)


def test_sizes_halve_upwards_down_to_one_pixel() -> None:
    encoder = ResidualEncoder(1, (4,) * 6, 2, norm=False)
    assert [tuple(level.shape[2:]) for level in encoder(torch.rand(1, 1, 16, 5))] == [
        (16, 5), (8, 3), (4, 2), (2, 1), (1, 1), (1, 1),
    ]  # fmt: skip


def test_the_papers_net_takes_small_crops() -> None:
    method = build("modal", 1, 2, {})
    batch = make_batch(2, 1)
    assert method.loss(batch, generator_for(0)).total.isfinite()
    assert method.eval()(batch.image[:1]).atoms(2).labels.shape == (1, 2, 16, 16)


def test_codes_are_chosen_in_full_precision() -> None:
    """Half precision elsewhere changes no code: rounded features would make one code of all masks."""
    torch.manual_seed(0)
    method = build("modal", 1, 2, {"widths": (4, 6), "latent_widths": (8,), "codes": 16, "code_dim": 4}).train()
    image = torch.rand(8, 1, 16, 16, generator=generator_for("image"))
    mask = torch.randint(0, 2, (8, 16, 16), generator=generator_for("mask"))
    with torch.no_grad():
        wanted = method.posterior_code(image, mask, generator_for(0))
        with torch.autocast("cpu", torch.bfloat16):
            found = method.posterior_code(image, mask, generator_for(0))
    assert found.vectors.dtype == torch.float32
    torch.testing.assert_close(found.vectors, wanted.vectors, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.commitment, wanted.commitment, rtol=1e-5, atol=0)


@pytest.mark.learning
@pytest.mark.slow
def test_codes_recover_the_mode_probabilities(
    train_narrow: Callable[..., Trained], lesions_truth: Store, tmp_path: Path
) -> None:
    """Made lesions whose readers' odds depend on a visible cue: the codes' probabilities come close, without a draw."""
    settings = "batch=16", "optimiser.learning_rate=2e-3", "options.latent_widths=[32]", "options.codes=8"
    evaluation = evaluate(train_narrow("modal", *settings), lesions_truth, "test", samples=64)
    errors = [np.abs(group.model - group.truth) for group in evaluation.modes.values()]
    assert len(errors) == 3
    assert np.mean(errors) < 0.06
    assert 3 <= Run.open(tmp_path / "run").read_log()[-1]["live_codes"] <= 8
