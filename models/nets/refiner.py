"""The refinement network: a U-Net that turns an image and a noise vector into one crisp mask (CAR, section 5.2).

Noise enters each block of the upward path and nothing else. For many masks of one image, therefore, the downward path,
each block's view of its skip connection and the convolution of the lowest block run once. The rest runs once per draw.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.randomness import kept
from .unet import halved, initialise

LEVELS = 4
SLOPE = 0.2  # of the leaky ReLUs; the paper gives none, DCGAN's is taken

# The parts that no draw changes: the normalised features of the lowest block [B, 1, F, h, w], then each higher block's view
# of its skip connection [B, F, h, w].
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
        upwards = widths[::-1]
        self.from_skips = nn.ModuleList(_convolution(outputs, outputs) for outputs in upwards)
        self.lowest = UpBlock(widths[-1], widths[-1], noise_dim, dropout)
        self.up = nn.ModuleList(UpBlock(below, outputs, noise_dim, dropout) for below, outputs in pairwise(upwards))
        self.head = nn.Conv2d(width, classes, 1)
        initialise(self)

    def forward(self, image: Tensor, noise: Tensor) -> Tensor:
        """One mask of each image for each noise vector."""
        return self.decode(self.prepare(image), noise)

    def prepare(self, image: Tensor) -> Prepared:
        """Everything that the draws of images [B, C, H, W] share."""
        skips = []
        for block in self.down:
            skips.append(block(image))
            image = halved(skips[-1])
        seen = [view(skip) for view, skip in zip(self.from_skips, reversed(skips), strict=True)]
        return [self.lowest.normalised(image.unsqueeze(1), seen[0]), *seen[1:]]

    def decode(self, prepared: Prepared, noise: Tensor) -> Tensor:
        """Logits [B, S, K, H, W] of the prepared images for noise [B, S, D]."""
        lowest, *seen = prepared
        features = self.lowest.modulated(lowest, noise)
        for block, skip in zip(self.up, seen, strict=True):
            features = block(features, skip, noise)
        return self.head(features.flatten(0, 1)).unflatten(0, noise.shape[:2])


class UpBlock(nn.Module):
    """Upsampling, 3x3 convolution over that and the skip connection, BatchNorm, noise, leaky ReLU, dropout.

    Two linear layers turn the noise into a scale and a shift of each channel, as in adaptive instance normalisation.
    The convolution over both inputs is the sum of one over each; the one over the skip stands outside, as no draw changes it.
    """

    def __init__(self, below: int, outputs: int, noise_dim: int, dropout: float):
        super().__init__()
        self.from_below = _convolution(below, outputs)
        self.norm = nn.BatchNorm2d(outputs)
        self.scale = nn.Linear(noise_dim, outputs)
        self.shift = nn.Linear(noise_dim, outputs)
        self.dropout = Dropout(dropout)

    def forward(self, below: Tensor, skip: Tensor, noise: Tensor) -> Tensor:
        """Features [B, S, F, h, w] of those below [B, S, I, h/2, w/2], the seen skip [B, F, h, w] and noise [B, S, D]."""
        return self.modulated(self.normalised(below, skip), noise)

    def normalised(self, below: Tensor, skip: Tensor) -> Tensor:
        """Features [B, S, F, h, w] before the noise."""
        up = doubled(below.flatten(0, 1), skip.shape[-2:])
        both = self.from_below(up).unflatten(0, below.shape[:2]) + skip.unsqueeze(1)
        return self.norm(both.flatten(0, 1)).unflatten(0, below.shape[:2])

    def modulated(self, features: Tensor, noise: Tensor) -> Tensor:
        """Features [B, S, F, h, w] with each draw's noise [B, S, D], activated."""
        scale, shift = (layer(noise)[..., None, None] for layer in (self.scale, self.shift))
        moved = (features * (1 + scale)).add_(shift)  # in place: a second pass over all draws would cost as much again
        return self.dropout(F.leaky_relu(moved, SLOPE, inplace=True))


def doubled(features: Tensor, size: Sequence[int]) -> Tensor:
    """Features [B, C, h, w] with each pixel repeated 2 x 2, cut to `size`."""
    height, width = size
    return F.interpolate(features, scale_factor=2, mode="nearest")[..., :height, :width]


class Dropout(nn.Module):
    """Zeros at probability `rate` while training, drawn from torch's own generator, which the training loop seeds.

    Where torch compiles a network it is torch's own dropout, which becomes a part of the graph, with other random numbers.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, features: Tensor) -> Tensor:
        """Features of any shape."""
        if torch.compiler.is_compiling():
            return F.dropout(features, self.rate, self.training)
        return features * kept(features.shape, self.rate, None, features) if self.training and self.rate else features


def _down_block(inputs: int, outputs: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        _convolution(inputs, outputs),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(SLOPE, inplace=True),
        Dropout(dropout),
    )


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """3x3, without the bias that a BatchNorm after it would take away."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
