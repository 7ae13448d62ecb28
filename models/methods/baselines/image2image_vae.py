"""Image2Image VAE (Zhu et al. 2017 without the adversary, as the baseline of Kohl et al. 2018, section 3.2)."""

from typing import Annotated

from ..probunet import ProbUNet
from ..shared_options import KOHL, LATENT_DIM, Beta, Convs, Norm, Widths


class Image2ImageVAE(ProbUNet):
    """The parts of the Probabilistic U-Net in another arrangement: a fixed prior N(0, I), a posterior that sees only the
    mask, and z given to the U-Net with the image.
    """

    name = "image2image-vae"
    summary = "Image2Image VAE: fixed prior, z at the U-Net's input (Kohl et al. 2018, section 3.2)"
    references = (
        KOHL,
        "Zhu et al., Toward Multimodal Image-to-Image Translation, NeurIPS 2017",
    )

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
