"""Generalized Probabilistic U-Net (Bhat et al. 2022): any of six families of latent distributions."""

from typing import Annotated

from ..nets.latents import Family, LatentShape
from .latent_unet import LatentUNet
from .shared_options import (
    BHAT,
    COMPONENTS,
    KOHL,
    LATENT_DIM,
    RANK,
    TAU,
    Anneal,
    Beta,
    Condition,
    Convs,
    Injection,
    KLDraws,
    LatentFamily,
    LatentOptions,
    NetShape,
    Norm,
    Posterior,
    Prior,
    Widths,
)

# Table 3 of the paper. The low-rank family is searched there but not reported.
PAPER: dict[Family, LatentShape] = {
    "axis": LatentShape("axis", dim=6),
    "full": LatentShape("full", dim=2),
    "low-rank": LatentShape("low-rank", dim=6, rank=2),
    "mixture-axis": LatentShape("mixture-axis", dim=4, components=5, tau=0.36),
    "mixture-full": LatentShape("mixture-full", dim=2, components=9, tau=0.28),
    "mixture-low-rank": LatentShape("mixture-low-rank", dim=6, components=5, rank=2, tau=0.36),
}


class Generalized(LatentUNet):
    """The paper's net: widths 32-64-128 and a bottleneck of 512, three convolutions and one BatchNorm per block.

    `latent_dim`, `components`, `rank` and `tau` left out take the paper's values for the family.
    """

    name = "generalized"
    summary = "Generalized Probabilistic U-Net: full, low-rank and mixture latents (Bhat et al. 2022)"
    references = (
        BHAT,
        KOHL,
    )

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        family: LatentFamily = "mixture-full",
        widths: Widths = (32, 64, 128, 512),
        convs: Convs = 3,
        norm: Norm = True,
        latent_dim: Annotated[int | None, LATENT_DIM] = None,
        components: Annotated[int | None, COMPONENTS] = None,
        rank: Annotated[int | None, RANK] = None,
        tau: Annotated[float | None, TAU] = None,
        beta: Beta = 1.0,
        anneal: Anneal = 0.0,
        kl_draws: KLDraws = 8,
        prior: Prior = "learned",
        posterior: Posterior = "image-and-mask",
        injection: Injection = "late",
        condition: Condition = "none",
        readers: int = 0,
    ):
        paper = PAPER[family]
        super().__init__(
            channels,
            classes,
            net=NetShape(widths, convs, norm),
            latent=LatentShape(
                family,
                dim=latent_dim or paper.dim,
                components=components or paper.components,
                rank=rank or paper.rank,
                tau=tau or paper.tau,
            ),
            options=LatentOptions(beta, kl_draws, prior, posterior, injection, anneal, readers),
        )
