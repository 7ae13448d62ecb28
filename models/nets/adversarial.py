"""Adversarial learning: the discriminator, the losses of both players, the penalty that stabilises them, the calibration
loss of CAR.

Goodfellow et al. 2014 (non-saturating form); Mescheder et al. 2018 (R1); Kassapis et al. 2021 (calibration loss, eq. 6).
All losses are means over their inputs, computed in float32.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .unet import initialise

FLOOR = 1e-3  # class probabilities are clamped to [FLOOR, 1 - FLOOR] before their logarithms are compared
LEVELS = 4
WHOLE_BLOCKS = 3  # at full resolution, in the authors' released code
GRID = 4  # side of the map that their last layer sees
SLOPE = 0.2


class Discriminator(nn.Module):
    """Four 4x4 convolutions of stride 2 and `width`, 2, 4 and 8 `width` channels, a global average, a linear score.

    The last layer of DCGAN sees a map of a fixed 4x4 size; the average makes images of every size possible.

    released: as in the code that the authors of CAR released: three 3x3 convolutions at full resolution come first, and the
        last layer sees where on the image each feature lies. Here it sees averages over a grid of 4x4 places, so that images
        of every size stay possible.
    """

    def __init__(self, channels: int, classes: int, width: int, *, released: bool = False):
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS)]
        seen, fine = classes + channels, [width] * (WHOLE_BLOCKS if released else 0)
        self.fine = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=1) for inputs, outputs in pairwise([seen, *fine])
        )
        self.blocks = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)
            for inputs, outputs in pairwise([fine[-1] if released else seen, *widths])
        )
        self.places = GRID if released else 1
        self.score = nn.Linear(widths[-1] * self.places**2, 1)
        initialise(self)

    def forward(self, planes: Tensor, image: Tensor) -> Tensor:
        """Scores [B] (log odds that a reader drew it) of class planes [B, K, H, W] on images [B, C, H, W]."""
        features = torch.cat((planes, image), 1)
        for block in self.fine:
            features = F.leaky_relu(block(features), SLOPE, inplace=True)
        for block in self.blocks:
            features = F.leaky_relu(block(_even(features)), SLOPE, inplace=True)
        return self.score(F.adaptive_avg_pool2d(features, self.places).flatten(1)).squeeze(1)


def fooling_loss(fake: Tensor) -> Tensor:
    """The loss of the generator: -log D of the scores (log odds) of its masks (CAR, eq. 3)."""
    return F.softplus(-fake.float()).mean()


def telling_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The loss of the discriminator: -log D(real) - log(1 - D(fake)) of scores (log odds) of any lengths (CAR, eq. 4)."""
    return F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean()


def gradient_penalty(scores: Tensor, real: Tensor) -> Tensor:
    """R1: half the mean squared norm of the scores' gradient by the real inputs, itself differentiable.

    scores [B] are those of inputs real [B, ...], which must require gradients (Mescheder et al. 2018, eq. 9).
    """
    (gradient,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(1).mean()


def calibration_loss(mean: Tensor, target: Tensor, counted: Tensor) -> Tensor:
    """KL(mean || target) in nats, mean over the counted pixels [B, H, W] (CAR, eq. 6).

    mean, target [B, K, H, W]: the mean class probabilities of the generator's draws, and the calibration net's.
    """
    mean, target = (planes.float().clamp(FLOOR, 1 - FLOOR) for planes in (mean, target))
    divergence = (mean * (mean.log() - target.log())).sum(1)
    return (divergence * counted).sum() / counted.sum().clamp_min(1)


def _even(features: Tensor) -> Tensor:
    """Features padded with zeros to an even height and width, so that halving rounds up and a single pixel is kept."""
    height, width = features.shape[-2:]
    return F.pad(features, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else features
