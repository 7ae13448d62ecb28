"""The two sides of one image: the model's weighted masks and the readers' masks, and how they overlap."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Masks, on_host
from ..core.calibration import Calibration
from ..core.hypotheses import Hypotheses, rank
from ..core.overlap import Overlaps, comparable, overlaps
from .distances import GED, equal_weights, ged
from .outcomes import Outcome, outcome


@dataclass(frozen=True)
class Sides:
    """What is compared of one image, as `comparable` leaves it, on the host.

    labels [S, ...] with weights [S] (sum 1), `draws` as in `Atoms`; readers' masks [R, ...], or all masks that can be
    drawn with their `odds` [R]; iou: all of their overlaps; hypotheses: all that the model's masks make, none left out.
    """

    labels: NDArray[np.uint8]
    weights: NDArray[np.float64]
    draws: int | None
    masks: NDArray[np.uint8]
    odds: NDArray[np.float64] | None
    iou: Overlaps
    hypotheses: Hypotheses

    @property
    def truth(self) -> NDArray[np.float64]:
        """How much each of `masks` weighs [R]: its odds, or as much as any other."""
        return equal_weights(len(self.masks)) if self.odds is None else self.odds

    @cached_property
    def ged(self) -> GED:
        """Energy distance of the whole weighted sets."""
        return ged(self.iou, self.weights, draws=self.draws, reader_weights=self.odds)

    @cached_property
    def choices(self) -> Outcome:
        """What readers chose among all hypotheses."""
        return outcome(self.hypotheses, self.masks, self.truth)

    @property
    def outcome(self) -> Outcome:
        """What readers chose among the hypotheses that `predict` lists."""
        return self.choices.first()

    @property
    def disagree(self) -> bool:
        """Whether the masks of two readers (of positive odds) share nothing, as when one of them is empty: IoU 0."""
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
    calibration: Calibration | None = None,
) -> Sides:
    """The sides of an image: masks `labels` [S, H, W] with weights [S] (sum 1), and the readers' `masks` [R, H, W].

    draws: S for independent draws of equal weight, None for an exact support. odds [R]: the masks' probabilities where
    they are known. scored: the foreground classes that count, None for all. calibration: the model's, for the hypotheses'
    probabilities. The overlaps are computed where `labels` lie. Raises DataError when no reader is `present` [R].
    """
    here = comparable(labels, masks, present, scored=scored)
    iou = overlaps(*here)
    model, readers = map(on_host, here)
    hypotheses = rank(model, weights, top=len(model), draws=draws, iou=iou.draws)
    if calibration is not None:
        hypotheses = calibration.calibrated(hypotheses)
    return Sides(model, weights, draws, readers, odds, iou, hypotheses)
