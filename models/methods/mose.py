"""MoSE (Gao et al. 2023): experts that draw masks, a gate that says how often each is right, and a loss on the masks' IoU."""

import math
from statistics import NormalDist
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ..core.batch import Batch, Loss
from ..core.bounds import MOST_CHANNELS, MOST_PARTS
from ..core.method import Method
from ..core.predictive import FinitePredictive
from ..core.randomness import normal
from ..nets.combine import Combine
from ..nets.coupling import greedy_coupling, soft_jaccard_distances
from ..nets.energy_score import reader_planes
from ..nets.latents import LOG_SCALE, full_precision
from ..nets.unet import UNet
from .shared_options import Convs, Norm, Widths

SPREAD = 1 / 8  # standard deviation of each expert's z at the start
HALF = 0.5  # the most of the readers' weight that one mask takes at first
TINY = 1e-8


class MoSE(Method):
    """p(y|x) is a mixture of K experts with the gate's probabilities pi(x). An expert is a Gaussian over one number z, which
    shifts and scales the last features of a U-Net that all experts share.

    The support has about `masks` masks: each expert at the middles of equal shares of its Gaussian.
    """

    name = "mose"
    summary = (
        "Mixture of stochastic experts: explicit probabilities, trained by optimal transport on IoU (Gao et al. 2023)"
    )
    references = (
        "Gao et al., Modeling Multimodal Aleatoric Uncertainty in Segmentation with Mixture of Stochastic Experts, ICLR 2023",
    )

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        experts: Annotated[int, Field(ge=2, le=MOST_PARTS, description="experts K")] = 4,
        draws: Annotated[int, Field(ge=1, le=MOST_PARTS, description="masks per expert in a training step")] = 4,
        masks: Annotated[int, Field(ge=2, le=MOST_CHANNELS, description="masks in the support, approximately")] = 64,
        beta: Annotated[
            float, Field(gt=0, description="weight of the gate's loss; the paper takes 10 for one reader per image")
        ] = 1.0,
        spread_share: Annotated[
            float, Field(ge=0, le=1, description="share of the steps in which a mask takes half of the readers at most")
        ] = 0.5,
        widths: Widths = (32, 64, 128, 192),
        convs: Convs = 3,
        norm: Norm = True,
    ):
        super().__init__()
        self.channels, self.classes = channels, classes
        self.experts, self.draws, self.beta, self.spread_share = experts, draws, beta, spread_share
        self.unet = UNet(channels, widths, convs, norm)
        self.head = Combine(widths[0], 1, classes, scaled=True)
        self.gate = _gate(widths[-1], experts)
        self.loc = nn.Parameter(torch.tensor([number / max(experts - 1, 1) for number in range(experts)]))
        self.log_scale = nn.Parameter(torch.full((experts,), math.log(SPREAD)))
        self.points: Tensor
        self.register_buffer("points", quantile_middles(max(1, masks // experts)))
        self.support = experts * len(self.points)

    def forward(self, image: Tensor) -> FinitePredictive:
        """The predictive distribution for images [B, C, H, W]; the masks of the first expert come first."""
        prepared, gate = self._prepared(image)
        z = self._z(self.points.expand(self.experts, -1)).flatten()
        chances = gate.repeat_interleave(len(self.points), 1)
        count = len(self.points)
        return FinitePredictive(
            chances,
            lambda index: self.head(prepared, z[index].unsqueeze(2)),
            run=count,
            kept=lambda some: (
                (torch.arange(some) + 0.5) * count / some
            ).long(),  # quantiles in the middle of equal shares
        )

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """Transported distance, mean over images, + `beta` * KL(weight that each mask took || its probability), the terms of
        the KL averaged over images and masks (Gao et al. 2023, eq. 6).
        """
        prepared, gate = self._prepared(batch.image)
        z = self._z(normal((len(gate), self.experts, self.draws), generator, self.loc))
        logits = self.head(prepared, z.flatten(1).unsqueeze(2))
        with full_precision(logits):
            readers, counts = reader_planes(batch.mask, self.classes)
            masks = logits.float().softmax(2)[:, :, 1:].flatten(2) * counts
            cost = soft_jaccard_distances(masks, readers * counts)
            coupling = greedy_coupling(cost, HALF if batch.progress < self.spread_share else 1.0)
            transported = (coupling * cost).sum((1, 2)).mean()
            taught = self._gate_loss(gate, coupling.sum(2))
        terms = {
            "transport": transported.detach(),
            "gate": taught.detach(),
            "spread": self.log_scale.detach().exp().mean(),
        }
        return Loss(transported + self.beta * taught, terms)

    def _gate_loss(self, gate: Tensor, taken: Tensor) -> Tensor:
        """KL of the weights `taken` [B, N] by masks from their probabilities, mean over all B * N terms."""
        chances = gate.softmax(1).repeat_interleave(self.draws, 1) / self.draws
        return F.kl_div((chances + TINY).log(), taken, reduction="none").mean()

    def _prepared(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """What does not depend on z, for images [B, C, H, W], and the experts' unnormalised log probabilities [B, K]."""
        levels = self.unet.encoder(image)
        gate: Tensor = self.gate(levels[-1].mean((2, 3)))
        return self.head.prepare(self.unet.decoded(levels)), gate.float()

    def _z(self, normals: Tensor) -> Tensor:
        """z [..., K, S] of each expert at standard normal numbers [..., K, S]."""
        return self.loc.unsqueeze(1) + self.log_scale.clamp(*LOG_SCALE).exp().unsqueeze(1) * normals


def quantile_middles(count: int) -> Tensor:
    """Standard normal numbers [count] that stand for equal shares of the distribution: the quantiles in their middles.

    Example:
        >>> quantile_middles(4).round(decimals=2).tolist()
        [-1.149999976158142, -0.3199999928474426, 0.3199999928474426, 1.149999976158142]
    """
    standard = NormalDist()
    return torch.tensor([standard.inv_cdf((number + 0.5) / count) for number in range(count)])


def _gate(features: int, experts: int) -> nn.Module:
    hidden = [layer for _ in range(2) for layer in (nn.Linear(features, features), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(features, experts, bias=False))
