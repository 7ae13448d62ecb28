"""Image2Image VAE (Zhu et al. 2017 without the adversary, as the baseline of Kohl et al. 2018, section 3.2)."""

from typing import Annotated

from pydantic import Field

from ..core.bounds import MOST_PARTS
from .latent_unet import Beta, Convs, Norm, Widths
from .probunet import ProbUNet


class Image2ImageVAE(ProbUNet):
    """The Probabilistic U-Net's parts put together otherwise: a fixed prior N(0, I), a posterior that sees only the mask,
    and z given to the U-Net with the image.
    """

    name = "image2image-vae"
    summary = "Image2Image VAE: fixed prior, z at the U-Net's input (Kohl et al. 2018, section 3.2)"

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        widths: Widths = (32, 64, 128, 192),
        convs: Convs = 3,
        norm: Norm = False,
        latent_dim: Annotated[int, Field(ge=1, le=MOST_PARTS, description="dimensions of z")] = 6,
        beta: Beta = 1.0,
    ):
        super().__init__(
            channels,
            classes,
            widths=widths,
            convs=convs,
            norm=norm,
            latent_dim=latent_dim,
            beta=beta,
            prior="fixed",
            posterior="mask",
            injection="early",
        )
