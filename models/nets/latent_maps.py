"""Latent maps: at each of several resolutions a Gaussian for every pixel, conditioned on what coarser maps drew.

PHiSeg (Baumgartner et al. 2019) and the Hierarchical Probabilistic U-Net (Kohl et al. 2019) draw such maps from the coarsest
to the finest. Everything about their densities is computed in float32, and the noise of a draw comes from outside, so that
one draw can be shared by many images.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.predictive import SampledPredictive
from ..core.randomness import normal
from .latents import full_precision

LEAST_SCALE = 1e-4  # added to standard deviations
SMALL = 0.1  # share of their usual size at which the weights of a head start
PAIRS_A_CHUNK = 64  # of an image and a draw, decoded together

Decode = Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class LatentMap:
    """A diagonal Gaussian over a map: means and standard deviations [P, D, H, W], float32."""

    loc: Tensor
    scale: Tensor

    def at(self, normals: Tensor) -> Tensor:
        """z [P, D, H, W] for standard normal numbers of that shape, differentiable."""
        return self.loc + self.scale * normals


Take = Callable[[int, LatentMap], Tensor]  # which z follows from the map of a number, the coarsest being number 0


def drawn_at(normals: Sequence[Tensor]) -> Take:
    """z drawn from each map with the numbers of the same place in `normals`."""
    return lambda number, latent: latent.at(normals[number])


def given(z: Sequence[Tensor]) -> Take:
    """z from elsewhere: a prior in training is conditioned on what the posterior drew."""
    return lambda number, latent: z[number]


def kl_of_maps(q: LatentMap, p: LatentMap) -> Tensor:
    """KL(q || p) [P] in nats, summed over the entries of a map.

    Example:
        >>> one, two = torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 2.0)
        >>> kl_of_maps(LatentMap(two, one), LatentMap(one, one)).item()  # half a nat for each of four entries
        2.0
    """
    ratio = q.scale / p.scale
    shift = (q.loc - p.loc) / p.scale
    return (0.5 * (ratio.square() + shift.square() - 1) - ratio.log()).flatten(1).sum(1)


class MapHead(nn.Module):
    """Features [P, F, H, W] to a `LatentMap` by 1x1 convolutions: means, and standard deviations by softplus.

    It starts near the standard normal for all images: with weights of the usual size some standard deviations are tiny, and
    divergences from them are of 10^7 nats.
    """

    def __init__(self, features: int, dim: int):
        super().__init__()
        self.conv = nn.Conv2d(features, 2 * dim, 1)
        nn.init.normal_(self.conv.weight, 0, SMALL / features**0.5)
        assert self.conv.bias is not None
        with torch.no_grad():
            self.conv.bias.copy_(torch.tensor([0.0, math.log(math.e - 1)]).repeat_interleave(dim))

    def forward(self, features: Tensor) -> LatentMap:
        """The Gaussian of every pixel."""
        with full_precision(features):
            loc, raw = self.conv(features.float()).chunk(2, 1)
            return LatentMap(loc, F.softplus(raw) + LEAST_SCALE)


@dataclass(frozen=True)
class MapShape:
    """Maps of `dim` channels at several `sizes` (height, width), coarsest first."""

    dim: int
    sizes: tuple[tuple[int, int], ...]

    @property
    def numbers(self) -> int:
        """Standard normal numbers E that one draw of all maps takes."""
        return self.dim * sum(map(math.prod, self.sizes))

    def maps(self, normals: Tensor) -> list[Tensor]:
        """Numbers [..., E] as maps [..., D, H, W], coarsest first."""
        parts = normals.split([self.dim * math.prod(size) for size in self.sizes], -1)
        return [part.unflatten(-1, (self.dim, *size)) for part, size in zip(parts, self.sizes, strict=True)]


def resolutions(height: int, width: int, levels: int) -> list[tuple[int, int]]:
    """Sizes (height, width) of the levels of a net, finest first; odd sides round up.

    Example:
        >>> resolutions(64, 36, 4)
        [(64, 36), (32, 18), (16, 9), (8, 5)]
    """
    sizes = [(height, width)]
    while len(sizes) < levels:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


def repeated(levels: Sequence[Tensor], times: int) -> list[Tensor]:
    """Features [B, F, H, W] of each level with those of each image `times` times in a row [B * times, F, H, W]."""
    return [level.unsqueeze(1).expand(-1, times, -1, -1, -1).flatten(0, 1) for level in levels]


class MapPredictive(SampledPredictive):
    """Masks decoded from the noise of latent maps.

    Args:
        image: the images [B, C, H, W].
        shape: of the latent maps.
        decode: a function from the noise of each map [B, S, D, h, w], coarsest first, to logits [B, S, K, H, W].
    """

    def __init__(self, image: Tensor, shape: MapShape, decode: Decode):
        self.image, self.shape, self.decode = image, shape, decode

    def drawn(self, normals: Tensor) -> Tensor:
        """Logits [B, S, K, H, W] of draws at standard normal numbers [B, S, E]."""
        return self.decode(self.shape.maps(normals))

    def chunks(self, n: int, generator: torch.Generator | None, tied: bool) -> Iterator[Tensor]:
        """Logits of n draws, some at a time; all noise is drawn first, so the chunks' size changes nothing."""
        images = self.image.shape[0]
        normals = normal((1 if tied else images, n, self.shape.numbers), generator, self.image)
        for some in normals.split(max(1, PAIRS_A_CHUNK // images), 1):
            yield self.drawn(some.expand(images, -1, -1))
