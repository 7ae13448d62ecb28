"""PHiSeg (Baumgartner et al. 2019): latent maps at several resolutions, each of which adds to the logits of coarser ones."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ..core.batch import Batch, Loss
from ..core.bounds import MOST_LEVELS
from ..core.method import Method
from ..core.randomness import normal
from ..nets.latent_maps import (
    LatentMap,
    MapHead,
    MapPredictive,
    MapShape,
    Take,
    drawn_at,
    given,
    kl_of_maps,
    repeated,
    resolutions,
)
from ..nets.pixels import cross_entropy, one_hot
from ..nets.unet import Block, Encoder, NormPlace, initialise
from .shared_options import LATENT_DIM, Beta, Convs, Norm, Widths

HEAD_CONVS = 2  # convolutions of every block that is not the encoder's


class PHiSeg(Method):
    """A latent map z_l at each of the coarsest resolutions. The prior p(z_l | coarser z, x) and the posterior
    q(z_l | coarser z, x, y) have the same shape; the likelihood p(y | z) sees the latent maps alone.

    Every level gives logits, and the mask's are their sum over the levels.
    """

    name = "phiseg"
    summary = "PHiSeg: latent maps at several resolutions, whose logits add up (Baumgartner et al. 2019)"
    references = ("Baumgartner et al., PHiSeg: Capturing Uncertainty in Medical Image Segmentation, MICCAI 2019",)

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        latents: Annotated[
            int,
            Field(ge=1, le=MOST_LEVELS, description="latent maps, from the coarsest level on; at most one per level"),
        ] = 5,
        latent_dim: Annotated[int, LATENT_DIM] = 2,
        beta: Beta = 1.0,
        coarse: Annotated[
            float, Field(gt=0, description="factor on the KL's weight from a latent map to the next coarser one")
        ] = 4.0,
        widths: Widths = (32, 64, 128, 192, 192, 192, 192),
        convs: Convs = 3,
        norm: Norm = True,
    ):
        super().__init__()
        self.channels, self.classes, self.beta = channels, classes, beta
        self.latents, self.latent_dim = min(latents, len(widths)), latent_dim
        self.levels, self.coarse = len(widths), coarse
        self.prior = MapNet(channels, widths, self.latents, latent_dim, convs, norm)
        self.posterior = MapNet(channels + classes, widths, self.latents, latent_dim, convs, norm)
        self.likelihood = MapDecoder(widths, self.latents, latent_dim, classes, norm)

    def forward(self, image: Tensor) -> MapPredictive:
        """The predictive distribution for images [B, C, H, W]; their encoder runs once, all else once per draw."""
        levels = self.prior.encoder(image)
        size = image.shape[-2:]

        def decode(normals: Sequence[Tensor]) -> Tensor:
            draws = normals[0].shape[1]
            _, z = self.prior.maps(repeated(levels, draws), drawn_at([one.flatten(0, 1) for one in normals]))
            return self.likelihood(z, size)[-1].unflatten(0, (-1, draws))

        return MapPredictive(image, self.shape_for(image), decode)

    def shape_for(self, image: Tensor) -> MapShape:
        """The sizes of the latent maps for images [..., H, W]."""
        sizes = resolutions(image.shape[-2], image.shape[-1], self.levels)[::-1]
        return MapShape(self.latent_dim, tuple(sizes[: self.latents]))

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """The cross-entropy of each level's sum of logits, and the KL divergence of each latent map times `beta` and a weight
        that grows by `coarse` from a map to the next coarser one; sums over pixels and entries, mean over images and readers
        (Baumgartner et al. 2019, section 2).
        """
        images, masks = batch.pairs()
        shape = self.shape_for(images)
        evidence = one_hot(masks, self.classes).to(images.dtype) - 0.5
        noise = shape.maps(normal((len(images), shape.numbers), generator, images))
        q, z = self.posterior.maps(self.posterior.encoder(torch.cat((images, evidence), 1)), drawn_at(noise))
        p, _ = self.prior.maps(repeated(self.prior.encoder(batch.image), batch.mask.shape[1]), given(z))
        sums = self.likelihood(z, images.shape[-2:])
        surprise = torch.stack([cross_entropy(logits, masks).mean() for logits in sums])
        divergence = torch.stack([kl_of_maps(*pair).mean() for pair in zip(q, p, strict=True)])
        weights = self.coarse ** torch.arange(self.latents - 1, -1, -1, device=divergence.device)
        terms = {"cross_entropy": surprise[-1], "kl": divergence.sum()}
        terms |= {f"cross_entropy_{number}": value for number, value in enumerate(surprise[:-1])}
        terms |= {f"kl_{number}": value for number, value in enumerate(divergence)}
        total = surprise.sum() + self.beta * (weights * divergence).sum()
        return Loss(total, {name: value.detach() for name, value in terms.items()})


class MapNet(nn.Module):
    """The prior or the posterior: an encoder, and at each of its coarsest levels a latent map that depends on coarser ones."""

    def __init__(self, channels: int, widths: Sequence[int], latents: int, dim: int, convs: int, norm: NormPlace):
        super().__init__()
        self.encoder = Encoder(channels, widths, convs, norm)
        coarse = list(reversed(widths))[:latents]
        self.steps = nn.ModuleList(
            MapStep(number, width, dim, dim * widths[0], norm) for number, width in enumerate(coarse[1:], 1)
        )
        initialise(self)
        self.heads = nn.ModuleList(MapHead(width, dim) for width in coarse)

    def maps(self, levels: Sequence[Tensor], take: Take) -> tuple[list[LatentMap], list[Tensor]]:
        """The latent maps and the z that are taken from them, coarsest first, for the encoder's levels, finest first."""
        found, chosen = [], []
        carried: list[Tensor] = []
        for number, head in enumerate(self.heads):
            features = levels[-1 - number]
            if number:
                features, carried = self.steps[number - 1](features, carried)
            found.append(head(features))
            chosen.append(take(number, found[-1]))
            carried = [*carried, chosen[-1]]
        return found, chosen


