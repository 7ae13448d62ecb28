"""Adversarial learning: the losses of both players, the penalty that steadies them, and the calibration loss of CAR.

Goodfellow et al. 2014 (non-saturating form); Mescheder et al. 2018 (R1); Kassapis et al. 2021 (calibration loss, eq. 6).
All losses are means over whatever they are given, computed in float32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

FLOOR = 1e-3  # class probabilities are clamped to [FLOOR, 1 - FLOOR] before their logarithms are compared


def fooling_loss(fake: Tensor) -> Tensor:
    """The generator's: -log D of the scores (log odds) given to what it made (CAR, eq. 3)."""
    return F.softplus(-fake.float()).mean()


def telling_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's: -log D(real) - log(1 - D(fake)) of scores (log odds); either may have any number (CAR, eq. 4)."""
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
