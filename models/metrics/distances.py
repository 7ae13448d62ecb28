"""Generalised energy distance between a model's masks and the readers' masks of one image.

Squared GED (Szekely & Rizzo 2013; Kohl et al. 2018, eq. 6), with d = 1 - IoU as `core.overlap` defines it:

    GED = 2 E d(s, y) - E d(s, s') - E d(y, y')        s, s' from the model; y, y' from the readers

There are two estimators, and figures of one must never be compared with figures of the other:
- V-statistic, the papers': all pairs, self-pairs included. It is biased: with N draws and M readers
  E[GED_V(N, M)] = GED + E d(s, s') / N + E d(y, y') / M, so it falls as N grows though the model is the same;
- U-statistic: self-pairs left out, unbiased. Its mean is 0 for a perfect model (and then negative for about half of the
  images), if an image's readers are independent given the image; where images were chosen by what readers marked they are
  negatively dependent, and the least that a model can reach lies below 0 (docs/reference/metrics.md).

A self-pair has d = 0, so the unbiased terms are the biased ones times N / (N - 1) and M / (M - 1). A model's exact
support with its probabilities has no sampling error: its term is unbiased as it is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.overlap import Overlaps


@dataclass(frozen=True)
class GED:
    """Squared generalised energy distance of one image, by its three terms (all of them V-statistics).

    Attributes:
        overlap: E d(s, y), 0 if all masks agree.
        sample_diversity: E d(s, s') among the model's masks.
        reader_diversity: E d(y, y') among the readers' masks.
        draws: how many independent draws the model's side consists of; None: exact probabilities.
        readers: how many independent readers the other side consists of; None: exact probabilities.
    """

    overlap: float
    sample_diversity: float
    reader_diversity: float
    draws: int | None
    readers: int | None

    @property
    def v(self) -> float:
        """The V-statistic, as in the papers; depends on the number of draws."""
        return 2 * self.overlap - self.sample_diversity - self.reader_diversity

    @property
    def ambiguity(self) -> float:
        """Expected distance of two of the model's masks, without the self-pairs of draws; nan with a single draw."""
        return without_self_pairs(self.sample_diversity, self.draws)

    @property
    def u(self) -> float:
        """The unbiased U-statistic; nan with a single draw or a single reader, whose diversity cannot be known."""
        return 2 * self.overlap - self.ambiguity - without_self_pairs(self.reader_diversity, self.readers)


def ged(
    iou: Overlaps,
    weights: NDArray[np.float64] | None = None,
    *,
    draws: int | None,
    reader_weights: NDArray[np.float64] | None = None,
) -> GED:
    """Squared GED of a model's masks and the readers' masks of one image.

    Args:
        iou: all IoUs of S masks of the model and R masks of readers.
        weights: of the model's masks [S], sum 1; None: equal.
        draws: how many independent draws the weights count; None for exact probabilities of the model's whole support.
        reader_weights: known probabilities of the true masks [R] (Kohl et al. 2018, appendix B). None: readers count
            equally, and are themselves draws from the unknown population of readers.

    Returns:
        The terms, from which `v` and `u` follow.

    Example:
        >>> ones = np.ones((2, 2))
        >>> ged(Overlaps(draws=ones, cross=np.full((2, 2), 0.5), readers=ones), draws=2).v
        1.0
    """
    samples, readers = iou.cross.shape
    model = equal_weights(samples) if weights is None else weights
    truth = equal_weights(readers) if reader_weights is None else reader_weights
    return GED(
        overlap=float(model @ (1 - iou.cross) @ truth),
        sample_diversity=float(model @ (1 - iou.draws) @ model),
        reader_diversity=float(truth @ (1 - iou.readers) @ truth),
        draws=draws,
        readers=readers if reader_weights is None else None,
    )


def equal_weights(n: int) -> NDArray[np.float64]:
    """n equal weights that sum to 1.

    Example:
        >>> equal_weights(4).tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    return np.full(n, 1 / n)


def without_self_pairs(diversity: float, n: int | None) -> float:
    """Mean distance of two different draws.

    Args:
        diversity: the mean distance over all pairs of n draws, self-pairs included.
        n: how many draws; None: the diversity is exact as it is.

    Returns:
        The mean without self-pairs; nan for a single draw.

    Example:
        >>> without_self_pairs(0.375, 4)
        0.5
    """
    if n is None:
        return diversity
    return diversity * n / (n - 1) if n > 1 else float("nan")
