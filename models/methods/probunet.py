"""Probabilistic U-Net (Kohl et al. 2018): an axis-aligned Gaussian latent, with the paper's ablations as options."""

from typing import Annotated, ClassVar

from ..nets.latents import LatentShape
from .latent_unet import LatentUNet
from .shared_options import (
    KOHL,
    LATENT_DIM,
    Anneal,
    Beta,
    Condition,
    Convs,
    Injection,
    LatentOptions,
    NetShape,
    Norm,
    Posterior,
    Prior,
    Widths,
)


class ProbUNet(LatentUNet):
    """Three convolutions per block, no normalisation and six latent dimensions, as in Kohl's net. That has seven levels; the
    four of widths 32-64-128-192 are those of a widely used port.

    The paper ties the prior net, the posterior net and the encoder of the U-Net in shape, as here.
    """

    name = "probunet"
    summary = "Probabilistic U-Net: axis-aligned Gaussian latent (Kohl et al. 2018)"
    references: ClassVar[tuple[str, ...]] = (KOHL,)

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        widths: Widths = (32, 64, 128, 192),
        convs: Convs = 3,
        norm: Norm = False,
        latent_dim: Annotated[int, LATENT_DIM] = 6,
        beta: Beta = 1.0,
        anneal: Anneal = 0.0,
        prior: Prior = "learned",
        posterior: Posterior = "image-and-mask",
        injection: Injection = "late",
        condition: Condition = "none",
        readers: int = 0,
    ):
        super().__init__(
            channels,
            classes,
            net=NetShape(widths, convs, norm),
            latent=LatentShape("axis", latent_dim),
            options=LatentOptions(
                beta=beta, prior=prior, posterior=posterior, injection=injection, anneal=anneal, readers=readers
            ),
        )
