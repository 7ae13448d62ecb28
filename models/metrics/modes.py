"""How probable a model finds each mask that can be drawn, where these masks (the modes) and their odds are known.

Each of the model's masks counts for the mode that it is nearest to, d = 1 - IoU as in `overlap`; modes at the same
distance share it, and a mask that overlaps none of them (d = 1) counts for none. Modes of one image that are the same
mask, as when a flip's class is absent from it, are one mode.
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
    """The probabilities [R] that masks `labels` [S, ...] with weights [S] (sum 1) give the modes [R, ...] of one image;
    what they lack to 1 is the probability of masks that are like no mode.

    Modes that are the same mask share its probability in proportion to their odds [R] (None: equally), since nothing in
    the image can tell them apart. scored: the foreground classes that count, None for all.
    """
    return mode_shares(
        overlaps(labels, modes, scored=scored), weights, equal_weights(len(modes)) if odds is None else odds
    )


def mode_shares(iou: Overlaps, weights: NDArray[np.float64], odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `mode_probabilities`, from the overlaps of the model's masks, with weights [S], and the modes, with odds [R]."""
    same = _same(iou)
    times = same.sum(1)
    nearest = (iou.cross >= iou.cross.max(1, keepdims=True) - TIE) / times  # a mask that is listed twice counts once
    nearest *= iou.cross.max(1, keepdims=True) > 0
    together = same @ (weights @ (nearest / np.maximum(nearest.sum(1, keepdims=True), TIE)))
    whole = same @ odds
    return together * np.divide(odds, whole, out=1 / times, where=whole > 0)


def mode_error(iou: Overlaps, weights: NDArray[np.float64], odds: NDArray[np.float64]) -> float:
    """Mean |p_model - p_true| over an image's distinct modes: 0 for a calibrated model.

    iou: the overlaps of the model's masks, with weights [S], and the modes, with odds [R].
    """
    same = _same(iou)
    distinct = same.argmax(1) == np.arange(len(same))
    return float(np.abs(same @ (mode_shares(iou, weights, odds) - odds))[distinct].mean())


def _same(iou: Overlaps) -> NDArray[np.float64]:
    """1 where two modes are the same mask, else 0, [R, R]."""
    return (iou.readers == 1).astype(np.float64)


@dataclass(frozen=True)
class Group:
    """The modes of the images of one group: mean odds `truth` [R] and mean model's probabilities `model` [R]."""

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
    """The groups of images by name, sorted: groups [N], odds `truth` and the model's probabilities `model` [N, R]."""
    names = np.array(groups)
    return {
        str(name): Group(int((names == name).sum()), truth[names == name].mean(0), model[names == name].mean(0))
        for name in np.unique(names)
    }
