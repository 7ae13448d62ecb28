"""Generalised energy distance between a model's masks and the readers' masks of one image.

Squared GED (Szekely & Rizzo 2013; Kohl et al. 2018, eq. 6), with d = 1 - IoU as `overlap` settles it:

    GED = 2 E d(s, y) - E d(s, s') - E d(y, y')        s, s' from the model; y, y' from the readers

Two estimators, and figures of one must never stand beside figures of the other:
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

    overlap: E d(s, y), at 0 when all agree; sample_diversity: E d(s, s'); reader_diversity: E d(y, y').
    draws, readers: how many independent draws stand behind each side; None: exact probabilities.
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
        """The unbiased U-statistic; nan with a single draw or a single reader, whose diversity nobody can know."""
        return 2 * self.overlap - self.ambiguity - without_self_pairs(self.reader_diversity, self.readers)


def ged(
    iou: Overlaps,
    weights: NDArray[np.float64] | None = None,
    *,
    draws: int | None,
    reader_weights: NDArray[np.float64] | None = None,
) -> GED:
    """GED of weighted masks (weights [S] that sum to 1; default: equal) against the readers' masks of one image.

    draws: how many independent draws the weights count, None for exact probabilities of the model's whole support.
    reader_weights [R]: known probabilities of the true masks (Kohl et al. 2018, appendix B); default: readers count
    alike and are themselves draws from the unknown population of readers.
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

    >>> equal_weights(4).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    return np.full(n, 1 / n)


def without_self_pairs(diversity: float, n: int | None) -> float:
    """Mean distance of two different ones of n draws, from the mean over all pairs; nan for a single draw.

    >>> without_self_pairs(0.375, 4)
    0.5
    """
    if n is None:
        return diversity
    return diversity * n / (n - 1) if n > 1 else float("nan")
