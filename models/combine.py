"""f_comb: the small 1x1 network that turns U-Net features and draws of z into class logits (Kohl et al. 2018, fig. 1).

The part of its first layer that sees the features is computed once an image, the part that sees z is a bias for each
draw; what is left runs a draw. On a CPU pixels go in tiles that stay in the cache.
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
        height, width = prepared.shape[1:3]
        pixels = prepared.flatten(1, 2).unsqueeze(1)
        bias = self.from_latent(z).unsqueeze(2)
        tiled = pixels.device.type == "cpu" and not torch.is_grad_enabled()
        tiles = pixels.split(TILE, 2) if tiled else (pixels,)
        logits = torch.cat([self._tail(tile + bias) for tile in tiles], 2)
        return logits.transpose(2, 3).unflatten(3, (height, width))

    def _tail(self, hidden: Tensor) -> Tensor:
        hidden = F.relu(hidden)
        for layer in self.hidden:
            hidden = F.relu(layer(hidden))
        return self.logits(hidden)
