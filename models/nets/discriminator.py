"""The discriminator: is this mask a reader's or a generator's? (DCGAN's, without BatchNorm; CAR, section 5.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .unet import initialise

LEVELS = 4
SLOPE = 0.2


class Discriminator(nn.Module):
    """Four 4x4 convolutions of stride 2 and `width`, 2, 4 and 8 `width` channels, a global average, a linear score.

    DCGAN's last layer sees a map of a fixed 4x4 size; the average makes it serve images of every size.
    """

    def __init__(self, channels: int, classes: int, width: int):
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS)]
        self.blocks = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)
            for inputs, outputs in zip([classes + channels, *widths[:-1]], widths, strict=True)
        )
        self.score = nn.Linear(widths[-1], 1)
        initialise(self)

    def forward(self, planes: Tensor, image: Tensor) -> Tensor:
        """Scores [B] (log odds that a reader drew it) of class planes [B, K, H, W] on images [B, C, H, W]."""
        features = torch.cat((planes, image), 1)
        for block in self.blocks:
            features = F.leaky_relu(block(_even(features)), SLOPE, inplace=True)
        return self.score(features.mean((2, 3))).squeeze(1)


def _even(features: Tensor) -> Tensor:
    """Features with zeros to an even height and width, so that halving rounds up and a single pixel is kept."""
    height, width = features.shape[-2:]
    return F.pad(features, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else features
