"""The low-rank Gaussian over logits: its covariance by Monte Carlo, and its loss against a direct formula."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ambiseg.models.core.batch import Batch
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.methods.registry import check_options
from ambiseg.models.methods.ssn import JITTER, SSN, START, GaussianLogits
from ambiseg.models.nets.pixels import cross_entropy
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.store.store import IGNORE


def make(classes: int = 2, **options: Any) -> SSN:
    torch.manual_seed(0)
    return SSN(1, classes, **({"widths": (4, 6, 8), "convs": 1, "rank": 3, "draws": 6} | options)).eval()


def images(batch: int = 2) -> Tensor:
    return torch.rand(batch, 1, 12, 10, generator=generator_for("images"))


def masks(classes: int = 2, readers: int = 3) -> Tensor:
    return torch.randint(0, classes, (2, readers, 12, 10), generator=generator_for("masks"))


def gaussian(rank: int = 2) -> GaussianLogits:
    """Two images of 2 x 3 pixels and two classes."""
    torch.manual_seed(0)
    return GaussianLogits(torch.randn(2, 2, 2, 3), torch.rand(2, 2, 2, 3), torch.randn(2, rank, 2, 2, 3))


@pytest.mark.parametrize("rank", [0, 2])
def test_draws_have_the_mean_and_the_covariance_of_the_gaussian(rank: int) -> None:
    logits = gaussian(rank)
    drawn = logits.sample(100_000, generator_for(0)).flatten(2)
    factors = logits.factors.flatten(2)
    wanted = factors.mT @ factors + torch.diag_embed(logits.deviation.flatten(1).square())
    for image in range(2):
        error = (drawn[image].mean(0) - logits.mean[image].flatten()) / wanted[image].diagonal().sqrt()
        assert error.abs().max() < 5 / 100_000**0.5
        assert torch.allclose(drawn[image].T.cov(), wanted[image], atol=0.02 * wanted[image].diagonal().max())


def test_the_net_states_variances_and_factors() -> None:
    method = make()
    features, logits = method.unet(images()), method(images())
    variance = method.log_variance(features).exp() + JITTER
    assert torch.allclose(logits.deviation.square(), variance, rtol=1e-4)
    assert torch.allclose(logits.factors.flatten(1, 2), method.factors(features), atol=1e-6)
    assert torch.allclose(logits.mean, method.mean(features), atol=1e-6)
    assert method.log_variance.bias.tolist() == [START] * 2


@pytest.mark.parametrize("covariance", ["low-rank", "diagonal"])
def test_the_loss_is_the_mean_likelihood_of_pairs_of_draws(covariance: str) -> None:
    method, labels = make(3, covariance=covariance), masks(3)
    labels[0, 1, :4] = IGNORE
    found = method.loss(Batch(images(), labels, progress=0.9), generator_for(1)).total
    logits = method(images())
    offsets = logits.offsets(logits.noise(3, generator_for(1)))
    total = 0.0
    for image in range(2):
        for reader in labels[image]:
            likelihoods = [
                math.exp(-cross_entropy((logits.mean[image] + sign * offset)[None].double(), reader[None]).item() / 40)
                for offset in offsets[image]
                for sign in (1, -1)
            ]
            total -= math.log(sum(one**40 for one in likelihoods) / 6) / 6
    assert found.item() == pytest.approx(total, rel=1e-4)


def test_only_the_mean_learns_in_the_warm_up() -> None:
    method = make(warmup=0.2)
    method.loss(Batch(images(), masks(), progress=0.19), generator_for(0)).total.backward()
    still = [name for name, p in method.named_parameters() if p.grad is None or not p.grad.any()]
    assert {name.split(".")[0] for name in still} == {"log_variance", "factors"}


def test_tied_images_share_what_multiplies_factors_and_deviations() -> None:
    logits = gaussian()
    noise = logits.noise(4, generator_for(0), tied=True)
    drawn = logits.sample(4, generator_for(0), tied=True)
    for image in range(2):
        shared = torch.einsum("sr,rkhw->skhw", noise.shared[0], logits.factors[image])
        wanted = logits.mean[image] + shared + noise.own[0] * logits.deviation[image]
        assert torch.allclose(drawn[image], wanted, atol=1e-5)
    joint = torch.cat((noise.shared, noise.own.flatten(2)), 2).expand(2, -1, -1)
    assert torch.allclose(logits.drawn(joint), drawn, atol=1e-6)
    free = logits.noise(4, generator_for(0))
    assert not torch.equal(free.shared[0], free.shared[1])


def test_pixels_of_the_control_vary_independently() -> None:
    logits = make(covariance="diagonal")(images())
    assert logits.factors.shape == (2, 0, 2, 12, 10)
    assert not any("factors" in name for name, _ in make(covariance="diagonal").named_parameters())


def test_draws_come_in_pairs() -> None:
    with pytest.raises(UsageError, match="'draws' of method ssn: input should be a multiple of 2, got 5"):
        check_options("ssn", {"draws": 5})
