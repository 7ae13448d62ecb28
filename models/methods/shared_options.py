"""The options, and the papers, that several methods share.

Each name stands once in the constructor of every method that has the option. A method's own defaults stay there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from ..core.bounds import MOST_CONVS, MOST_PARTS, Levels
from ..nets.latents import Family
from ..nets.unet import NormPlace

KOHL = "Kohl et al., A Probabilistic U-Net for Segmentation of Ambiguous Images, NeurIPS 2018"
BHAT = "Bhat et al., Generalized Probabilistic U-Net for medical image segmentation, UNSURE at MICCAI 2022"

# Networks
Widths = Annotated[Levels, Field(min_length=1, description="channels of each level")]
TwoLevels = Annotated[Levels, Field(min_length=2, description="channels of each level")]
Convs = Annotated[int, Field(ge=1, le=MOST_CONVS, description="3x3 convolutions per block")]
Blocks = Annotated[int, Field(ge=1, le=MOST_CONVS, description="residual blocks per level")]
Norm = Annotated[NormPlace, Field(description="BatchNorm: one per block (true), or after each convolution (each)")]
ResidualNorm = Annotated[bool, Field(description="one BatchNorm per residual block")]

# Latent distributions: fields of options that one method requires and another leaves to its paper
LATENT_DIM = Field(ge=1, le=MOST_PARTS, description="dimensions of z")
COMPONENTS = Field(ge=1, le=MOST_PARTS, description="Gaussians in a mixture")
RANK = Field(ge=1, le=MOST_PARTS, description="rank of low-rank covariances")
TAU = Field(gt=0, description="Gumbel-softmax temperature")
LatentFamily = Annotated[Family, Field(description="latent distribution of prior and posterior")]

# How a latent model is trained and put together
Beta = Annotated[float, Field(ge=0, description="weight of the KL divergence")]
Anneal = Annotated[float, Field(ge=0, le=1, description="share of the schedule in which the KL's weight rises to beta")]
KLDraws = Annotated[int, Field(ge=1, le=MOST_PARTS, description="draws per component for the KL of a mixture")]
Prior = Annotated[Literal["learned", "fixed"], Field(description="learned p(z|x), or fixed N(0, I)")]
Posterior = Annotated[Literal["image-and-mask", "mask"], Field(description="what the posterior sees")]
Injection = Annotated[Literal["late", "early"], Field(description="z after the U-Net (late) or at its input (early)")]

Condition = Annotated[
    Literal["none", "reader"],
    Field(description="whose masks: the pool's alone (none), or a named reader's, too (reader)"),
]


class NetShape(NamedTuple):
    """The size of the U-Net and of the encoders beside it."""

    widths: Sequence[int]
    convs: int
    norm: NormPlace


@dataclass(frozen=True)
class LatentOptions:
    """How a latent model is trained and put together.

    Attributes:
        beta: weight of the KL divergence.
        kl_draws: draws per component for the KL divergence of a mixture.
        prior: learned p(z|x), or fixed N(0, I).
        posterior: whether the posterior sees the image with the mask, or the mask alone.
        injection: "late" combines z with the last features of the U-Net, which then runs once for all draws; "early"
            gives z to the U-Net as further input channels.
        readers: how many the prior tells apart by their names; 0: none.
        anneal: share of the schedule in which the weight of the KL divergence rises linearly from 0 to beta.
    """

    beta: float = 1.0
    kl_draws: int = 8
    prior: Prior = "learned"
    posterior: Posterior = "image-and-mask"
    injection: Injection = "late"
    anneal: float = 0.0
    readers: int = 0
