"""Latent distributions: from a feature vector to a Gaussian or a mixture of Gaussians over z.

The four families of the Generalized Probabilistic U-Net (Bhat et al. 2022, section 3) and the low-rank one of its
released code, each on `torch.distributions`; drawing takes explicit noise, so that one draw can be shared by many images.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributions as td
from torch import Tensor, nn

from ..core.randomness import gumbel, normal

Family = Literal["axis", "full", "low-rank", "mixture-axis", "mixture-full", "mixture-low-rank"]
LOG_SCALE = (-10.0, 10.0)  # bounds of log standard deviations: an unbounded exp goes to infinity at high learning rates
JITTER = 1e-4  # added to the diagonal of full and low-rank covariances' factors


@dataclass(frozen=True)
class LatentShape:
    """Which distribution over z: its `family`, dimensions D, mixture components N, rank of the low-rank factor,
    and the temperature `tau` of the Gumbel-softmax relaxation through which component choices get their gradient.
    """

    family: Family
    dim: int
    components: int = 1
    rank: int = 1
    tau: float = 0.3

    @property
    def covariance(self) -> str:
        """axis, full or low-rank."""
        return self.family.removeprefix("mixture-")

    @property
    def mixture(self) -> bool:
        """Whether there is more than the one Gaussian."""
        return self.family.startswith("mixture-")

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Sizes of the parts of a component: mean, log scales, the off-diagonal or low-rank factor, its logit."""
        factor = {"axis": 0, "full": self.dim * (self.dim - 1) // 2, "low-rank": self.dim * self.rank}
        return self.dim, self.dim, factor[self.covariance], int(self.mixture)

    @property
    def noise_size(self) -> int:
        """Standard normal numbers E that one draw of z uses."""
        return self.dim + (self.rank if self.covariance == "low-rank" else 0)


def full_precision(like: Tensor) -> torch.autocast:
    """A context without autocast: everything about latent densities is computed in float32."""
    return torch.autocast(like.device.type, enabled=False)


class LatentHead(nn.Module):
    """Features [B, F] to a `Latent`; always computed in float32."""

    def __init__(self, features: int, shape: LatentShape):
        super().__init__()
        self.shape = shape
        count = shape.components if shape.mixture else 1
        self.linear = nn.Linear(features, count * sum(shape.sizes))

    def forward(self, features: Tensor) -> "Latent":
        """The distribution over z of each image."""
        with full_precision(features):
            return latent(self.linear(features.float()), self.shape)


def latent(numbers: Tensor, shape: LatentShape) -> "Latent":
    """The distribution that unconstrained numbers [B, N * sum(sizes)] stand for; all zeros are the standard normal."""
    numbers = numbers.unflatten(1, (-1, sum(shape.sizes)))
    loc, log_scale, factor, logit = numbers.split(shape.sizes, -1)
    scale = log_scale.clamp(*LOG_SCALE).exp()
    logits = logit.squeeze(-1) if shape.mixture else loc.new_zeros(loc.shape[:2])
    return Latent(shape, loc, _factor(shape, scale, factor), logits)


def _factor(shape: LatentShape, scale: Tensor, rest: Tensor) -> Tensor:
    """The matrix T [B, N, D, E] with z = loc + T noise."""
    if shape.covariance == "axis":
        return torch.diag_embed(scale)
    diagonal = torch.diag_embed(scale + JITTER)
    if shape.covariance == "low-rank":
        return torch.cat((rest.unflatten(-1, (shape.dim, shape.rank)), diagonal), -1)
    rows, columns = torch.tril_indices(shape.dim, shape.dim, -1, device=scale.device)
    lower = torch.zeros_like(diagonal)
    lower[..., rows, columns] = rest
    return lower + diagonal


@dataclass(frozen=True)
class Noise:
    """The randomness of S draws: normal [B or 1, S, E] and, for mixtures, gumbel [B or 1, S, N]."""

    normal: Tensor
    gumbel: Tensor | None


@dataclass(frozen=True)
class Latent:
    """A distribution over z for each image: loc [B, N, D], factor T [B, N, D, E], logits [B, N] of the components."""

    shape: LatentShape
    loc: Tensor
    factor: Tensor
    logits: Tensor

    def __len__(self) -> int:
        return len(self.loc)

    def distribution(self) -> td.Distribution:
        """As a torch distribution: batch [B, 1] (the 1 lets S draws stand in its place), event [D]."""
        if not self.shape.mixture:
            return _gaussians(self.shape, self.loc, self.factor)
        choice = td.Categorical(logits=self.logits.unsqueeze(1), validate_args=False)
        components = _gaussians(self.shape, self.loc.unsqueeze(1), self.factor.unsqueeze(1))
        return td.MixtureSameFamily(choice, components, validate_args=False)

    def noise(self, draws: int, generator: torch.Generator | None, *, tied: bool = False) -> Noise:
        """The randomness of `draws` draws for each image, or of the same draws for all images when `tied`."""
        batch = 1 if tied else len(self)
        count = self.logits.shape[1]
        return Noise(
            normal((batch, draws, self.shape.noise_size), generator, self.loc),
            gumbel((batch, draws, count), generator, self.loc) if self.shape.mixture else None,
        )

    def draw(self, noise: Noise) -> Tensor:
        """z [B, S, D], differentiable: reparameterised Gaussians, components by straight-through Gumbel-softmax
        (argmax forward, softmax at temperature tau backward; Bhat et al. 2022, section 3.2).
        """
        with full_precision(self.loc):
            if noise.gumbel is None:
                return self.loc + (self.factor @ noise.normal.unsqueeze(-1)).squeeze(-1)
            return self._draw_mixture(noise.normal, noise.gumbel)

    def points(self, normal: Tensor) -> Tensor:
        """z [B, N * S, D] of each component in turn at each of the standard normal points [S, E]."""
        with full_precision(self.loc):
            offsets = torch.einsum("bnde,se->bnsd", self.factor, normal)
            return (self.loc.unsqueeze(2) + offsets).flatten(1, 2)

    def _draw_mixture(self, normal: Tensor, gumbel: Tensor) -> Tensor:
        scores = self.logits.unsqueeze(1) + gumbel
        soft = (scores / self.shape.tau).softmax(-1)
        hard = torch.zeros_like(soft).scatter_(-1, scores.argmax(-1, keepdim=True), 1.0)
        choice = hard + soft - soft.detach()
        each = self.loc.unsqueeze(1) + torch.einsum(
            "bnde,bse->bsnd", self.factor, normal.expand(self.loc.shape[0], -1, -1)
        )
        return torch.einsum("bsn,bsnd->bsd", choice, each)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density [B, S] in nats of z [B, S, D]."""
        return self.distribution().log_prob(z)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance [B, D] of each dimension of z."""
        weights = self.logits.softmax(-1).unsqueeze(-1)
        mean = (weights * self.loc).sum(1)
        variance = (weights * (self.factor.square().sum(-1) + self.loc.square())).sum(1) - mean.square()
        return mean, variance.clamp_min(math.exp(2 * LOG_SCALE[0]))


def _gaussians(shape: LatentShape, loc: Tensor, factor: Tensor) -> td.Distribution:
    """Gaussians with means [..., D] and factors [..., D, E] as one torch distribution: batch [...], event [D]."""
    if shape.covariance == "axis":
        return td.Independent(td.Normal(loc, factor.diagonal(dim1=-2, dim2=-1), validate_args=False), 1)
    triangle = factor if shape.covariance == "full" else _triangle(factor)
    return td.MultivariateNormal(loc, scale_tril=triangle, validate_args=False)


def _triangle(factor: Tensor) -> Tensor:
    """The lower triangle L [..., D, D] with L L^T = T T^T, by QR: it never squares T, as torch's low-rank Gaussian does,
    whose factorisation fails in float32 when the diagonal is small against the low-rank part.
    """
    upper = torch.linalg.qr(factor.mT).R
    sign = torch.where(upper.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0)
    return (upper * sign.unsqueeze(-1)).mT


def standard_normal(shape: LatentShape, batch: int, like: Tensor) -> Latent:
    """The fixed prior N(0, I) in a family's own form (one component)."""
    return latent(like.new_zeros((batch, sum(shape.sizes)), dtype=torch.float32), shape)


def kl(q: Latent, p: Latent, generator: torch.Generator | None, draws: int = 8) -> Tensor:
    """KL(q || p) [B] in nats: closed form for single Gaussians, Monte Carlo for mixtures.

    For a mixture q the sum over its components is exact and only each Gaussian is sampled (`draws` times):
    KL = sum_i gamma_i E_{z ~ q_i}[log q(z) - log p(z)], with exact mixture densities and full gradients.
    """
    with full_precision(q.loc):
        if not q.shape.mixture:
            return td.kl_divergence(q.distribution(), p.distribution()).squeeze(1)
        return _mixture_kl(q, p, generator, draws)


def _mixture_kl(q: Latent, p: Latent, generator: torch.Generator | None, draws: int) -> Tensor:
    batch, count = q.logits.shape
    noise = normal((batch, count, draws, q.shape.noise_size), generator, q.loc)
    z = q.loc.unsqueeze(2) + torch.einsum("bnde,bnse->bnsd", q.factor, noise)
    ratio = (q.log_prob(z.flatten(1, 2)) - p.log_prob(z.flatten(1, 2))).unflatten(1, (count, draws))
    return (q.logits.softmax(-1) * ratio.mean(-1)).sum(-1)


def kl_by_dimension(q: Latent, p: Latent) -> Tensor:
    """KL in nats [D] of each dimension's Gaussian with q's and p's mean and variance, averaged over the batch.

    Exact for axis-aligned Gaussians; for the others a diagnostic: a dimension near zero carries nothing (collapse).
    """
    (mean_q, var_q), (mean_p, var_p) = q.moments(), p.moments()
    return (0.5 * ((var_q + (mean_q - mean_p).square()) / var_p - 1 + (var_p / var_q).log())).mean(0)
