"""The Hierarchical Probabilistic U-Net (Kohl et al. 2019): latent maps inside a residual decoder, trained with GECO."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from ..core.batch import Batch, Loss
from ..core.bounds import MOST_LEVELS
from ..core.collective import over_processes
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
from ..nets.pixels import counted, hard_pixels, one_hot, surprise
from ..nets.residual import ResidualEncoder, initialise_residual, residual_stage
from ..nets.unet import joined
from .shared_options import LATENT_DIM, Blocks, Convs, ResidualNorm, TwoLevels

LOG_MULTIPLIER = (-10.0, 10.0)  # bounds


class HPU(Method):
    """A residual U-Net whose decoder has a latent map at each of its coarsest levels. The prior p(z_l | coarser z, x) is read
    from the decoder's features there; the posterior is a net of the same shape that sees a reader's mask too.

    A Lagrange multiplier balances reconstruction and divergence: it rises while the pixels that are hardest to reconstruct
    cost more than `kappa`, and falls while they cost less.
    """

    name = "hpu"
    summary = "Hierarchical Probabilistic U-Net: latent maps in the decoder, trained with GECO (Kohl et al. 2019)"
    aliases = ("hierarchical-probunet",)
    references = (
        "Kohl et al., A Hierarchical Probabilistic U-Net for Modeling Multi-Scale Ambiguities, arXiv:1905.13077, 2019",
        "Rezende and Viola, Taming VAEs, arXiv:1810.00597, 2018",
    )

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        latents: Annotated[
            int,
            Field(
                ge=1, le=MOST_LEVELS, description="latent maps, from the coarsest level on; none on the finest level"
            ),
        ] = 4,
        latent_dim: Annotated[int, LATENT_DIM] = 1,
        kappa: Annotated[
            float,
            Field(gt=0, description="cross-entropy of the chosen pixels that training aims at, in nats per pixel"),
        ] = 0.05,
        hard_share: Annotated[
            float, Field(gt=0, le=1, description="share of the pixels of a batch that the loss is computed on")
        ] = 0.02,
        rate: Annotated[
            float, Field(gt=0, le=1, description="largest change of the multiplier's logarithm in a step")
        ] = 0.01,
        decay: Annotated[float, Field(ge=0, lt=1, description="decay of the moving average of the constraint")] = 0.99,
        widths: TwoLevels = (24, 48, 96, 192, 192, 192, 192, 192),
        convs: Convs = 3,
        blocks: Blocks = 3,
        norm: ResidualNorm = False,
    ):
        super().__init__()
        self.channels, self.classes = channels, classes
        self.levels, self.latents, self.latent_dim = len(widths), min(latents, len(widths) - 1), latent_dim
        self.kappa, self.hard_share = kappa, hard_share
        shape = BlockShape(convs, norm, blocks)
        self.prior = MapUNet(channels, widths, self.latents, latent_dim, shape)
        self.posterior = MapUNet(channels + classes, widths, self.latents, latent_dim, shape, truncated=True)
        self.logits = nn.Conv2d(widths[0], classes, 1)
        self.multiplier = Multiplier(rate, decay)

    def forward(self, image: Tensor) -> MapPredictive:
        """The predictive distribution for images [B, C, H, W]; the encoder runs once, the decoder once per draw."""
        levels = self.prior.encoder(image)

        def decode(normals: Sequence[Tensor]) -> Tensor:
            draws = normals[0].shape[1]
            found = self.prior.decoded(repeated(levels, draws), drawn_at([one.flatten(0, 1) for one in normals]))
            return self.logits(found[2]).unflatten(0, (-1, draws))

        return MapPredictive(image, self.shape_for(image), decode)

    def shape_for(self, image: Tensor) -> MapShape:
        """The sizes of the latent maps for images [..., H, W]."""
        sizes = resolutions(image.shape[-2], image.shape[-1], self.levels)[::-1]
        return MapShape(self.latent_dim, tuple(sizes[: self.latents]))

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """The multiplier times the constraint, + the KL divergences of all latent maps, mean over images and readers (Kohl et
        al. 2019, eq. 6). The constraint is the cross-entropy, summed over the hard pixels of an image, above `kappa` for each.
        """
        images, masks = batch.pairs()
        shape = self.shape_for(images)
        evidence = one_hot(masks, self.classes).to(images.dtype)
        noise = shape.maps(normal((len(images), shape.numbers), generator, images))
        q, z, _ = self.posterior.decoded(self.posterior.encoder(torch.cat((images, evidence), 1)), drawn_at(noise))
        levels = repeated(self.prior.encoder(batch.image), batch.mask.shape[1])
        p, _, features = self.prior.decoded(levels, given(z))
        costs = surprise(self.logits(features), masks)
        chosen = hard_pixels(costs.detach(), self.hard_share, generator) & counted(masks)
        number = chosen.sum().clamp_min(1)
        hard = (costs * chosen).sum() / number
        if self.training and torch.is_grad_enabled():
            self.multiplier.follow(hard.detach() / self.kappa - 1)
        factor = self.multiplier.value
        divergence = torch.stack([kl_of_maps(*pair).mean() for pair in zip(q, p, strict=True)])
        constraint = (hard - self.kappa) * number / len(images)
        terms = {"cross_entropy": costs.sum() / len(images), "hard": hard, "multiplier": factor, "kl": divergence.sum()}
        terms |= {f"kl_{place}": value for place, value in enumerate(divergence)}
        total = factor * constraint + divergence.sum()
        return Loss(total, {name: value.detach() for name, value in terms.items()})


class BlockShape(NamedTuple):
    """Residual blocks of a level: 3x3 convolutions of each, BatchNorm in each, and how many."""

    convs: int
    norm: bool
    blocks: int


class MapUNet(nn.Module):
    """A residual U-Net with a latent map at each of its coarsest decoder levels. A `truncated` one ends at the last of them.

    One channel among many would be heard only if z were large, and a prior on a large scale learns slowly. So z joins the
    features multiplied by a gain: at the start it says as much to the next convolution as all of them together.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        latents: int,
        dim: int,
        shape: BlockShape,
        *,
        truncated: bool = False,
    ):
        super().__init__()
        coarse = list(reversed(widths))
        inputs = [width + (dim if number < latents else 0) for number, width in enumerate(coarse)]
        self.encoder = ResidualEncoder(channels, widths, *shape)
        self.stages = nn.ModuleList(
            residual_stage(inputs[number] + coarse[number + 1], coarse[number + 1], *shape)
            for number in range(latents - 1 if truncated else len(widths) - 1)
        )
        initialise_residual(self)
        self.heads = nn.ModuleList(MapHead(width, dim) for width in coarse[:latents])
        self.gains = [(width / dim) ** 0.5 for width in coarse[:latents]]

    def decoded(self, levels: Sequence[Tensor], take: Take) -> tuple[list[LatentMap], list[Tensor], Tensor]:
        """The latent maps, the z that are taken from them, both coarsest first, and the last features, for the encoder's
        levels, finest first.
        """
        found, chosen = [], []
        features = levels[-1]
        for number in range(max(len(self.heads), len(self.stages))):
            if number < len(self.heads):
                found.append(self.heads[number](features))
                chosen.append(take(number, found[-1]))
                features = torch.cat((features, self.gains[number] * chosen[-1].to(features.dtype)), 1)
            if number < len(self.stages):
                features = self.stages[number](joined(features, levels[-2 - number]))
        return found, chosen, features


class Multiplier(nn.Module):
    """The Lagrange multiplier of a constraint that should be 0 or less (GECO, Rezende and Viola 2018, algorithm 1).

    In training its logarithm changes in each step by `rate` times the moving average of the constraint, each cut to -1 and 1:
    a single bad batch does not count more than a good one. Average and logarithm are buffers: a resumed run continues with
    them, and all processes have the same.
    """

    average: Tensor
    log: Tensor
    seen: Tensor

    def __init__(self, rate: float, decay: float):
        super().__init__()
        self.rate, self.decay = rate, decay
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("log", torch.zeros(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    @property
    def value(self) -> Tensor:
        """The multiplier, a scalar."""
        return self.log.exp()

    @torch.no_grad()
    def follow(self, constraint: Tensor) -> None:
        """Take the step that a constraint [] asks for, its mean over all processes."""
        total, processes = over_processes(torch.stack((constraint.float(), constraint.new_ones(()))))
        self.seen += 1
        self.average.lerp_((total / processes).clamp(-1, 1), (1 / self.seen).clamp_min(1 - self.decay))
        self.log.add_(self.rate * self.average).clamp_(*LOG_MULTIPLIER)
