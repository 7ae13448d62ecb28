"""The refinement network: a U-Net that turns an image and a noise vector into one crisp mask (CAR, section 5.2).

Noise enters each block of the upward path and nothing else. So for many masks of one image the downward path, each
block's view of its skip connection and the lowest block's convolution run once; the rest runs a draw.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from .unet import halved, initialise

LEVELS = 4
SLOPE = 0.2  # of the leaky ReLUs; the paper gives none, DCGAN's is taken

# What no draw changes: the lowest block's normalised features [B, 1, F, h, w], then each higher block's view of its skip
# connection [B, F, h, w].
Prepared = list[Tensor]


class Refiner(nn.Module):
    """Four levels of `width`, 2, 4 and 8 `width` channels; [B, C, H, W] and noise [B, S, D] to logits [B, S, K, H, W]."""

    def __init__(self, channels: int, classes: int, width: int, noise_dim: int, dropout: float):
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS)]
        self.down = nn.ModuleList(
            _down_block(inputs, outputs, dropout)
            for inputs, outputs in zip([channels, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(
            UpBlock(below, outputs, noise_dim, dropout)
            for below, outputs in zip([widths[-1], *widths[:0:-1]], reversed(widths), strict=True)
        )
        self.head = nn.Conv2d(width, classes, 1)
        initialise(self)

    def forward(self, image: Tensor, noise: Tensor) -> Tensor:
        """One mask of each image for each noise vector."""
        return self.decode(self.prepare(image), noise)

    def prepare(self, image: Tensor) -> Prepared:
        """Everything that the draws of an image [B, C, H, W] share."""
        skips = []
        for block in self.down:
            skips.append(block(image))
            image = halved(skips[-1])
        lowest, *seen = [block.from_skip(skip) for block, skip in zip(self.up, reversed(skips), strict=True)]
        return [self.up[0].normalised(image.unsqueeze(1), lowest), *seen]

    def decode(self, prepared: Prepared, noise: Tensor) -> Tensor:
        """Logits [B, S, K, H, W] of the prepared images for noise [B, S, D]."""
        features, *seen = prepared
        features = self.up[0].modulated(features, noise)
        for block, skip in zip(self.up[1:], seen, strict=True):
            features = block.modulated(block.normalised(features, skip), noise)
        return self.head(features.flatten(0, 1)).unflatten(0, noise.shape[:2])


class UpBlock(nn.Module):
    """Bilinear up, 3x3 convolution over that and the skip connection, BatchNorm, noise, leaky ReLU, dropout.

    Two linear layers turn the noise into a scale and a shift of each channel, as in adaptive instance normalisation.
    The convolution over both inputs is written as the sum of one over each.
    """

    def __init__(self, below: int, outputs: int, noise_dim: int, dropout: float):
        super().__init__()
        self.from_below = nn.Conv2d(below, outputs, 3, padding=1, bias=False)
        self.from_skip = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.scale = nn.Linear(noise_dim, outputs)
        self.shift = nn.Linear(noise_dim, outputs)
        self.dropout = nn.Dropout(dropout)

    def normalised(self, below: Tensor, skip: Tensor) -> Tensor:
        """Features [B, S, F, h, w] before the noise, of those below [B, S, I, h/2, w/2] and the seen skip [B, F, h, w]."""
        up = F.interpolate(below.flatten(0, 1), size=skip.shape[-2:], mode="bilinear", align_corners=False)
        both = self.from_below(up).unflatten(0, below.shape[:2]) + skip.unsqueeze(1)
        return self.norm(both.flatten(0, 1)).unflatten(0, below.shape[:2])

    def modulated(self, features: Tensor, noise: Tensor) -> Tensor:
        """Features [B, S, F, h, w] with each draw's noise [B, S, D], activated."""
        scale, shift = (layer(noise)[..., None, None] for layer in (self.scale, self.shift))
        return self.dropout(F.leaky_relu(features * (1 + scale) + shift, SLOPE))


def _down_block(inputs: int, outputs: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(SLOPE),
        nn.Dropout(dropout),
    )
