"""The probability that a model gives each mask that can be drawn, where these masks (the modes) and their odds are known.

Each of the model's masks counts for its nearest mode, with d = 1 - IoU as in `core.overlap`. Modes at the same distance
share it, and a mask that overlaps none of them (d = 1) counts for none. Modes of one image that are the same mask, as when
the class of a flip is absent from it, are one mode.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.overlap import Overlaps, overlaps
from .distances import equal_weights

TIE = 1e-9


def mode_probabilities(
    labels: NDArray[np.uint8],
    weights: NDArray[np.float64],
    modes: NDArray[np.uint8],
    scored: Sequence[int] | None = None,
    *,
    odds: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """The probabilities that a model gives the modes of one image.

    Modes that are the same mask share its probability in proportion to their odds, since nothing in the image
    distinguishes them.

    Args:
        labels: the model's masks [S, ...].
        weights: of these masks [S], sum 1.
        modes: all masks that can be drawn [R, ...].
        scored: the foreground classes that count; None: all.
        odds: probabilities of the modes [R]; None: equal.

    Returns:
        Probabilities [R]. If their sum is below 1, the rest is the probability of masks that overlap no mode.

    Example:
        >>> one, other = np.array([[1, 0]], np.uint8), np.array([[0, 1]], np.uint8)
        >>> mode_probabilities(np.stack((one, other)), np.array([0.25, 0.75]), np.stack((other, one))).tolist()
        [0.75, 0.25]
    """
    return mode_shares(
        overlaps(labels, modes, scored=scored), weights, equal_weights(len(modes)) if odds is None else odds
    )


def mode_shares(iou: Overlaps, weights: NDArray[np.float64], odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `mode_probabilities`, from the overlaps of the model's masks (weights [S]) and the modes (odds [R])."""
    same = _same(iou)
    times = same.sum(1)
    nearest = (iou.cross >= iou.cross.max(1, keepdims=True) - TIE) / times  # a mask that is listed twice counts once
    nearest *= iou.cross.max(1, keepdims=True) > 0
    together = same @ (weights @ (nearest / np.maximum(nearest.sum(1, keepdims=True), TIE)))
    whole = same @ odds
    return together * np.divide(odds, whole, out=1 / times, where=whole > 0)


def mode_error(iou: Overlaps, weights: NDArray[np.float64], odds: NDArray[np.float64]) -> float:
    """Mean |p_model - p_true| over the distinct modes of an image; 0 for a calibrated model.

    Args:
        iou: the overlaps of the model's masks and the modes.
        weights: of the model's masks [S], sum 1.
        odds: probabilities of the modes [R], sum 1.
    """
    same = _same(iou)
    distinct = same.argmax(1) == np.arange(len(same))
    return float(np.abs(same @ (mode_shares(iou, weights, odds) - odds))[distinct].mean())


def _same(iou: Overlaps) -> NDArray[np.float64]:
    """1 where two modes are the same mask, else 0, [R, R]."""
    return (iou.readers == 1).astype(np.float64)


@dataclass(frozen=True)
class Group:
    """The modes of the images of one group.

    Attributes:
        cases: how many images.
        truth: mean odds of the modes [R].
        model: mean probabilities that the model gives them [R].
    """

    cases: int
    truth: NDArray[np.float64]
    model: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Mean |model - truth| over the modes."""
        return float(np.abs(self.model - self.truth).mean())

    def summary(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {
            "cases": self.cases,
            "truth": self.truth.tolist(),
            "model": self.model.tolist(),
            "mean_absolute_error": self.error,
        }


def by_group(groups: Sequence[str], truth: NDArray[np.float64], model: NDArray[np.float64]) -> Mapping[str, Group]:
    """The groups of images, sorted by name.

    Args:
        groups: the name of each image's group [N].
        truth: odds of the modes of each image [N, R].
        model: the probabilities that the model gives them [N, R].
    """
    names = np.array(groups)
    return {
        str(name): Group(int((names == name).sum()), truth[names == name].mean(0), model[names == name].mean(0))
        for name in np.unique(names)
    }
