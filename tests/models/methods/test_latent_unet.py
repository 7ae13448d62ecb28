"""The Gaussian-latent family: how the weight of the KL divergence rises."""

import pytest
import torch

from ambiseg.models.core.batch import Batch
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.methods.registry import build


@pytest.mark.parametrize("name", ["probunet", "generalized"])
def test_the_weight_of_the_kl_rises_to_beta_in_the_first_share_of_the_schedule(name: str) -> None:
    torch.manual_seed(0)
    method = build(name, 1, 2, {"widths": [4, 6], "convs": 1, "beta": 2.0, "anneal": 0.4})
    image = torch.rand(3, 1, 16, 16, generator=generator_for("image"))
    mask = torch.randint(0, 2, (3, 2, 16, 16), generator=generator_for("mask"))
    for progress, weight in ((0.0, 0.0), (0.1, 0.5), (0.4, 2.0), (1.0, 2.0)):
        loss = method.loss(Batch(image, mask, progress), generator_for(0))
        wanted = loss.terms["cross_entropy"] + weight * loss.terms["kl"]
        assert loss.total.item() == pytest.approx(wanted.item(), rel=1e-5)
        assert loss.terms["kl"] > 0
