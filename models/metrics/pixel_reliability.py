"""Whether a model's probabilities of single pixels agree with the share of readers who mark them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.overlap import counted_pixels
from .reliability import Bins, binned

LIKELY = 0.05  # foreground probability from which a pixel that no reader marks is looked at too


def pixel_reliability(
    marginal: NDArray[np.floating],
    masks: NDArray[np.uint8],
    truth: NDArray[np.float64],
    scored: Sequence[int] | None = None,
) -> tuple[Bins, Bins]:
    """Bins of all pixels of an image, and of those that a reader marks or the model finds likely to be marked.

    marginal [K, H, W]: the model's class probabilities; readers' masks [R, H, W] with weights [R] (sum 1). An event is a
    pixel and a foreground class (of the `scored` ones; None: all); pixels that a reader ignores are left out.
    """
    counted = counted_pixels(masks)
    classes = range(1, len(marginal)) if scored is None else scored
    probabilities = np.stack([marginal[label][counted] for label in classes])  # [classes, pixels]
    shares = np.stack([truth @ (masks[:, counted] == label) for label in classes])
    likely = (shares > 0).any(0) | (probabilities.sum(0) >= LIKELY)
    return binned(probabilities, shares), binned(probabilities[:, likely], shares[:, likely])
