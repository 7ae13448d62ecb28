"""Calibrated Adversarial Refinement (Kassapis et al. 2021): a net of calibrated pixels, then a sampler of whole masks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ambiseg.preprocessing.errors import UsageError

from ..core.batch import Batch, Loss
from ..core.bounds import MOST_PARTS
from ..core.method import Method, Player, Stage
from ..core.predictive import SampledPredictive
from ..nets.adversarial import FLOOR, Discriminator, calibration_loss, fooling_loss, gradient_penalty, telling_loss
from ..nets.at_rest import evaluating, frozen
from ..nets.latents import Latent, LatentHead, LatentShape, full_precision, kl, standard_normal
from ..nets.pixels import counted, mean_cross_entropy, one_hot
from ..nets.refiner import Prepared, Refiner
from ..nets.unet import UNet, VectorEncoder
from .shared_options import Convs, Norm, Widths

DRAWS_A_CHUNK = 16
BLACK_BOX_BLOCKS = 5


class Refine(Method):
    """A calibration net F gives the class probabilities of each pixel. A generator G draws masks whose mean agrees with those
    of F, and which a discriminator D cannot distinguish from readers' masks.

    calibration "mean" is the paper's loss, "cross-entropy" its control cGAN+L_ce, "none" a plain conditional GAN. latent
    "vae" is the cVAE-GAN of appendix B.2.3: z ~ q(z|x) with "mean", else z ~ q(z|x, y) in training and N(0, I) later.
    segmenter "stored" is the black box: F sees only the image's last K channels, another segmenter's probabilities. "given"
    takes these as they are, without F: with the true frequencies of the classes, the paper's ground-truth-conditioned control.
    """

    name = "refine"
    aliases = ("car",)
    summary = "Calibrated adversarial refinement, of its own or a stored segmentation (Kassapis et al. 2021)"
    references = (
        "Kassapis et al., Calibrated Adversarial Refinement for Stochastic Semantic Segmentation, ICCV workshops 2021",
    )

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        widths: Widths = (32, 64, 128, 192),
        convs: Convs = 2,
        norm: Norm = True,
        refiner_width: Annotated[
            int, Field(ge=1, le=MOST_PARTS, description="generator's channels at full resolution")
        ] = 32,
        discriminator_width: Annotated[
            int, Field(ge=1, le=MOST_PARTS, description="discriminator's first channels")
        ] = 64,
        discriminator: Annotated[
            Literal["strided", "released"],
            Field(
                description="the paper's, or that of its code: full resolution first, and places told apart at the end"
            ),
        ] = "strided",
        latent_dim: Annotated[int, Field(ge=1, le=MOST_PARTS, description="numbers in a noise vector")] = 8,
        dropout: Annotated[float, Field(ge=0, lt=1, description="generator's dropout, while training")] = 0.1,
        calibration: Annotated[
            Literal["mean", "cross-entropy", "none"], Field(description="what holds the generator to the readers")
        ] = "mean",
        latent: Annotated[Literal["noise", "vae"], Field(description="plain noise, or an encoder's z")] = "noise",
        segmenter: Annotated[
            Literal["own", "stored", "given"],
            Field(
                description="calibrate the image (own), or stored class probabilities; or take these as they are (given)"
            ),
        ] = "own",
        samples: Annotated[int, Field(ge=1, le=MOST_PARTS, description="draws per image in the calibration loss")] = 20,
        adversarial_weight: Annotated[float, Field(ge=0, description="weight of the adversarial loss")] = 10.0,
        calibration_weight: Annotated[float, Field(ge=0, description="weight of calibration or cross-entropy")] = 5.0,
        beta: Annotated[float, Field(ge=0, description="weight of the vae's KL divergence")] = 1.0,
        penalty: Annotated[float, Field(ge=0, description="R1 gradient penalty on readers' masks")] = 10.0,
        calibrate_share: Annotated[float, Field(gt=0, lt=1, description="share of the steps for F alone")] = 0.25,
        discriminator_rate: Annotated[float, Field(gt=0, description="times the learning rate")] = 0.05,
        discriminator_on: Annotated[int, Field(ge=1, le=10**9, description="steps a cycle that it learns")] = 50,
        discriminator_off: Annotated[int, Field(ge=0, le=10**9, description="steps a cycle that it rests")] = 200,
    ):
        super().__init__()
        self.channels, self.classes = channels, classes
        self.seen = _channels_of_image(channels, classes, segmenter)
        self.calibration, self.encodes, self.segmenter = calibration, latent == "vae", segmenter
        self.samples, self.penalty, self.calibrate_share = samples, penalty, calibrate_share
        self.adversarial_weight, self.calibration_weight, self.beta = adversarial_weight, calibration_weight, beta
        self.rate, self.on, self.cycle = discriminator_rate, discriminator_on, discriminator_on + discriminator_off
        self.shape = LatentShape("axis", latent_dim)
        core = UNet(channels, widths, convs, norm) if segmenter == "own" else _black_box(classes, widths[0])
        net = nn.Sequential(core, nn.Conv2d(widths[0], classes, 1))
        self.calibrator = _Given() if segmenter == "given" else net
        self.refiner = Refiner(classes + self.seen, classes, refiner_width, latent_dim, dropout)
        released = discriminator == "released"
        self.discriminator = Discriminator(self.seen, classes, discriminator_width, released=released)
        encoder = VectorEncoder(classes + self.seen, widths, convs, norm)
        self.encoder = nn.Sequential(encoder, LatentHead(widths[-1], self.shape)) if self.encodes else None

    def forward(self, image: Tensor) -> "Refined":
        """The predictive distribution for images [B, C, H, W]; all but the generator's upward path runs once."""
        target = self.calibrated(image)
        prepared = self.refiner.prepare(self._conditions(image, target))
        return Refined(target, self.prior_of(image, target), prepared, self.refiner)

    def calibrated(self, image: Tensor) -> Tensor:
        """F: class probabilities [B, K, H, W]."""
        return self._calibration_logits(image).float().softmax(1)

    def prior_of(self, image: Tensor, target: Tensor) -> Latent:
        """What z is drawn from for images with F's probabilities [B, K, H, W]: N(0, I), or q(z|x) of a calibrated vae."""
        if self.encoder is None or self.calibration != "mean":
            return standard_normal(self.shape, image.shape[0], image)
        return self.encoder(self._conditions(image, target))

    def posterior_of(self, image: Tensor, mask: Tensor) -> Latent:
        """q(z|x, y) of a vae without calibration, for images [B, C, H, W] and masks [B, H, W]."""
        assert self.encoder is not None
        return self.encoder(self._conditions(image, one_hot(mask, self.classes) - 0.5))

    def stages(self) -> tuple[Stage, ...]:
        """F alone, unless its output is given; then generator and discriminator, the latter in cycles that begin with its
        learning phase.
        """
        calibrator, discriminator = list(self.calibrator.parameters()), list(self.discriminator.parameters())
        generator = [*self.refiner.parameters(), *(self.encoder.parameters() if self.encoder else ())]
        calibrate = Player("calibrator", calibrator, self.calibrator_loss)
        refine = Player("generator", generator, self.loss)
        tell = Player(
            "discriminator", discriminator, self.discriminator_loss, self.rate, lambda step: step % self.cycle < self.on
        )
        last = Stage("refine", (refine, tell), 1 - self.calibrate_share, self._with_draws)
        return (last,) if not calibrator else (Stage("calibrate", (calibrate,), self.calibrate_share), last)

    def calibrator_loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """Pixelwise cross-entropy of F, mean over pixels, images and readers (eq. 2)."""
        cross_entropy = self._cross_entropy(self._calibration_logits(batch.image), batch)
        return Loss(cross_entropy, {"cross_entropy": cross_entropy.detach()})

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """The generator's: weighted adversarial and calibration losses over the same draws (eq. 7 and algorithm 1).

        `cross_entropy` among the terms is F's, which the generator does not change.
        """
        drawn = self._drawn(batch, generator)
        planes = drawn.logits.softmax(2)
        with frozen(self.discriminator):
            adversarial = fooling_loss(self._scores_of_draws(planes, batch))
        terms = {"adversarial": adversarial, **self._regularisers(drawn, planes, batch)}
        if drawn.divergence is not None:
            terms["kl"] = drawn.divergence
        weights = {"adversarial": self.adversarial_weight, "kl": self.beta}
        total = sum((weights.get(name, self.calibration_weight) * term for name, term in terms.items()), start=0.0)
        terms["cross_entropy"] = self._cross_entropy(drawn.calibration, batch)
        return Loss(torch.as_tensor(total), {name: term.detach() for name, term in terms.items()})

    def discriminator_loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """Telling readers' masks from draws (eq. 4), with the R1 penalty by the readers' mask planes."""
        fake = self._scores_of_draws(self._drawn(batch, generator).logits.detach().softmax(2), batch)
        image, mask = batch.pairs()
        with full_precision(image):
            real = one_hot(mask, self.classes).requires_grad_()
            scores = self.discriminator(real, image[:, : self.seen].float())
            penalty = gradient_penalty(scores, real)
        telling = telling_loss(scores, fake)
        terms = {"telling": telling, "penalty": penalty, "real": scores.mean(), "fake": fake.mean()}
        return Loss(telling + self.penalty * penalty, {name: term.detach() for name, term in terms.items()})

    def _with_draws(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The batch with draws that both players look at: the generator learns from them, then the discriminator."""
        return replace(batch, shared=self._drawn(batch, generator))

    def _drawn(self, batch: Batch, generator: torch.Generator) -> "Drawn":
        """The batch's draws, made now unless they are there already."""
        if batch.shared is not None:
            return batch.shared
        with torch.no_grad(), evaluating(self.calibrator):  # F stands still while the others learn
            calibration = self._calibration_logits(batch.image).float()
        target = calibration.softmax(1)
        z, divergence = self._noise(batch, target, generator)
        logits = self.refiner(self._conditions(batch.image, target), z).float()
        return Drawn(calibration, target, logits, divergence)

    def _calibration_logits(self, image: Tensor) -> Tensor:
        return self.calibrator(image if self.segmenter == "own" else image[:, self.seen :])

    def _conditions(self, image: Tensor, planes: Tensor) -> Tensor:
        """Class planes [B, K, H, W] and the image's own channels, as generator and encoder see them."""
        return torch.cat((planes, image[:, : self.seen]), 1)

    def _noise(self, batch: Batch, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """z [B, S, D], and the KL divergence that a vae without calibration pays (mean over masks, nats).

        S is `samples` for the calibration loss; without it each reader's mask has the one draw.
        """
        draws = self.samples if self.calibration == "mean" else batch.mask.shape[1]
        if self.encoder is None or self.calibration == "mean":
            latent = self.prior_of(batch.image, target)
            return latent.draw(latent.noise(draws, generator)), None
        q = self.posterior_of(*batch.pairs())
        z = q.draw(q.noise(1, generator)).unflatten(0, (-1, draws)).squeeze(2)
        return z, kl(q, standard_normal(self.shape, len(q), q.loc), generator).mean()

    def _regularisers(self, drawn: "Drawn", planes: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What holds draws, and their class probabilities `planes`, to the readers, by name; nothing for a plain GAN."""
        if self.calibration == "mean":
            anywhere = counted(batch.mask).any(1)
            return {"calibration": calibration_loss(planes.mean(1), drawn.target, anywhere)}
        if self.calibration == "cross-entropy":
            found = mean_cross_entropy(drawn.logits.flatten(0, 1), batch.mask.flatten(0, 1))
            return {"draws_cross_entropy": found.mean()}
        return {}

    def _scores_of_draws(self, planes: Tensor, batch: Batch) -> Tensor:
        """D's scores [B * S] of draws [B, S, K, H, W], each with a reader's ignored pixels zeroed as in the reader's mask."""
        draws = planes.shape[1]
        reader = torch.arange(draws, device=planes.device) % batch.mask.shape[1]
        planes = planes * counted(batch.mask)[:, reader].unsqueeze(2)
        image = batch.image[:, : self.seen].repeat_interleave(draws, 0)
        return self.discriminator(planes.flatten(0, 1), image)

    def _cross_entropy(self, logits: Tensor, batch: Batch) -> Tensor:
        readers = batch.mask.shape[1]
        return mean_cross_entropy(logits.repeat_interleave(readers, 0), batch.mask.flatten(0, 1)).mean()


@dataclass(frozen=True)
class Drawn:
    """What both players look at: F's logits and class probabilities [B, K, H, W], without gradients; the generator's
    logits [B, S, K, H, W]; the KL divergence that a vae without calibration pays. All float32.
    """

    calibration: Tensor
    target: Tensor
    logits: Tensor
    divergence: Tensor | None


class Refined(SampledPredictive):
    """Masks drawn by the generator, and the calibration net's class probabilities [B, K, H, W]."""

    def __init__(self, target: Tensor, prior: Latent, prepared: Prepared, refiner: Refiner):
        self.target, self.prior, self.prepared, self.refiner = target, prior, prepared, refiner

    def pixelwise(self) -> Tensor:
        """The calibration net's class probabilities: the uncertainty of each pixel without a draw."""
        return self.target

    def chunks(self, n: int, generator: torch.Generator | None, tied: bool) -> Iterator[Tensor]:
        """Logits of n draws, some at a time; all noise is drawn first, so the chunks' size changes nothing."""
        z = self.prior.draw(self.prior.noise(n, generator, tied=tied)).expand(len(self.target), -1, -1)
        for some in z.split(DRAWS_A_CHUNK, 1):
            yield self.decode(some)

    def decode(self, z: Tensor) -> Tensor:
        """Logits [B, S, K, H, W] of z [B, S, D]."""
        return self.refiner.decode(self.prepared, z)


class _Given(nn.Module):
    """Class probabilities [B, K, H, W] as logits: they stand in F's place."""

    def forward(self, probabilities: Tensor) -> Tensor:
        return probabilities.float().clamp_min(FLOOR).log()


def _channels_of_image(channels: int, classes: int, segmenter: str) -> int:
    """How many of the input's channels are the image itself."""
    if segmenter == "own":
        return channels
    if channels <= classes:
        raise UsageError(
            f"Option segmenter = {segmenter!r} needs another segmenter's probabilities of the {classes} classes after the "
            f"image's channels, but there are {channels} channels in all: preprocess the data with probabilities."
        )
    return channels - classes


def _black_box(classes: int, width: int) -> nn.Module:
    """Five blocks of 3x3 convolution, BatchNorm and leaky ReLU on stored class probabilities (appendix A.4)."""
    layers: list[nn.Module] = []
    for number in range(BLACK_BOX_BLOCKS):
        inputs = width if number else classes
        layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU()]
    return nn.Sequential(*layers)
