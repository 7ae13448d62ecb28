"""Overlap of masks: the one place where IoU, and what an empty mask means, is settled.

Conventions, everywhere in ambiseg:
- masks are label maps, 0 is background; the distance of two masks is d = 1 - IoU of their foreground;
- both masks empty: IoU = Dice = 1; only one of them empty: 0 (Kohl et al. 2018, appendix B);
- more than one foreground class: the mean over the classes present in at least one of the two masks, so that a class
  absent from both is left out (Kohl et al. 2018, appendix B, on Cityscapes); two wholly empty masks: 1;
- where only some classes are scored, the others are background: the mean is over the scored classes present in either
  mask, and two masks without any of them agree, IoU 1 (the refinement paper, appendix A.4, leaves such pairs out of the
  expectation; with d = 0 they keep GED a distance between distributions, the same for every image's weights);
- pixels that any mask compared ignores (`IGNORE`) are left out.

Masks may be images [N, H, W] or volumes [N, Z, Y, X]. All intersections come from one matrix product of flattened masks,
restricted to the pixels that any mask marks; counts below 2^24 are exact in float32.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.store import IGNORE

Matrix = NDArray[np.float64]
Ratio = Callable[[Matrix, Matrix], Matrix]


@dataclass(frozen=True)
class Overlaps:
    """All IoUs of one image, from which every distance is read.

    draws [S, S] among the model's masks; cross [S, R] between the model's masks and the readers'; readers [R, R].
    """

    draws: Matrix
    cross: Matrix
    readers: Matrix


def pairwise_iou(a: NDArray, b: NDArray | None = None) -> Matrix:
    """IoU of every mask in `a` [N, ...] with every mask in `b` [M, ...] (default: `a` itself) -> [N, M]."""
    return _pairwise(a, b, lambda both, total: both / (total - both))


def pairwise_dice(a: NDArray, b: NDArray | None = None) -> Matrix:
    """Dice coefficient of every mask in `a` [N, ...] with every mask in `b` [M, ...] (default: `a` itself) -> [N, M]."""
    return _pairwise(a, b, lambda both, total: 2 * both / total)


def overlaps(
    labels: NDArray,
    masks: NDArray,
    present: NDArray[np.bool_] | None = None,
    *,
    scored: Sequence[int] | None = None,
) -> Overlaps:
    """All IoUs of the model's masks and the readers' masks of one image; the arguments and errors of `comparable`."""
    labels, masks = comparable(labels, masks, present, scored=scored)
    iou = pairwise_iou(np.concatenate((labels, masks)))
    draws = len(labels)
    return Overlaps(iou[:draws, :draws], iou[:draws, draws:], iou[draws:, draws:])


def comparable(
    labels: NDArray,
    masks: NDArray,
    present: NDArray[np.bool_] | None = None,
    *,
    scored: Sequence[int] | None = None,
) -> tuple[NDArray, NDArray]:
    """What counts of the model's masks `labels` [S, ...] and the readers' `masks` [R, ...] of one image.

    Readers that are not `present` [R] are left out; pixels that any mask ignores are left out, [S, P] and [R, P] are then
    what remains; foreground classes that are not `scored` (None: all are) become 0. Arrays of which everything counts
    come back themselves. Raises DataError when no reader is left or the shapes differ.
    """
    masks = masks if present is None else masks[present]
    if len(masks) == 0:
        raise DataError("No reader read this image, so there is nothing to compare with: leave the image out.")
    if labels.shape[1:] != masks.shape[1:]:
        raise DataError(f"The model's masks are {labels.shape[1:]}, the readers' {masks.shape[1:]}: crop them alike.")
    if max(labels.max(initial=0), masks.max(initial=0)) == IGNORE:
        counted = (labels != IGNORE).all(0) & (masks != IGNORE).all(0)
        labels, masks = labels[:, counted], masks[:, counted]
    if scored is None:
        return labels, masks
    table = np.zeros(256, np.uint8)
    table[list(scored)] = scored
    return table[labels], table[masks]


def marked_pixels(masks: NDArray) -> NDArray:
    """Masks [N, ...] flattened to [N, P], with only the P pixels that some mask of them marks."""
    flat = masks.reshape(len(masks), -1)
    return flat[:, flat.any(0)]


def _pairwise(a: NDArray, b: NDArray | None, ratio: Ratio) -> Matrix:
    """Mean over foreground classes of ratio(intersection, sum of both areas); 1 where both masks are empty."""
    pixels = marked_pixels(a if b is None else np.concatenate((a, b)))
    scores = np.zeros((len(a), len(a if b is None else b)))
    classes = np.zeros_like(scores)
    most = int(pixels.max(initial=0))
    for label in range(1, 1 + most):
        of_class = pixels == label if most == 1 else marked_pixels(pixels == label)
        both, total = _areas(of_class[: len(a)], None if b is None else of_class[len(a) :])
        here = total > 0
        scores[here] += ratio(both[here], total[here])
        classes += here
    return np.divide(scores, classes, out=np.ones_like(scores), where=classes > 0)


def _areas(rows: NDArray[np.bool_], columns: NDArray[np.bool_] | None) -> tuple[Matrix, Matrix]:
    """Intersections [N, M] and sums of areas [N, M], in pixels, of binary masks [N, P] and [M, P] (None: the same)."""
    exact = np.float32 if rows.shape[1] < 2**24 else np.float64
    left: NDArray[Any] = rows.astype(exact)
    right: NDArray[Any] = left if columns is None else columns.astype(exact)  # numpy halves the work of x @ x.T
    total = left.sum(1, dtype=np.float64)[:, None] + right.sum(1, dtype=np.float64)
    return (left @ right.T).astype(np.float64), total