class MapStep(nn.Module):
    """From one latent level to the next finer one: every coarser z is carried on in features of its own."""

    def __init__(self, coarser: int, width: int, dim: int, carried: int, norm: NormPlace):
        super().__init__()
        inputs = [carried] * (coarser - 1) + [dim]
        self.carry = nn.ModuleList(Block(one, carried, HEAD_CONVS, norm) for one in inputs)
        self.merge = Block(width + coarser * carried, width, HEAD_CONVS, norm)

    def forward(self, features: Tensor, carried: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Features [P, F, H, W] of this level with what is carried from coarser ones, and that at this resolution."""
        size = features.shape[-2:]
        here = [block(enlarged(one, size)) for block, one in zip(self.carry, carried, strict=True)]
        return self.merge(torch.cat((features, *here), 1)), here


class MapDecoder(nn.Module):
    """The likelihood: latent maps to the sums of logits up to each level. The finest latent map gives logits of the image's
    size, coarser ones give logits that are as much coarser.
    """

    def __init__(self, widths: Sequence[int], latents: int, dim: int, classes: int, norm: NormPlace):
        super().__init__()
        self.levels = len(widths)
        outputs = list(reversed(widths[:latents]))
        rise = len(widths) - latents
        self.entries = nn.ModuleList(Rise(dim, width, rise, norm) for width in outputs)
        self.ups = nn.ModuleList(Block(i, o, 1, norm) for i, o in pairwise(outputs))
        self.merges = nn.ModuleList(Block(2 * width, width, HEAD_CONVS, norm) for width in outputs[1:])
        self.logits = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in outputs)
        initialise(self)

    def forward(self, z: Sequence[Tensor], size: Sequence[int]) -> list[Tensor]:
        """Sums of logits [P, K, H, W] for images of a size and maps z, both coarsest first; the last one is the mask's."""
        sizes = resolutions(size[0], size[1], self.levels)
        sums: list[Tensor] = []
        features = None
        for number, (entry, logits) in enumerate(zip(self.entries, self.logits, strict=True)):
            place = len(z) - 1 - number
            here = entry(z[number], sizes[place:])
            if features is not None:
                below = self.ups[number - 1](enlarged(features, sizes[place]))
                here = self.merges[number - 1](torch.cat((here, below), 1))
            features = here
            own = F.interpolate(logits(features), size=list(size), mode="nearest")
            sums.append(sums[-1] + own if sums else own)
        return sums


class Rise(nn.Module):
    """From a latent map to features some levels finer, by as many doublings."""

    def __init__(self, dim: int, width: int, doublings: int, norm: NormPlace):
        super().__init__()
        self.first = Block(dim, width, HEAD_CONVS, norm)
        self.others = nn.ModuleList(Block(width, width, 1, norm) for _ in range(doublings))

    def forward(self, z: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Features of the first of these sizes, which are finest first, for z [P, D, h, w]."""
        features: Tensor = self.first(z)
        for number, block in enumerate(self.others):
            features = block(enlarged(features, sizes[len(self.others) - 1 - number]))
        return features


def enlarged(features: Tensor, size: Sequence[int]) -> Tensor:
    """Features brought to a size by bilinear interpolation."""
    return F.interpolate(features, size=list(size), mode="bilinear", align_corners=False)
