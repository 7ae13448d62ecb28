"""U-Net ensemble (Lakshminarayanan et al. 2017, as the baseline of Kohl et al. 2018, section 3.2)."""

from functools import cache
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ...core.batch import Batch, Loss
from ...core.bounds import MOST_PARTS
from ...core.method import Method
from ...core.predictive import FinitePredictive
from ...nets.pixels import pairwise_cross_entropy
from ...nets.unet import UNet
from ..shared_options import KOHL, Convs, Norm, Widths


class Ensemble(Method):
    """Independently initialised U-Nets, each trained by itself; each one's mask has the same probability."""

    name = "ensemble"
    summary = "U-Net ensemble: a draw is a member's mask (Kohl et al. 2018, section 3.2)"
    references = (
        KOHL,
        "Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles, NeurIPS 2017",
    )

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        members: Annotated[int, Field(ge=2, le=MOST_PARTS, description="U-Nets; the paper takes one a sample")] = 16,
        widths: Widths = (32, 64, 128, 192),
        convs: Convs = 3,
        norm: Norm = False,
    ):
        super().__init__()
        self.channels, self.classes = channels, classes
        self.members = nn.ModuleList(
            nn.Sequential(UNet(channels, widths, convs, norm), nn.Conv2d(widths[0], classes, 1)) for _ in range(members)
        )

    def forward(self, image: Tensor) -> FinitePredictive:
        """The predictive distribution for images [B, C, H, W]; a member runs when it is first asked for, and once."""

        @cache
        def logits_of(member: int) -> Tensor:
            return self.members[member](image)

        def decode(index: Tensor) -> Tensor:
            asked, place = index.unique(return_inverse=True)
            logits = torch.stack([logits_of(member) for member in asked.tolist()], 1)
            return logits.take_along_dim(place[:, :, None, None, None], 1)

        return FinitePredictive(image.new_zeros(len(image), len(self.members)), decode)

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """The sum over members of each one's cross-entropy, which is summed over pixels and averaged over images and
        readers. By the sum, a member's gradient (and its share of the weight decay) is what it would be alone.
        """
        each = [pairwise_cross_entropy(member(batch.image).unsqueeze(1), batch.mask).mean() for member in self.members]
        cross_entropy = torch.stack(each)
        return Loss(cross_entropy.sum(), {"cross_entropy": cross_entropy.detach().mean()})
