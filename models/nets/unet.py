"""The U-Net that all methods share: an encoder, a decoder with skips, and an encoder that ends in one vector.

Blocks of 3x3 convolutions with ReLU; average pooling down (an odd size rounds up), bilinear up, He initialisation
(Ronneberger et al. 2015; sizes as in Kohl et al. 2018 and Bhat et al. 2022).
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .remembered import remembered

NormPlace = bool | Literal["each"]


class Block(nn.Sequential):
    """`convs` 3x3 convolutions with ReLU; one BatchNorm at the end if `norm` is true (Bhat et al. use one per block), one after
    each convolution, before its ReLU, if it is "each" (Monteiro et al. 2020, Baumgartner et al. 2019).
    """

    def __init__(self, inputs: int, outputs: int, convs: int, norm: NormPlace):
        layers: list[nn.Module] = []
        for number in range(convs):
            layers.append(nn.Conv2d(inputs if number == 0 else outputs, outputs, 3, padding=1, bias=norm != "each"))
            if norm == "each":
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.ReLU(inplace=True))
        if norm and norm != "each":
            layers.append(nn.BatchNorm2d(outputs))
        super().__init__(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """Features [B, outputs, H, W]. This is what any sequence does, but torch does not compile its own."""
        for layer in self:
            image = layer(image)
        return image


class Encoder(nn.Module):
    """Blocks of the given `widths`, each but the first after halving the resolution; [B, C, H, W] to all their outputs."""

    def __init__(self, channels: int, widths: Sequence[int], convs: int, norm: NormPlace):
        super().__init__()
        inputs = [channels, *widths[:-1]]
        self.blocks = nn.ModuleList(Block(i, o, convs, norm) for i, o in zip(inputs, widths, strict=True))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of every level, finest first."""
        levels = []
        for number, block in enumerate(self.blocks):
            image = block(halved(image) if number else image)
            levels.append(image)
        return levels


class UNet(nn.Module):
    """Encoder and decoder; [B, C, H, W] to features [B, widths[0], H, W]."""

    def __init__(self, channels: int, widths: Sequence[int], convs: int, norm: NormPlace):
        super().__init__()
        self.encoder = Encoder(channels, widths, convs, norm)
        self.decoder = nn.ModuleList(
            Block(low + high, high, convs, norm)
            for low, high in zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True)
        )
        initialise(self)

    @remembered
    def forward(self, image: Tensor) -> Tensor:
        """Features at the image's own resolution."""
        return self.decoded(self.encoder(image))

    def decoded(self, levels: Sequence[Tensor]) -> Tensor:
        """As `forward`, from all the outputs of the encoder, finest first."""
        *skips, features = levels
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            features = block(joined(features, skip))
        return features


class VectorEncoder(nn.Module):
    """Encoder and global average pooling; [B, C, H, W] to [B, widths[-1]]: the shape of prior and posterior nets."""

    def __init__(self, channels: int, widths: Sequence[int], convs: int, norm: NormPlace):
        super().__init__()
        self.encoder = Encoder(channels, widths, convs, norm)
        initialise(self)

    @remembered
    def forward(self, image: Tensor) -> Tensor:
        """One feature vector per image."""
        return self.encoder(image)[-1].mean((2, 3))


def halved(features: Tensor) -> Tensor:
    """Features at half the resolution; an odd size rounds up."""
    return F.avg_pool2d(features, 2, ceil_mode=True, count_include_pad=False)


def joined(coarse: Tensor, skip: Tensor) -> Tensor:
    """Coarse features brought to the resolution of the skip's, and both side by side as channels."""
    up = F.interpolate(coarse, size=skip.shape[-2:], mode="bilinear", align_corners=False)
    joint: Tensor = _SideBySide.apply(up, skip)
    return joint


class _SideBySide(torch.autograd.Function):
    """Channels side by side. torch's own gradient is a view into the joint one, from which the gradient of the upsampling
    takes ten times as long on a CPU as from dense memory.
    """

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        ctx.left = left.shape[1]
        return torch.cat((left, right), 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        left, right = gradient[:, : ctx.left], gradient[:, ctx.left :]
        dense = (
            torch.channels_last
            if gradient.is_contiguous(memory_format=torch.channels_last)
            else torch.contiguous_format
        )
        return left.contiguous(memory_format=dense), right


def initialise(module: nn.Module) -> None:
    """He initialisation of all convolutions (normal, fan in), biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
