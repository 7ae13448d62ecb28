"""The Gaussian-latent family: a U-Net whose segmentation is varied by a low-dimensional z.

One class serves the Probabilistic U-Net (Kohl et al. 2018), its generalisation to other latent distributions (Bhat et al.
2022) and the ablations of the former: the options say which.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from ambiseg.preprocessing.errors import UsageError

from ..core.batch import Batch, Loss
from ..core.method import Method
from ..core.named_readers import ReaderShift
from ..core.predictive import SampledPredictive, expected_areas, one_story
from ..nets.combine import Combine
from ..nets.latents import Latent, LatentHead, LatentShape, kl, kl_by_dimension, standard_normal
from ..nets.pixels import cross_entropy, one_hot
from ..nets.unet import UNet, VectorEncoder
from .shared_options import LatentOptions, NetShape

DRAWS_A_CHUNK = 16

Decode = Callable[[Tensor], Tensor]


class LatentUNet(Method):
    """A U-Net, a prior p(z|x) and a posterior q(z|x, y) over the latent variable z.

    Args:
        channels: of the images.
        classes: K, background included.
        net: the size of the U-Net, and of prior and posterior net.
        latent: the distribution over z.
        options: how the model is trained and put together.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        net: NetShape,
        latent: LatentShape,
        options: LatentOptions,
    ):
        super().__init__()
        self.channels, self.classes = channels, classes
        self.latent, self.beta, self.anneal, self.kl_draws = latent, options.beta, options.anneal, options.kl_draws
        self.sees_image, early = options.posterior == "image-and-mask", options.injection == "early"
        self.unet = UNet(channels + (latent.dim if early else 0), *net)
        self.head = nn.Conv2d(net.widths[0], classes, 1) if early else Combine(net.widths[0], latent.dim, classes)
        self.prior = _latent_net(channels, net, latent) if options.prior == "learned" else None
        posterior_channels = classes + (channels if self.sees_image else 0)
        self.posterior = _latent_net(posterior_channels, net, latent)
        self.by_reader = ReaderShift(net.widths[-1], options.readers) if options.readers else None
        if options.readers and self.prior is None:
            raise UsageError(
                "options.condition is reader, but a fixed prior is the same for all: leave options.prior out."
            )

    def forward(self, image: Tensor, readers: Tensor | None = None) -> "LatentPredictive":
        """The predictive distribution for images [B, C, H, W]; U-Net and prior run once, however many the draws.

        readers: whose masks, by the readers' numbers [B]; None: the pool's.
        """
        return LatentPredictive(self.prior_of(image, readers), self.decoder(image))

    def prior_of(self, image: Tensor, readers: Tensor | None = None) -> Latent:
        """p(z|x), or N(0, I) when the prior is fixed; p(z|x, r) for readers r [B], or [B, M], which gives B * M of them."""
        if self.prior is None:
            return standard_normal(self.latent, image.shape[0], image)
        if readers is None or self.by_reader is None:
            return self.prior(image)
        encoder, head = self.prior
        return head(self.by_reader(encoder(image), readers).flatten(0, -2))

    def posterior_of(self, image: Tensor, mask: Tensor) -> Latent:
        """q(z|x, y) for images [B, C, H, W] and masks [B, H, W]: the one-hot mask goes in as -1/2 and 1/2, an ignored
        pixel as -1/2 for every class.
        """
        evidence = one_hot(mask, self.classes).to(image.dtype) - 0.5
        return self.posterior(torch.cat((image, evidence), 1) if self.sees_image else evidence)

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """Cross-entropy summed over pixels + beta KL(q || p), mean over images and readers (Kohl et al. 2018, eq. 4).

        With `anneal` the KL's weight rises from 0 to beta at the beginning of the schedule.
        """
        surprise, divergence, by_dimension = self.bound(batch, generator)
        risen = min(1.0, batch.progress / self.anneal) if self.anneal else 1.0
        return self.weighted(surprise.mean(), divergence.mean(), by_dimension, risen)

    def bound(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropy and KL(q || p) of every mask of every image, both [B * M] in nats; the KL by dimensions [D]."""
        count = batch.mask.shape[1]
        images, masks = batch.pairs()
        q = self.posterior_of(images, masks)
        p = self.prior_of(batch.image, batch.readers)
        p = p if self.by_reader is not None and batch.readers is not None else _repeat(p, count)
        z = q.draw(q.noise(1, generator)).unflatten(0, (-1, count)).squeeze(2)
        logits = self.decoder(batch.image)(z).flatten(0, 1)
        surprise = cross_entropy(logits, masks)
        return surprise, kl(q, p, generator, self.kl_draws), kl_by_dimension(q, p).detach()

    def weighted(self, surprise: Tensor, divergence: Tensor, by_dimension: Tensor, risen: float = 1.0) -> Loss:
        """The sum of both parts of the bound, the KL times beta and how far it has `risen`, and all as terms for the log."""
        terms = {"cross_entropy": surprise.detach(), "kl": divergence.detach()}
        terms |= {f"kl_dim_{number}": value for number, value in enumerate(by_dimension)}
        return Loss(surprise + risen * self.beta * divergence, terms)

    def shared_loss(self, batch: Batch, share: Tensor, generator: torch.Generator) -> Loss:
        """As `loss`, but each mask counts by its share [B * M]."""
        surprise, divergence, by_dimension = self.bound(batch, generator)
        return self.weighted((surprise * share).mean(), (divergence * share).mean(), by_dimension)

    def support(self, image: Tensor, points: Tensor, readers: Tensor | None = None) -> tuple[Tensor, Decode]:
        """The masks at standard normal points [P, noise] of each component of the prior, that of `readers` [B] if given.

        Returns:
            Their log-probabilities [B, N], and a function from their indices [B, n] to class logits [B, n, K, H, W].
        """
        prior, decode = self.prior_of(image, readers), self.decoder(image)
        z = prior.points(points)
        chances = prior.logits.log_softmax(1).repeat_interleave(len(points), 1) - math.log(len(points))
        return chances, lambda index: decode(z.gather(1, index.unsqueeze(2).expand(-1, -1, z.shape[2])))

    def decoder(self, image: Tensor) -> Decode:
        """The function from draws z [B, S, D] to logits [B, S, K, H, W] for these images."""
        head = self.head
        if isinstance(head, Combine):
            prepared = head.prepare(self.unet(image))
            return lambda z: head(prepared, z)
        return lambda z: head(self._early_features(image, z)).unflatten(0, z.shape[:2])

    def _early_features(self, image: Tensor, z: Tensor) -> Tensor:
        """U-Net features [B * S, F, H, W] with each draw of z as further input channels."""
        planes = z.flatten(0, 1)[..., None, None].expand(-1, -1, *image.shape[-2:]).to(image.dtype)
        images = image.unsqueeze(1).expand(-1, z.shape[1], -1, -1, -1).flatten(0, 1)
        return self.unet(torch.cat((images, planes), 1))


class LatentPredictive(SampledPredictive):
    """Masks decoded from draws of the prior."""

    def __init__(self, prior: Latent, decode: Decode):
        self.prior, self.decode = prior, decode

    def chunks(self, n: int, generator: torch.Generator | None, tied: bool) -> Iterator[Tensor]:
        """Logits of n draws, some at a time; all noise is drawn first, so the chunks' size changes nothing."""
        prior = self._shared_mixture() if tied and self.prior.shape.mixture else self.prior
        z = prior.draw(prior.noise(n, generator, tied=tied))
        for some in z.split(DRAWS_A_CHUNK, 1):
            yield self.decode(some)

    def _shared_mixture(self) -> Latent:
        """The prior whose components are as probable for one image as for another: each is decoded at its mean."""
        prior = self.prior
        means = torch.cat([self.decode(some) for some in prior.loc.split(DRAWS_A_CHUNK, 1)], 1)
        shared = one_story(prior.logits.softmax(1), expected_areas(means)).log()
        return replace(prior, logits=shared.expand(len(prior), -1))


def _latent_net(channels: int, net: NetShape, latent: LatentShape) -> nn.Sequential:
    return nn.Sequential(VectorEncoder(channels, *net), LatentHead(net.widths[-1], latent))


def _repeat(latent: Latent, times: int) -> Latent:
    """Each image's distribution `times` times in a row."""
    parts = (part.repeat_interleave(times, 0) for part in (latent.loc, latent.factor, latent.logits))
    return Latent(latent.shape, *parts)
