"""Modal Uncertainty Estimation (Qiu and Lui 2020): discrete codes, each a hypothesis with an explicit probability."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ..core.batch import Batch, Loss
from ..core.bounds import MOST_CHANNELS, MOST_CODES, MOST_CONVS, Levels
from ..core.method import Method
from ..core.predictive import FinitePredictive
from ..nets.codebook import Codebook, Quantised
from ..nets.latents import full_precision
from ..nets.pixels import mean_cross_entropy, one_hot
from ..nets.residual import CodeDecoder, ResidualEncoder
from .shared_options import ResidualNorm


class Modal(Method):
    """Prior encoder p(c|x), posterior encoder (x, y) -> c, decoder p(y|x, c) with skips from the prior encoder.

    The posterior is deterministic: the code nearest to its output. The prior learns to predict that code.
    """

    name = "modal"
    summary = "Modal Uncertainty Estimation: discrete codes with a learned prior (Qiu and Lui 2020)"
    references = ("Qiu and Lui, Modal Uncertainty Estimation via Discrete Latent Representation, 2020",)

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        widths: Annotated[Levels, Field(min_length=1, description="channels of each level that the decoder sees")] = (
            32,
            64,
            128,
            192,
        ),
        latent_widths: Annotated[Levels, Field(description="channels of the coarser levels, for the code alone")] = (
            256,
            512,
        ),
        convs: Annotated[int, Field(ge=1, le=MOST_CONVS, description="3x3 convolutions per residual block")] = 3,
        norm: ResidualNorm = True,
        codes: Annotated[int, Field(ge=2, le=MOST_CODES, description="codes in the codebook")] = 512,
        code_dim: Annotated[int, Field(ge=1, le=MOST_CHANNELS, description="numbers in a code")] = 128,
        commitment: Annotated[float, Field(ge=0, description="weight of the posterior's distance to its code")] = 0.25,
        prior_weight: Annotated[float, Field(gt=0, description="weight of the prior's cross-entropy")] = 1.0,
        warmup: Annotated[float, Field(ge=0, lt=1, description="share of the schedule before the prior learns")] = 1
        / 6,
        recycle: Annotated[
            float, Field(ge=0, le=1, description="share of the schedule that recycles unused codes")
        ] = 0.25,
        decay: Annotated[float, Field(gt=0, lt=1, description="of the codebook's moving averages, a step")] = 0.99,
    ):
        super().__init__()
        self.channels, self.classes = channels, classes
        self.shared, self.commitment, self.prior_weight = len(widths), commitment, prior_weight
        self.warmup, self.recycle = warmup, recycle
        levels = [*widths, *latent_widths]
        self.prior = ResidualEncoder(channels, levels, convs, norm)
        self.prior_head = nn.Linear(levels[-1], codes)
        self.posterior = ResidualEncoder(channels + classes, levels, convs, norm)
        self.posterior_head = nn.Linear(levels[-1], code_dim)
        self.codebook = Codebook(codes, code_dim, decay)
        self.decoder = CodeDecoder(widths, code_dim, classes, convs, norm)

    def forward(self, image: Tensor) -> FinitePredictive:
        """The codes with their prior probabilities; once trained, those that fell out of use have none."""
        levels = self.prior(image)
        logits = self._prior_logits(levels)
        if not self.training:
            logits = logits.masked_fill(~self.codebook.live, -torch.inf)
        prepared = self.decoder.prepare(levels[: self.shared])
        return FinitePredictive(logits, lambda index: self.decoder(prepared, self.codebook.codes[index]))

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """Cross-entropy, mean over pixels, + `commitment` * (e - sg[c])^2, mean over numbers, + `prior_weight` *
        cross-entropy of the prior with the posterior's code, mean over images and readers (Qiu and Lui 2020, eq. 4, where that
        weight is 1). During the warm-up without the last.
        """
        levels = self.prior(batch.image)
        found = self.posterior_code(*batch.pairs(), generator, recycle=batch.progress < self.recycle)
        logits = self.decoder(
            self.decoder.prepare(levels[: self.shared]), found.vectors.unflatten(0, batch.mask.shape[:2])
        )
        reconstruction = mean_cross_entropy(logits.flatten(0, 1), batch.mask.flatten(0, 1)).mean()
        prior = self._prior_logits(levels).log_softmax(1)
        code = -prior.gather(1, found.index.unflatten(0, batch.mask.shape[:2])).mean()
        total = reconstruction + self.commitment * found.commitment
        return Loss(
            total if batch.progress < self.warmup else total + self.prior_weight * code,
            {
                "reconstruction": reconstruction.detach(),
                "code": code.detach(),
                "commitment": found.commitment.detach(),
                "live_codes": self.codebook.live.sum().float(),
                "perplexity": self.codebook.perplexity,
            },
        )

    def posterior_code(
        self, image: Tensor, mask: Tensor, generator: torch.Generator, *, recycle: bool = False
    ) -> Quantised:
        """The codes that explain masks [P, H, W] of images [P, C, H, W]: one-hot masks go in as -1/2 and 1/2.

        In float32 from the first layer on: what a mask adds to the image's features is small at first, and rounding them to
        half precision makes one code of all masks.
        """
        evidence = one_hot(mask, self.classes).to(image.dtype) - 0.5
        with full_precision(image):
            features = self.posterior(torch.cat((image, evidence), 1))[-1].mean((2, 3))
            return self.codebook(self.posterior_head(features), generator, recycle=recycle)

    def _prior_logits(self, levels: Sequence[Tensor]) -> Tensor:
        """Logits [B, N] of p(c|x), float32."""
        with full_precision(levels[-1]):
            return self.prior_head(levels[-1].float().mean((2, 3)))
