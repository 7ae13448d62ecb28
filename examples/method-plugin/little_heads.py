"""A plug-in for ambiseg: a small net with a few output heads, each of which gives one mask with a learned probability."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ambiseg.models.core.batch import Batch, Loss
from ambiseg.models.core.method import Method
from ambiseg.models.core.predictive import FinitePredictive
from ambiseg.models.nets.pixels import counted, pairwise_cross_entropy


class LittleHeads(Method):
    """A mixture of a few masks, fitted by maximum likelihood."""

    name = "little-heads"
    summary = "Little heads: a small net with a few masks and their probabilities (an example)"
    references = ("Rupprecht et al., Learning in an Uncertain World, ICCV 2017",)

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        heads: Annotated[int, Field(ge=2, le=64, description="masks")] = 4,
        width: Annotated[int, Field(ge=1, le=256, description="channels of the net")] = 16,
    ):
        super().__init__()
        self.channels, self.classes, self.heads = channels, classes, heads
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, width, 5, padding=2),
            nn.ReLU(),
        )
        self.masks = nn.Conv2d(width, heads * classes, 1)
        self.chances = nn.Linear(width, heads)

    def forward(self, image: Tensor) -> FinitePredictive:
        """The heads' masks with their probabilities, for images [B, C, H, W]; the net runs once, however many the draws."""
        logits, chances = self.mixture(image)
        return FinitePredictive(chances, lambda index: logits.take_along_dim(index[:, :, None, None, None], 1))

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """-log of the mixture's likelihood, mean over images and readers; each mask's own is a mean over its pixels."""
        logits, chances = self.mixture(batch.image)
        pixels = counted(batch.mask).sum((2, 3)).clamp_min(1).unsqueeze(1)
        misfit = pairwise_cross_entropy(logits, batch.mask) / pixels  # [B, heads, M]
        surprise = -(chances.log_softmax(1).unsqueeze(2) - misfit).logsumexp(1).mean()
        return Loss(surprise, {"best_head": misfit.min(1).values.mean().detach()})

    def mixture(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, heads, K, H, W] of the masks, and unnormalised log-probabilities [B, heads]."""
        features = self.features(image)
        logits = self.masks(features).unflatten(1, (self.heads, self.classes))
        return logits, self.chances(features.mean((2, 3))).float()
