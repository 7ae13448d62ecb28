"""Probabilistic U-Net (Kohl et al. 2018): an axis-aligned Gaussian latent, with the paper's ablations as options."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from ..latent_unet import Injection, LatentUNet, Posterior, Prior
from ..latents import LatentShape


class ProbUNet(LatentUNet):
    """Kohl's net for LIDC: widths 32-64-128-192, three convolutions a block, no normalisation, six latent dimensions.

    The paper ties the prior net, the posterior net and the encoder of the U-Net in shape, as here.
    """

    name = "probunet"
    summary = "Probabilistic U-Net: axis-aligned Gaussian latent (Kohl et al. 2018)"

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        widths: Annotated[Sequence[int], Field(min_length=1, description="channels of each level")] = (
            32,
            64,
            128,
            192,
        ),
        convs: Annotated[int, Field(ge=1, description="3x3 convolutions a block")] = 3,
        norm: Annotated[bool, Field(description="one BatchNorm a block")] = False,
        latent_dim: Annotated[int, Field(ge=1, description="dimensions of z")] = 6,
        beta: Annotated[float, Field(ge=0, description="weight of the KL divergence")] = 1.0,
        prior: Annotated[Prior, Field(description="learned p(z|x), or fixed N(0, I)")] = "learned",
        posterior: Annotated[Posterior, Field(description="what the posterior sees")] = "image-and-mask",
        injection: Annotated[Injection, Field(description="z after the U-Net (late) or at its input (early)")] = "late",
    ):
        super().__init__(
            channels,
            classes,
            widths=widths,
            convs=convs,
            norm=norm,
            latent=LatentShape("axis", latent_dim),
            beta=beta,
            kl_draws=0,
            prior=prior,
            posterior=posterior,
            injection=injection,
        )
