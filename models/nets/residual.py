"""Residual encoder and decoder of Modal Uncertainty Estimation (Qiu and Lui 2020, section 3.2 and appendix A).

A block is a few 3x3 convolutions, each after a ReLU, added to the block's own input (through a 1x1 convolution where the
widths differ). Nothing rectifies the sum, so the result of a level reaches the end unchanged (He et al. 2016, "Identity
mappings"). Bilinear resizing comes before a block; there is no normalisation. The decoder's view of the image is computed
once per image: convolutions are linear, so the first one of a block is split into a part for the image and a part for the
code.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from .unet import initialise

Parts = tuple[Tensor, Tensor]  # what a block's first convolution gives, and what its shortcut adds at the end

SMALL = 0.25


class Entry(nn.Module):
    """The first convolution of a block and its shortcut, for one of the block's inputs; the parts of several inputs add up,
    which is the same as to concatenate the inputs.
    """

    def __init__(self, inputs: int, outputs: int, *, identity: bool = False):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.shortcut = nn.Identity() if identity else nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, features: Tensor) -> Parts:
        """Features [B, I, H, W] to both parts [B, O, H, W]."""
        return self.first(F.relu(features)), self.shortcut(features)


class CodeEntry(nn.Module):
    """As `Entry`, for a vector that is the same at every pixel: a linear layer, since all pixels get the same sum."""

    def __init__(self, dim: int, outputs: int):
        super().__init__()
        self.first, self.shortcut = (nn.Linear(dim, outputs, bias=False) for _ in range(2))

    def forward(self, code: Tensor) -> Parts:
        """Vectors [P, D] to both parts [P, O, 1, 1]."""
        return self.first(code)[..., None, None], self.shortcut(code)[..., None, None]


class Tail(nn.Module):
    """The rest of a block after its first convolution."""

    def __init__(self, width: int, convs: int, norm: bool):
        super().__init__()
        self.norm = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(convs - 1))

    def forward(self, parts: Parts) -> Tensor:
        """Both parts [B, O, H, W] to the block's output [B, O, H, W]."""
        hidden, shortcut = self.norm(parts[0]), parts[1]
        for conv in self.convs:
            hidden = conv(F.relu_(hidden))  # in place, as below: nothing else reads the output of a convolution or norm
        return hidden.add_(shortcut)


class ResidualBlock(nn.Sequential):
    """`convs` 3x3 convolutions and a shortcut; [B, I, H, W] to [B, O, H, W]."""

    def __init__(self, inputs: int, outputs: int, convs: int, norm: bool):
        super().__init__(Entry(inputs, outputs, identity=inputs == outputs), Tail(outputs, convs, norm))


def residual_stage(inputs: int, outputs: int, convs: int, norm: bool, blocks: int) -> nn.Sequential:
    """`blocks` residual blocks one after the other."""
    first = ResidualBlock(inputs, outputs, convs, norm)
    others = [ResidualBlock(outputs, outputs, convs, norm) for _ in range(blocks - 1)]
    return nn.Sequential(first, *others) if others else first


class ResidualEncoder(nn.Module):
    """`blocks` residual blocks at each level of the given `widths`, each level but the first after halving the resolution;
    [B, C, H, W] to the outputs of all levels.
    """

    def __init__(self, channels: int, widths: Sequence[int], convs: int, norm: bool, blocks: int = 1):
        super().__init__()
        inputs = [channels, *widths[:-1]]
        self.blocks = nn.ModuleList(
            residual_stage(i, o, convs, norm, blocks) for i, o in zip(inputs, widths, strict=True)
        )
        initialise_residual(self)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of every level, finest first; an odd size rounds up, and a single pixel stays one."""
        levels = []
        for number, block in enumerate(self.blocks):
            half = [-(-side // 2) for side in image.shape[-2:]]
            image = block(_resized(image, half) if number else image)
            levels.append(image)
        return levels


class CodeDecoder(nn.Module):
    """Encoder features and code vectors to class logits.

    One block per level, coarsest first. The first reads the coarsest features and the code at their own resolution; each next
    one reads the output so far, doubled in size, and the encoder's features of its level. A 1x1 convolution ends in logits.
    """

    def __init__(self, widths: Sequence[int], code_dim: int, classes: int, convs: int, norm: bool):
        super().__init__()
        outputs = [*reversed(widths[:-1]), widths[0]]
        self.from_encoder = nn.ModuleList(Entry(i, o) for i, o in zip(reversed(widths), outputs, strict=True))
        self.from_code = CodeEntry(code_dim, outputs[0])
        self.from_below = nn.ModuleList(Entry(i, o) for i, o in pairwise(outputs))
        self.tails = nn.ModuleList(Tail(width, convs, norm) for width in outputs)
        self.logits = nn.Conv2d(outputs[-1], classes, 1)
        initialise_residual(self)

    def prepare(self, levels: Sequence[Tensor]) -> list[Parts]:
        """What does not depend on the code, for the encoder's levels (finest first); coarsest first."""
        return [entry(level) for entry, level in zip(self.from_encoder, reversed(levels), strict=True)]

    def forward(self, prepared: Sequence[Parts], codes: Tensor) -> Tensor:
        """Logits [B, n, K, H, W] for the prepared features and codes [B, n, D]."""
        features = self.tails[0](_added(prepared[0], self.from_code(codes.flatten(0, 1))))
        for parts, entry, tail in zip(prepared[1:], self.from_below, self.tails[1:], strict=True):
            features = tail(_added(parts, entry(_resized(features, parts[0].shape[-2:]))))
        return self.logits(features).unflatten(0, codes.shape[:2])


def initialise_residual(module: nn.Module) -> None:
    """He initialisation; shortcuts keep the variance, and the last convolution of each block starts small, so that the sum of
    many blocks does not grow with their number.
    """
    initialise(module)
    for part in module.modules():
        if isinstance(part, Entry) and isinstance(part.shortcut, nn.Conv2d):
            nn.init.kaiming_normal_(part.shortcut.weight, nonlinearity="linear")
        if isinstance(part, Tail):
            for parameter in part.convs[-1:].parameters():
                parameter.data.mul_(SMALL)


def _resized(features: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(features, size=list(size), mode="bilinear", align_corners=False)


def _added(of_image: Parts, of_code: Parts) -> Parts:
    """Parts of B images plus parts of B * n codes, of each image's n in a row: [B * n, O, H, W]."""
    hidden, shortcut = (
        (code.unflatten(0, (image.shape[0], -1)) + image.unsqueeze(1)).flatten(0, 1)
        for image, code in zip(of_image, of_code, strict=True)
    )
    return hidden, shortcut
