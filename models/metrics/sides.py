"""The two sides of one image, the model's weighted masks and the readers' masks, and their overlaps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Masks, on_host
from ..core.calibration import Reweighting, reweighted
from ..core.hypotheses import Hypotheses, rank
from ..core.overlap import Overlaps, comparable, overlaps_of
from .distances import GED, equal_weights, ged
from .outcomes import Outcome, outcome


@dataclass(frozen=True)
class Sides:
    """The masks of one image that are compared, reduced by `comparable`, on the host.

    Attributes:
        labels: the model's masks [S, ...].
        weights: of these masks [S], sum 1.
        draws: as in `Atoms`.
        masks: the readers' masks [R, ...], or all masks that can be drawn.
        odds: probabilities of these masks [R], where they are known.
        iou: all overlaps.
        hypotheses: the model's, as `predict` lists them.
        left_out: the probability of the model's masks that are not among `labels`.
    """

    labels: NDArray[np.uint8]
    weights: NDArray[np.float64]
    draws: int | None
    masks: NDArray[np.uint8]
    odds: NDArray[np.float64] | None
    iou: Overlaps
    hypotheses: Hypotheses
    left_out: float = 0.0

    @property
    def truth(self) -> NDArray[np.float64]:
        """The weight of each of `masks` [R]: its odds where they are known, else equal weights."""
        return equal_weights(len(self.masks)) if self.odds is None else self.odds

    @cached_property
    def ged(self) -> GED:
        """Energy distance of the whole weighted sets."""
        return ged(self.iou, self.weights, draws=self.draws, reader_weights=self.odds)

    @cached_property
    def outcome(self) -> Outcome:
        """The readers' choices among the hypotheses."""
        return outcome(self.hypotheses, self.masks, self.truth)

    @property
    def disagree(self) -> bool:
        """Whether the masks of two readers (of positive odds) have IoU 0, as when one of them is empty."""
        here = self.truth > 0
        return bool((self.iou.readers[np.ix_(here, here)] == 0).any())


def both_sides(
    labels: Masks,
    weights: NDArray[np.float64],
    masks: NDArray[np.uint8],
    present: NDArray[np.bool_] | None = None,
    *,
    draws: int | None,
    odds: NDArray[np.float64] | None = None,
    scored: Sequence[int] | None = None,
    calibration: Reweighting | None = None,
    left_out: float = 0.0,
) -> Sides:
    """The two sides of an image. The overlaps are computed on the device of `labels`.

    Args:
        labels: the model's masks [S, H, W].
        weights: of these masks [S], sum 1.
        masks: the readers' masks [R, H, W].
        present: which readers read the image [R]; None: all.
        draws: S for independent draws of equal weight, None for an exact support.
        odds: probabilities of the readers' masks [R], where they are known.
        scored: the foreground classes that count; None: all.
        calibration: the model's, for the hypotheses and their probabilities.
        left_out: the probability of masks that the model has beside these.

    Raises:
        DataError: no reader is present.
    """
    here = comparable(labels, masks, present, scored=scored)
    iou = overlaps_of(*here)
    model, readers = map(on_host, here)
    believed, missing = reweighted(weights, model, calibration, left_out)
    hypotheses = rank(model, believed, draws=draws, left_out=missing, iou=iou.draws)
    return Sides(model, weights, draws, readers, odds, iou, hypotheses, left_out)


def relisted(sides: Sides, weights: NDArray[np.float64], left_out: float) -> Sides:
    """The same masks and readers with the hypotheses that other weights [S] of the masks, and a share left out, give."""
    hypotheses = rank(sides.labels, weights, draws=sides.draws, left_out=left_out, iou=sides.iou.draws)
    return replace(sides, hypotheses=hypotheses)
