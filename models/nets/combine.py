"""f_comb: the small 1x1 network that turns U-Net features and draws of z into class logits (Kohl et al. 2018, fig. 1).

The part of its first layer that sees the features is computed once per image. The part that sees z is a bias for each
draw. The rest runs once per draw. On a CPU images are processed one by one and pixels in tiles, which stay in the cache.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE = 2048  # pixels


class Combine(nn.Module):
    """Features [B, F, H, W] and draws z [B, S, D] to logits [B, S, K, H, W]: three hidden 1x1 layers, then K outputs."""

    def __init__(self, features: int, dim: int, classes: int):
        super().__init__()
        self.from_features = nn.Linear(features, features)
        self.from_latent = nn.Linear(dim, features, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(features, features) for _ in range(2))
        self.logits = nn.Linear(features, classes)
        for layer in (self.from_features, self.from_latent, *self.hidden):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        for layer in (self.from_features, *self.hidden, self.logits):
            nn.init.zeros_(layer.bias)

    def prepare(self, features: Tensor) -> Tensor:
        """What does not depend on z: [B, H, W, F]."""
        return self.from_features(features.permute(0, 2, 3, 1))

    def forward(self, prepared: Tensor, z: Tensor) -> Tensor:
        """Logits [B, S, K, H, W] for the prepared features and draws z [B, S, D]."""
        pixels, bias = prepared.flatten(1, 2), self.from_latent(z)
        if pixels.device.type == "cpu" and not torch.is_grad_enabled():
            logits = self._tiled(pixels, bias)
        else:
            logits = self._tail(pixels.unsqueeze(1) + bias.unsqueeze(2))
        return logits.transpose(2, 3).unflatten(3, prepared.shape[1:3])

    def _tiled(self, pixels: Tensor, bias: Tensor) -> Tensor:
        """Logits [B, S, P, K] of pixels [B, P, F] with each draw's bias [B, S, F]."""
        logits = pixels.new_empty(*bias.shape[:2], pixels.shape[1], self.logits.out_features)
        for image, result, biases in zip(pixels, logits, bias, strict=True):
            for tile, place in zip(image.split(TILE), result.split(TILE, 1), strict=True):
                hidden = (tile + biases.unsqueeze(1)).flatten(0, 1)
                place.copy_(self._tail(hidden).unflatten(0, place.shape[:2]))
        return logits

    def _tail(self, hidden: Tensor) -> Tensor:
        hidden = F.relu(hidden, inplace=True)
        for layer in self.hidden:
            hidden = F.relu(layer(hidden), inplace=True)
        return self.logits(hidden)
