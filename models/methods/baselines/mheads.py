"""M-Heads (Rupprecht et al. 2017, as the baseline of Kohl et al. 2018, section 3.2), with an optional learned gate."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ...core.batch import Batch, Loss
from ...core.bounds import MOST_PARTS
from ...core.method import Method
from ...core.predictive import FinitePredictive
from ...nets.pixels import pairwise_cross_entropy
from ...nets.unet import NormPlace, UNet, VectorEncoder
from ..shared_options import KOHL, Convs, Norm, Widths


class MHeads(Method):
    """A U-Net with one 1x1 output layer a head; the head that is nearest to a reader's mask learns most from it.

    gate "uniform" gives each head the probability 1 / M, as the paper does; "learned" lets a net of the shape of the
    Probabilistic U-Net's prior net say them.
    """

    name = "mheads"
    summary = "M-Heads: a draw is a head's mask (Kohl et al. 2018, section 3.2)"
    references = (
        KOHL,
        "Rupprecht et al., Learning in an Uncertain World, ICCV 2017",
    )

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        heads: Annotated[
            int, Field(ge=2, le=MOST_PARTS, description="output layers M; the paper takes one a sample")
        ] = 16,
        epsilon: Annotated[float, Field(gt=0, lt=1, description="weight of all heads but the best together")] = 0.05,
        gate: Annotated[Literal["uniform", "learned"], Field(description="probabilities of the heads")] = "uniform",
        widths: Widths = (32, 64, 128, 192),
        convs: Convs = 3,
        norm: Norm = False,
    ):
        super().__init__()
        self.channels, self.classes, self.heads, self.epsilon = channels, classes, heads, epsilon
        self.unet = UNet(channels, widths, convs, norm)
        self.outputs = nn.Conv2d(widths[0], heads * classes, 1)
        self.gate = _gate_net(channels, widths, convs, norm, heads) if gate == "learned" else None

    def forward(self, image: Tensor) -> FinitePredictive:
        """The predictive distribution for images [B, C, H, W]; everything but the choice of heads runs once."""
        logits, gate = self.heads_of(image)
        return FinitePredictive(gate, lambda index: logits.take_along_dim(index[:, :, None, None, None], 1))

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """Mean over images and readers of (1 - epsilon) times the best head's cross-entropy (summed over pixels) and
        epsilon / (M - 1) times each other's; with a learned gate, also of -log gate(best head).
        """
        logits, gate = self.heads_of(batch.image)
        each = pairwise_cross_entropy(logits, batch.mask)
        best, winner = each.min(1)
        rest = each.sum(1) - best
        heads = ((1 - self.epsilon) * best + self.epsilon / (self.heads - 1) * rest).mean()
        terms = {"heads": heads.detach(), "best_head": best.detach().mean()}
        if self.gate is None:
            return Loss(heads, terms)
        choice = F.cross_entropy(gate.unsqueeze(2).expand(-1, -1, winner.shape[1]), winner)
        return Loss(heads + choice, terms | {"gate": choice.detach()})

    def heads_of(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, M, K, H, W] of all heads, and the heads' unnormalised log probabilities [B, M]."""
        logits = self.outputs(self.unet(image)).unflatten(1, (self.heads, self.classes))
        return logits, image.new_zeros(image.shape[0], self.heads) if self.gate is None else self.gate(image).float()


def _gate_net(channels: int, widths: Sequence[int], convs: int, norm: NormPlace, heads: int) -> nn.Module:
    return nn.Sequential(VectorEncoder(channels, widths, convs, norm), nn.Linear(widths[-1], heads))
