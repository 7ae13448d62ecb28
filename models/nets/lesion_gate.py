"""The net that estimates the probability that a reader marks nothing: a small residual classifier of the whole image.

It has residual blocks with BatchNorm (He et al. 2016, "Deep residual learning") from half the image's resolution on. Its
output is computed from the mean of the features over the image and their mean at its centre, where the lesion of a crop
lies. In prediction it can also see the image mirrored and turned, and average its probabilities. Weights are initialised as
torch does by default: below BatchNorm smaller ones move faster, and with He initialisation this net learns less in as many
steps (decision 0013).
"""

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.named_readers import ReaderShift
from .remembered import remembered

Views = Literal["one", "horizontal", "all"]
STEPS = ((1, 1), (2, 2), (4, 2), (4, 1))  # of each block: width as a multiple of the stem's, and stride


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm, added to their input (through a 1x1 convolution where the shapes differ).

    The 1x1 convolution sees each `stride`-th pixel. With a stride of its own it would be the same function, but on CPUs with
    AVX2 alone torch 2.13 then writes outside its memory in the backward pass of six channels or fewer, and ends the process.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, bias=False)
        self.stride = stride

    def forward(self, features: Tensor) -> Tensor:
        """[B, I, H, W] to [B, O, H / stride, W / stride], odd sizes rounded up."""
        return F.relu(self.body(features) + self.shortcut(features[..., :: self.stride, :: self.stride]))


class LesionGate(nn.Module):
    """Images [B, C, H, W] to the log odds [B], in float32, that a reader marks nothing.

    views: which views of an image are averaged in prediction, named as in `augment.flip`: the image itself, also mirrored
    left and right, or all eight. readers: how many are told apart by their names.
    """

    def __init__(self, channels: int, width: int, dropout: float, views: Views = "one", readers: int = 0):
        super().__init__()
        self.views = views
        stem = [nn.Conv2d(channels, width, 5, 2, padding=2, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        widths = [width, *(width * times for times, _ in STEPS)]
        blocks = [ResidualBlock(i, o, stride) for i, o, (_, stride) in zip(widths, widths[1:], STEPS, strict=False)]
        self.features = nn.Sequential(*stem, *blocks)
        self.dropout = nn.Dropout(dropout)
        self.odds = nn.Linear(2 * widths[-1], 1)
        self.by_reader = ReaderShift(2 * widths[-1], readers) if readers else None

    def forward(self, image: Tensor, readers: Tensor | None = None) -> Tensor:
        """The log odds of an empty mask for each image: of its own view in training, of the mean probability else.

        readers: whose mask, by the readers' numbers [B], or [B, M], which gives log odds [B, M]; None: one of the pool's.
        """
        if self.training or self.views == "one":
            return self._odds(self._seen(image), readers)
        views = self._seen_in_views(image).unbind(1)
        return torch.stack([self._odds(view, readers).sigmoid() for view in views]).mean(0).logit(1e-6)

    @remembered
    def _seen_in_views(self, image: Tensor) -> Tensor:
        """What is seen in each view [B, V, F]."""
        return torch.stack([self._seen(view) for view in _views(image, self.views)], 1)

    def _seen(self, image: Tensor) -> Tensor:
        """The features' means over the image and at its centre [B, F]."""
        features = self.features(image)
        return torch.cat((features.mean((2, 3)), _middle(features).mean((2, 3))), 1)

    def _odds(self, seen: Tensor, readers: Tensor | None) -> Tensor:
        if readers is not None and self.by_reader is not None:
            seen = self.by_reader(seen, readers)
        odds: Tensor = self.odds(self.dropout(seen)).squeeze(-1).float()
        return odds


def _views(image: Tensor, views: Views) -> Iterator[Tensor]:
    """The image, mirrored left and right, and for "all" also both upside down, and all four with the axes swapped."""
    for mirrored in (image, image.flip(-1)):
        yield mirrored
        if views == "all":
            yield mirrored.flip(-2)
            yield mirrored.transpose(-1, -2)
            yield mirrored.flip(-2).transpose(-1, -2)


def _middle(features: Tensor) -> Tensor:
    """The one or two central rows and columns of features [B, F, H, W]."""
    rows, columns = (slice((size - 1) // 2, size // 2 + 1) for size in features.shape[2:])
    return features[:, :, rows, columns]
