"""Stochastic Segmentation Networks (Monteiro et al. 2020): a low-rank Gaussian over the logits of all pixels together."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ..core.batch import Batch, Loss
from ..core.bounds import MOST_PARTS
from ..core.method import Method
from ..core.predictive import SampledPredictive
from ..core.randomness import normal
from ..nets.latents import full_precision
from ..nets.pixels import pairwise_cross_entropy
from ..nets.unet import UNet
from .shared_options import RANK, Convs, Norm, Widths

LOG_VARIANCE = (-10.0, 5.0)  # bounds of log d
START = -3.0  # of log d
JITTER = 1e-5  # added to d
SMALL = 0.1  # share of their usual size at which the factors start
DRAWS_A_CHUNK = 16  # fixed: the noise of a chunk is drawn together


class SSN(Method):
    """Logits are N(m, P P^T + diag(d)): mean m, factors P of a rank r and variances d all come from the image.

    The r numbers that multiply P are shared by all pixels, so a draw is a coherent mask. covariance "diagonal" leaves P out:
    pixels then vary independently, the paper's control.
    """

    name = "ssn"
    summary = "Stochastic Segmentation Networks: a low-rank Gaussian over all logits (Monteiro et al. 2020)"
    references = (
        "Monteiro et al., Stochastic Segmentation Networks: Modelling Spatially Correlated Aleatoric Uncertainty, "
        "NeurIPS 2020",
    )

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        covariance: Annotated[
            Literal["low-rank", "diagonal"], Field(description="of the logits; diagonal: independent pixels")
        ] = "low-rank",
        rank: Annotated[int, RANK] = 10,
        draws: Annotated[
            int, Field(ge=2, le=MOST_PARTS, multiple_of=2, description="draws per image in a training step, in pairs")
        ] = 20,
        warmup: Annotated[
            float, Field(ge=0, lt=1, description="share of the schedule in which only the mean learns")
        ] = 0.3,
        widths: Widths = (32, 64, 128, 192),
        convs: Convs = 3,
        norm: Norm = False,
    ):
        super().__init__()
        self.channels, self.classes, self.draws, self.warmup = channels, classes, draws, warmup
        self.rank = rank if covariance == "low-rank" else 0
        self.unet = UNet(channels, widths, convs, norm)
        self.mean = nn.Conv2d(widths[0], classes, 1)
        self.log_variance = nn.Conv2d(widths[0], classes, 1)
        assert self.log_variance.bias is not None
        nn.init.constant_(self.log_variance.bias, START)
        self.factors = _small(nn.Conv2d(widths[0], self.rank * classes, 1)) if self.rank else None

    def forward(self, image: Tensor) -> "GaussianLogits":
        """The predictive distribution for images [B, C, H, W]; the U-Net runs once, however many the draws."""
        features = self.unet(image)
        with full_precision(features):
            mean = self.mean(features.float())
            deviation = (self.log_variance(features.float()).clamp(*LOG_VARIANCE).exp() + JITTER).sqrt()
            if self.factors is None:
                return GaussianLogits(mean, deviation, mean.new_zeros(mean.shape[0], 0, *mean.shape[1:]))
            return GaussianLogits(mean, deviation, self.factors(features.float()).unflatten(1, (self.rank, -1)))

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """-log of the mean over draws of p(y | logits), mean over images and readers (Monteiro et al. 2020, eq. 6). The draws
        come in pairs on both sides of the mean. During the warm-up it is the mean's cross-entropy.
        """
        return self.shared_loss(batch, torch.ones((), device=batch.image.device), generator)

    def shared_loss(self, batch: Batch, share: Tensor, generator: torch.Generator) -> Loss:
        """As `loss`, but each mask counts by its share [B * M]."""
        logits = self.forward(batch.image)
        mean = (pairwise_cross_entropy(logits.mean.unsqueeze(1), batch.mask).flatten() * share).mean()
        surprise = (self._surprise(logits, batch.mask, generator).flatten() * share).mean()
        terms = {
            "surprise": surprise.detach(),
            "mean": mean.detach(),
            "deviation": logits.deviation.detach().mean(),
            "factor": logits.factors.detach().square().sum(1).mean().sqrt(),
        }
        return Loss(mean if batch.progress < self.warmup else surprise, terms)

    def support(self, image: Tensor, points: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The masks at standard normal points [N, r] of what all pixels share, without what varies in each pixel alone.

        Returns:
            Their log-probabilities [B, N], all alike, and a function from their indices [B, n] to class logits
            [B, n, K, H, W].
        """
        logits = self.forward(image)
        chances = points.new_full((image.shape[0], len(points)), -math.log(len(points)))
        return chances, lambda index: logits.shifted(points[index])

    def _surprise(self, logits: "GaussianLogits", masks: Tensor, generator: torch.Generator) -> Tensor:
        """-log of the mean over draws of p(y | logits), of each image and reader [B, M]."""
        noise = logits.noise(self.draws // 2, generator)
        offset = logits.offsets(noise)
        drawn = logits.mean.unsqueeze(1) + torch.cat((offset, -offset), 1)
        each = pairwise_cross_entropy(drawn, masks)
        return math.log(self.draws) - (-each).logsumexp(1)


def _small(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer at a share of its weights. Pairs of draws on both sides of a mean that says nothing yet fit every reader with
    one of the two, once they lie far apart; then the loss is content, and the mean never learns.
    """
    for parameter in layer.parameters():
        parameter.data.mul_(SMALL)
    return layer


@dataclass(frozen=True)
class LogitNoise:
    """The randomness of S draws: `shared` by all pixels [B or 1, S, r], and for each logit its `own` [B or 1, S, K, H, W]."""

    shared: Tensor
    own: Tensor


@dataclass(frozen=True)
class GaussianLogits(SampledPredictive):
    """N(mean, factors factors^T + diag(deviation^2)) over the logits of each image.

    Attributes:
        mean: [B, K, H, W].
        deviation: standard deviation of what varies independently in each logit [B, K, H, W].
        factors: of what varies together [B, r, K, H, W].
    """

    mean: Tensor
    deviation: Tensor
    factors: Tensor

    def noise(self, draws: int, generator: torch.Generator | None, *, tied: bool = False) -> LogitNoise:
        """The randomness of `draws` draws for each image, or of the same draws for all images when `tied`."""
        batch = 1 if tied else self.mean.shape[0]
        shared = normal((batch, draws, self.factors.shape[1]), generator, self.mean)
        return LogitNoise(shared, normal((batch, draws, *self.mean.shape[1:]), generator, self.mean))

    def offsets(self, noise: LogitNoise) -> Tensor:
        """By how much draws [B, S, K, H, W] differ from the mean."""
        with full_precision(self.mean):
            own = self.deviation.unsqueeze(1) * noise.own
            return own + self._moved(noise.shared) if self.factors.shape[1] else own

    def shifted(self, shared: Tensor) -> Tensor:
        """Logits [B, S, K, H, W] at numbers that all pixels share [B, S, r]; nothing varies in a pixel alone."""
        with full_precision(self.mean):
            return self.mean.unsqueeze(1) + self._moved(shared)

    def _moved(self, shared: Tensor) -> Tensor:
        moved = shared.expand(self.mean.shape[0], -1, -1) @ self.factors.flatten(2)
        return moved.unflatten(2, self.mean.shape[1:])

    def drawn(self, normals: Tensor) -> Tensor:
        """Logits [B, S, K, H, W] of draws at standard normal numbers [B, S, r + K H W], those shared by all pixels first."""
        shared, own = normals.split((self.factors.shape[1], normals.shape[2] - self.factors.shape[1]), 2)
        return self.mean.unsqueeze(1) + self.offsets(LogitNoise(shared, own.unflatten(2, self.mean.shape[1:])))

    def chunks(self, n: int, generator: torch.Generator | None, tied: bool) -> Iterator[Tensor]:
        """Logits of n draws, some at a time, as their noise is as large as they are."""
        for start in range(0, n, DRAWS_A_CHUNK):
            noise = self.noise(min(DRAWS_A_CHUNK, n - start), generator, tied=tied)
            yield self.mean.unsqueeze(1) + self.offsets(noise)
