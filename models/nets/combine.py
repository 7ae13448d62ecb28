"""f_comb: the small 1x1 network that turns U-Net features and draws of z into class logits (Kohl et al. 2018, fig. 1).

The part of its first layer that sees the features is computed once per image. The part that sees z is a bias for each
draw, and with `scaled` a factor, too (Gao et al. 2023). The rest runs once per draw. On a CPU images are processed one by one
and pixels in tiles, which stay in the cache.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE = 2048  # pixels


class Combine(nn.Module):
    """Features [B, F, H, W] and draws z [B, S, D] to logits [B, S, K, H, W]: three hidden 1x1 layers, then K outputs.

    scaled: whether z multiplies the first layer's output by a factor for each channel, 1 + a linear function of z, before it
        shifts it.
    """

    def __init__(self, features: int, dim: int, classes: int, *, scaled: bool = False):
        super().__init__()
        self.from_features = nn.Linear(features, features)
        self.from_latent = nn.Linear(dim, features, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(features, features) for _ in range(2))
        self.logits = nn.Linear(features, classes)
        for layer in (self.from_features, self.from_latent, *self.hidden):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        for layer in (self.from_features, *self.hidden, self.logits):
            nn.init.zeros_(layer.bias)
        self.scale = nn.Linear(dim, features) if scaled else None
        if self.scale is not None:
            nn.init.xavier_normal_(self.scale.weight)
            nn.init.ones_(self.scale.bias)

    def prepare(self, features: Tensor) -> Tensor:
        """What does not depend on z: [B, H, W, F]."""
        return self.from_features(features.permute(0, 2, 3, 1))

    def forward(self, prepared: Tensor, z: Tensor) -> Tensor:
        """Logits [B, S, K, H, W] for the prepared features and draws z [B, S, D]."""
        pixels, shift = prepared.flatten(1, 2), self.from_latent(z)
        factor = None if self.scale is None else self.scale(z)
        if pixels.device.type == "cpu" and not torch.is_grad_enabled():
            logits = self._tiled(pixels, shift, factor)
        else:
            varied = _varied(pixels.unsqueeze(1), shift.unsqueeze(2), factor if factor is None else factor.unsqueeze(2))
            logits = self._tail(varied)
        return logits.transpose(2, 3).unflatten(3, prepared.shape[1:3])

    def _tiled(self, pixels: Tensor, shift: Tensor, factor: Tensor | None) -> Tensor:
        """Logits [B, S, P, K] of pixels [B, P, F] with each draw's shift and factor [B, S, F]."""
        logits = pixels.new_empty(*shift.shape[:2], pixels.shape[1], self.logits.out_features)
        for number, (image, result) in enumerate(zip(pixels, logits, strict=True)):
            shifts = shift[number].unsqueeze(1)
            factors = None if factor is None else factor[number].unsqueeze(1)
            for tile, place in zip(image.split(TILE), result.split(TILE, 1), strict=True):
                hidden = _varied(tile, shifts, factors).flatten(0, 1)
                place.copy_(self._tail(hidden).unflatten(0, place.shape[:2]))
        return logits

    def _tail(self, varied: Tensor) -> Tensor:
        """Logits [..., K] of the first layer's output [..., F], which is overwritten.

        Layers work on rows: with more axes their output is a view, and the gradient of a view that was changed in place is
        copied twice.
        """
        hidden = F.relu(varied, inplace=True).flatten(0, -2)
        for layer in self.hidden:
            hidden = F.relu(layer(hidden), inplace=True)
        logits: Tensor = self.logits(hidden)
        return logits.unflatten(0, varied.shape[:-1])


def _varied(pixels: Tensor, shift: Tensor, factor: Tensor | None) -> Tensor:
    """Pixels times the factor, if there is one, plus the shift."""
    return pixels + shift if factor is None else torch.addcmul(shift, pixels, factor)
