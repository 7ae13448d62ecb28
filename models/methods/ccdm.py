"""CCDM (Zbinden et al. 2023): diffusion on label maps. Masks become noise class by class, and a network leads them back."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ..core.batch import Batch, Loss
from ..core.bounds import MOST_LEVELS, MOST_PARTS
from ..core.method import Method
from ..core.predictive import SampledPredictive
from ..core.randomness import uniform
from ..nets.denoiser import Denoiser
from ..nets.latents import full_precision
from ..nets.pixels import counted, one_hot, pairwise_cross_entropy
from .shared_options import Blocks, Widths

OFFSET = 0.008  # of the cosine schedule
MOST_NOISE = 0.999  # that one step adds
TINY = 1e-12
DRAWS_A_CHUNK = 16  # fixed: their randomness is drawn together
PIXELS_A_PASS = 2**16  # of the masks that the network sees together


class CCDM(Method):
    """A chain of masks x_T, ..., x_0. Forwards, each step replaces some pixels' classes by random ones, until x_T is pure
    noise. The network guesses x_0 from x_t and the image, and so how to go one step backwards. A draw is such a way back.
    """

    name = "ccdm"
    summary = "Diffusion on label maps: each draw takes many passes of the network (Zbinden et al. 2023)"
    references = (
        "Zbinden et al., Stochastic Segmentation with Conditional Categorical Diffusion Models, ICCV 2023",
        "Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, NeurIPS 2021",
    )

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        noise_steps: Annotated[int, Field(ge=2, le=MOST_PARTS, description="steps T from a mask to pure noise")] = 250,
        draw_steps: Annotated[
            int, Field(ge=0, le=MOST_PARTS, description="steps of a draw, evenly spaced among the T; 0: all")
        ] = 0,
        widths: Widths = (32, 32, 64, 96, 128),
        blocks: Blocks = 2,
        attention: Annotated[int, Field(ge=0, le=MOST_LEVELS, description="lowest levels with self-attention")] = 2,
    ):
        super().__init__()
        self.channels, self.classes, self.noise_steps = channels, classes, noise_steps
        self.draw_steps = min(draw_steps or noise_steps, noise_steps)
        self.denoiser = Denoiser(channels, classes, widths, blocks, attention)
        self.kept: Tensor
        self.register_buffer("kept", torch.tensor(kept_shares(noise_steps)), persistent=False)

    def forward(self, image: Tensor) -> "WaysBack":
        """The predictive distribution for images [B, C, H, W]."""
        shares = kept_shares(self.noise_steps)
        steps = tuple((step, shares[step]) for step in draw_steps(self.noise_steps, self.draw_steps))
        return WaysBack(self.denoiser, self.denoiser.prepare(image), self.classes, steps)

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """KL( q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t, image) ) at a random t, summed over the pixels that count, mean over
        images and readers (Zbinden et al. 2023, eq. 11).
        """
        images, masks = batch.pairs()
        step = torch.randint(1, self.noise_steps + 1, (len(masks),), generator=generator, device=generator.device)
        step = step.to(masks.device)
        after, before = (self.kept[one][:, None, None, None] for one in (step, step - 1))
        counts = counted(masks)
        clean = one_hot(masks, self.classes) + ~counts.unsqueeze(1) / self.classes
        labels = drawn_classes(noisy_chances(clean, after), uniform(masks.shape, generator, clean))
        noisy = one_hot(labels, self.classes)
        logits = self.denoiser(self.denoiser.prepare(images), noisy, step)
        with full_precision(logits):
            guess = logits.float().softmax(1)
            wanted, found = (backwards(noisy, one, after, before) for one in (clean, guess))
            apart = torch.xlogy(wanted, wanted) - wanted * found.clamp_min(TINY).log()
            divergence = (apart.sum(1) * counts).sum((1, 2)).mean()
        surprise = pairwise_cross_entropy(logits.detach().unsqueeze(1), masks.unsqueeze(1)).mean()
        return Loss(divergence, {"divergence": divergence.detach(), "guess": surprise})


def kept_shares(steps: int) -> tuple[float, ...]:
    """For steps 0 to T, the share of pixels whose class is still the mask's own: the cosine schedule of Nichol and Dhariwal.

    Example:
        >>> [round(share, 3) for share in kept_shares(4)]
        [1.0, 0.847, 0.494, 0.144, 0.0]
    """
    cosines = [math.cos((step / steps + OFFSET) / (1 + OFFSET) * math.pi / 2) ** 2 for step in range(steps + 1)]
    shares = [1.0]
    for earlier, later in pairwise(cosines):
        shares.append(shares[-1] * max(later / earlier, 1 - MOST_NOISE))
    return tuple(shares)


def draw_steps(steps: int, count: int) -> tuple[int, ...]:
    """The steps that a draw of `count` steps takes back from T, and 0.

    Example:
        >>> draw_steps(10, 4)
        (10, 8, 5, 3, 0)
    """
    return tuple(-(-number * steps // count) for number in range(count, -1, -1))


def noisy_chances(clean: Tensor, kept: Tensor | float) -> Tensor:
    """q(x_t | x_0): class probabilities of noisy masks, from masks as planes [B, K, H, W] and the share `kept`."""
    return kept * clean + (1 - kept) / clean.shape[1]


def backwards(noisy: Tensor, guess: Tensor, after: Tensor | float, before: Tensor | float) -> Tensor:
    """Class probabilities of an earlier mask x_s, given x_t and a guess at x_0: the exact q(x_s | x_t, x_0), averaged over x_0.

    With L = q(x_t | x_s) for each class of x_s, and q(x_s | x_0) = b x_0 + (1 - b) / K, the posterior for x_0 = c is
    L_j (b [j = c] + (1 - b) / K) / Z_c. Its mean over c takes no loop over classes.

    Args:
        noisy: x_t [B, K, H, W], one-hot.
        guess: probabilities of the classes of x_0 [B, K, H, W].
        after: share kept at t.
        before: share kept at s, b in the formula; at s = 0 it is 1, and the result is the guess.

    Returns:
        [B, K, H, W].
    """
    classes = noisy.shape[1]
    likelihood = noisy_chances(noisy, after / before)
    noise = (1 - before) / classes
    share = guess / (before * likelihood + noise)
    return likelihood * (before * share + noise * share.sum(1, keepdim=True))


def drawn_classes(chances: Tensor, numbers: Tensor) -> Tensor:
    """Labels [B, H, W] drawn from class probabilities [B, K, H, W] at uniform numbers [B, H, W] in [0, 1)."""
    return (numbers.unsqueeze(1) >= chances[:, :-1].cumsum(1)).sum(1)


@dataclass(frozen=True)
class WaysBack(SampledPredictive):
    """Draws of whole masks, each a way from pure noise back to step 0.

    Attributes:
        denoise: prepared images [N, F, H, W], noisy masks [N, K, H, W] and a step [1] to logits [N, K, H, W].
        prepared: images as the denoiser prepared them [B, F, H, W].
        classes: K.
        steps: from T down to 0, each with the share of the pixels kept at it.
    """

    denoise: Callable[[Tensor, Tensor, Tensor], Tensor]
    prepared: Tensor
    classes: int
    steps: tuple[tuple[int, float], ...]

    def chunks(self, n: int, generator: torch.Generator | None, tied: bool) -> Iterator[Tensor]:
        """Logits of n draws: those of the network in the last step, whose most probable classes are the mask."""
        for start in range(0, n, DRAWS_A_CHUNK):
            yield self._draws(min(DRAWS_A_CHUNK, n - start), generator, tied)

    @torch.no_grad()
    def _draws(self, count: int, generator: torch.Generator | None, tied: bool) -> Tensor:
        images, _, height, width = self.prepared.shape

        def numbers() -> Tensor:
            shape = (1 if tied else images, count, height, width)
            return uniform(shape, generator, self.prepared).expand(images, -1, -1, -1).flatten(0, 1)

        labels = (numbers() * self.classes).long()
        for (step, after), (_, before) in pairwise(self.steps[:-1]):
            noisy = one_hot(labels, self.classes)
            guess = self._logits(noisy, step).softmax(1)
            labels = drawn_classes(backwards(noisy, guess, after, before), numbers())
        last = self._logits(one_hot(labels, self.classes), self.steps[-2][0])
        return last.unflatten(0, (images, count))

    def _logits(self, noisy: Tensor, step: int) -> Tensor:
        """The network's logits [B * S, K, H, W] for noisy masks, some at a time."""
        rows = max(1, PIXELS_A_PASS // noisy[0, 0].numel())
        image = torch.arange(len(self.prepared), device=noisy.device).repeat_interleave(
            len(noisy) // len(self.prepared)
        )
        now = torch.tensor([step], device=noisy.device)
        parts = zip(image.split(rows), noisy.split(rows), strict=True)
        return torch.cat([self.denoise(self.prepared[which], some, now).float() for which, some in parts])
