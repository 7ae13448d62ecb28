"""The network that guesses a clean mask from a noisy one: the U-Net of Dhariwal and Nichol (2021), as CCDM takes it.

Residual blocks with GroupNorm and SiLU know how noisy the mask is: a sinusoidal embedding of the noise step is added in each.
The lowest levels have self-attention. What the first convolution sees of the image is computed once per image.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .refiner import doubled

MOST_GROUPS, LEAST_CHANNELS = 32, 4  # of a GroupNorm, and in each of its groups
HEAD = 32  # channels of an attention head
SLOWEST = 10_000  # steps over which the slowest wave of the embedding turns by 1 radian
SMALL = 0.1  # share of their usual size at which layers start that the paper starts at 0


class Denoiser(nn.Module):
    """Levels of the given `widths` with `blocks` residual blocks each, one more on the way up. Each level but the first
    follows a convolution that halves the resolution (an odd size rounds up); the last `attention` levels have self-attention.
    """

    def __init__(self, channels: int, classes: int, widths: Sequence[int], blocks: int, attention: int):
        super().__init__()
        first, lowest = widths[0], widths[-1]
        embedded = 4 * first
        self.waves = first
        self.embedding = nn.Sequential(nn.Linear(2 * first, embedded), nn.SiLU(), nn.Linear(embedded, embedded))
        self.from_image = nn.Conv2d(channels, first, 3, padding=1)
        self.from_mask = nn.Conv2d(classes, first, 3, padding=1, bias=False)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, width = [first], first
        for level, own in enumerate(widths):
            looks = level >= len(widths) - attention
            if level:
                self.down.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                skips.append(width)
            for _ in range(blocks):
                self.down.append(Block(width, own, embedded, looks))
                width = own
                skips.append(width)
        self.middle = nn.ModuleList((Block(lowest, lowest, embedded, True), Block(lowest, lowest, embedded, False)))
        for level, own in reversed(list(enumerate(widths))):
            looks = level >= len(widths) - attention
            for _ in range(blocks + 1):
                self.up.append(Block(width + skips.pop(), own, embedded, looks))
                width = own
            if level:
                self.up.append(nn.Conv2d(width, width, 3, padding=1))
        self.head = nn.Sequential(_norm(first), nn.SiLU(), _small(nn.Conv2d(first, classes, 3, padding=1)))

    def prepare(self, image: Tensor) -> Tensor:
        """What images [B, C, H, W] add to the first features [B, F, H, W], whatever the mask."""
        return self.from_image(image)

    def forward(self, prepared: Tensor, noisy: Tensor, step: Tensor) -> Tensor:
        """Logits [B, K, H, W] of the clean mask.

        Args:
            prepared: as `prepare` gives it.
            noisy: masks [B, K, H, W], one-hot.
            step: of the noise [B], from 1 on; or one for all [1].
        """
        embedded = F.silu(self.embedding(_waves(step, self.waves)))
        features = prepared + self.from_mask(noisy)
        skips = [features]
        for layer in self.down:
            features = layer(features, embedded) if isinstance(layer, Block) else layer(features)
            skips.append(features)
        for layer in self.middle:
            features = layer(features, embedded)
        for layer in self.up:
            if isinstance(layer, Block):
                features = layer(torch.cat((features, skips.pop()), 1), embedded)
            else:
                features = layer(doubled(features, skips[-1].shape[-2:]))
        logits: Tensor = self.head(features)
        return logits


class Block(nn.Module):
    """Two 3x3 convolutions, each after GroupNorm and SiLU, added to the block's input; then self-attention, if it `looks`."""

    def __init__(self, inputs: int, outputs: int, embedded: int, looks: bool):
        super().__init__()
        self.first = nn.Sequential(_norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.from_step = nn.Linear(embedded, outputs)
        self.second = nn.Sequential(_norm(outputs), nn.SiLU(), _small(nn.Conv2d(outputs, outputs, 3, padding=1)))
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.attention = Attention(outputs) if looks else nn.Identity()

    def forward(self, features: Tensor, embedded: Tensor) -> Tensor:
        """Features [B, I, h, w] and the embedding of the noise step [B or 1, E] to features [B, O, h, w]."""
        inner = self.first(features) + self.from_step(embedded)[..., None, None]
        found: Tensor = self.attention(self.shortcut(features) + self.second(inner))
        return found


class Attention(nn.Module):
    """Each pixel sees all others: attention in heads of `HEAD` channels, or one head if they do not divide, added to the
    input.
    """

    def __init__(self, width: int):
        super().__init__()
        self.heads = width // HEAD if width % HEAD == 0 else 1
        self.norm = _norm(width)
        self.seen = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.result = _small(nn.Conv2d(width, width, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, F, h, w], of the same shape after."""
        query, key, value = self.seen(self.norm(features)).flatten(2).unflatten(1, (3, self.heads, -1)).mT.unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return features + self.result(mixed.mT.flatten(1, 2).unflatten(2, features.shape[2:]))


def _waves(step: Tensor, count: int) -> Tensor:
    """Cosines and sines [B, 2 * count] of steps [B], at frequencies from 1 to nearly 1 / `SLOWEST` radians a step."""
    frequencies = torch.exp(-math.log(SLOWEST) / count * torch.arange(count, device=step.device))
    angles = step.float().unsqueeze(1) * frequencies
    return torch.cat((angles.cos(), angles.sin()), 1)


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(MOST_GROUPS, width // LEAST_CHANNELS) if width % LEAST_CHANNELS == 0 else 1, width)


def _small(layer: nn.Conv2d) -> nn.Conv2d:
    for parameter in layer.parameters():
        parameter.data.mul_(SMALL)
    return layer
