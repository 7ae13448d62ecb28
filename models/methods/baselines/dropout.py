"""Dropout U-Net (Kendall et al. 2015, as the baseline of Kohl et al. 2018, section 3.2): dropout stays on when drawing."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ...core.batch import Batch, Loss
from ...core.method import Method
from ...core.predictive import SampledPredictive
from ...core.randomness import kept
from ...nets.pixels import pairwise_cross_entropy
from ...nets.unet import UNet, halved, joined
from ..shared_options import KOHL, Convs, Norm, TwoLevels

INNERMOST = 3  # encoder blocks, and decoder blocks, whose inputs are dropped at most
DRAWS_A_CHUNK = 4  # fixed: the masks of a chunk are drawn together

Drop = Callable[[Tensor], Tensor]


class DropoutUNet(Method):
    """A U-Net with dropout on the inputs of its three innermost encoder and three innermost decoder blocks, in training
    and when drawing. A shallow net has fewer of them: the first encoder block, which reads the image, and the last decoder
    block never drop anything, unless the net has no other decoder block.
    """

    name = "dropout"
    summary = "Dropout U-Net: a draw is a dropout mask (Kohl et al. 2018, section 3.2)"
    references = (
        KOHL,
        "Kendall et al., Bayesian SegNet, 2015",
    )

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        widths: TwoLevels = (32, 64, 128, 192),
        convs: Convs = 3,
        norm: Norm = False,
        rate: Annotated[float, Field(gt=0, lt=1, description="probability that an activation is dropped")] = 0.5,
    ):
        super().__init__()
        self.channels, self.classes, self.rate = channels, classes, rate
        self.dropped = min(INNERMOST, len(widths) - 1)
        self.decoder_dropped = min(INNERMOST, max(1, len(widths) - 2))
        self.unet = UNet(channels, widths, convs, norm)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> "DropoutPredictive":
        """The predictive distribution for images [B, C, H, W]; the levels above the first dropout run once."""
        return DropoutPredictive(self._outer(image), self._inner, self.rate)

    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """Cross-entropy summed over pixels, mean over images and readers; one dropout mask an image."""
        drop = partial(dropout, rate=self.rate, generator=generator)
        logits = self._inner(self._outer(batch.image), drop).unsqueeze(1)
        cross_entropy = pairwise_cross_entropy(logits, batch.mask).mean()
        return Loss(cross_entropy, {"cross_entropy": cross_entropy.detach()})

    def _outer(self, image: Tensor) -> list[Tensor]:
        """Features of the levels above the first dropout, finest first."""
        levels = [self.unet.encoder.blocks[0](image)]
        for block in self.unet.encoder.blocks[1 : -self.dropped]:
            levels.append(block(halved(levels[-1])))
        return levels

    def _inner(self, levels: Sequence[Tensor], drop: Drop) -> Tensor:
        """Logits [B, K, H, W] from the outer levels, by the part of the net that dropout changes."""
        levels = list(levels)
        for block in self.unet.encoder.blocks[-self.dropped :]:
            levels.append(block(drop(halved(levels[-1]))))
        *skips, features = levels
        for number, (block, skip) in enumerate(zip(self.unet.decoder, reversed(skips), strict=True)):
            if (
                number < self.decoder_dropped
            ):  # the coarse features before they are upsampled: a quarter of the random numbers
                features, skip = drop(features), drop(skip)
            features = block(joined(features, skip))
        return self.head(features)


class DropoutPredictive(SampledPredictive):
    """Masks from dropout masks; `levels` are features [B, C, H, W] that no dropout has touched."""

    def __init__(self, levels: Sequence[Tensor], decode: Callable[[Sequence[Tensor], Drop], Tensor], rate: float):
        self.levels, self.decode, self.rate = levels, decode, rate

    def chunks(self, n: int, generator: torch.Generator | None, tied: bool) -> Iterator[Tensor]:
        """Logits of n draws, a few at a time: dropout masks are as large as the features, so they cannot all stand at once."""
        for start in range(0, n, DRAWS_A_CHUNK):
            draws = min(DRAWS_A_CHUNK, n - start)
            drop = partial(dropout, rate=self.rate, generator=generator, draws=draws, tied=tied)
            levels = [level.repeat_interleave(draws, 0) for level in self.levels]
            yield self.decode(levels, drop).unflatten(0, (-1, draws))


def dropout(
    features: Tensor, *, rate: float, generator: torch.Generator | None, draws: int = 1, tied: bool = False
) -> Tensor:
    """Features [B * draws, C, H, W] with each number zero at probability `rate`, else divided by 1 - rate.

    Draw number i of all images has the same zeros when `tied`. Unlike torch's own, it takes its randomness explicitly.
    """
    shape = (1 if tied else len(features) // draws, draws, *features.shape[1:])
    return (features.unflatten(0, (-1, draws)) * kept(shape, rate, generator, features)).flatten(0, 1)
