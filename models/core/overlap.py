"""Overlap of masks: the one place that defines IoU and the treatment of empty masks.

Conventions, everywhere in ambiseg:
- masks are label maps, 0 is background; the distance of two masks is d = 1 - IoU of their foreground;
- both masks empty: IoU = Dice = 1; only one of them empty: 0 (Kohl et al. 2018, appendix B);
- more than one foreground class: the mean over the classes present in at least one of the two masks, so that a class
  absent from both is left out (Kohl et al. 2018, appendix B, on Cityscapes); two wholly empty masks: 1;
- where only some classes are scored, the others are background: the mean is over the scored classes present in either
  mask, and two masks without any of them agree, IoU 1 (the refinement paper, appendix A.4, leaves such pairs out of the
  expectation; with d = 0 they keep GED a distance between distributions, the same for every image's weights);
- pixels that any mask compared ignores (`IGNORE`) are left out.

Masks may be images [N, H, W] or volumes [N, Z, Y, X], numpy arrays or tensors on any device; the tables of their overlaps
are numpy arrays. All intersections come from one matrix product of flattened masks, on the masks' device, and on a CPU of
the pixels alone that any mask marks; counts below 2^24 are exact in float32.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.store.store import IGNORE

from .arrays import AnyArray, Masks, beside, joined, on_host, only, reals

Matrix = NDArray[np.float64]
Ratio = Callable[[Matrix, Matrix], Matrix]


@dataclass(frozen=True)
class Overlaps:
    """All IoUs of one image, from which every distance is read.

    Attributes:
        draws: among the model's masks [S, S].
        cross: of the model's masks with the readers' [S, R].
        readers: among the readers' masks [R, R].
    """

    draws: Matrix
    cross: Matrix
    readers: Matrix


def pairwise_iou(a: Masks, b: Masks | None = None) -> Matrix:
    """IoU of every mask of one set with every mask of another.

    Args:
        a: masks [N, H, W] or [N, Z, Y, X].
        b: masks [M, ...] of the same shape; None: `a` itself.

    Returns:
        IoUs [N, M], 0 to 1.

    Example:
        >>> pairwise_iou(np.array([[[1, 1, 0, 0]], [[0, 0, 0, 0]]]), np.array([[[1, 0, 0, 0]]])).tolist()
        [[0.5], [0.0]]
    """
    return _pairwise(a, b, lambda both, total: both / (total - both))


def pairwise_dice(a: Masks, b: Masks | None = None) -> Matrix:
    """Dice coefficient of every mask of one set with every mask of another; arguments and axes as for `pairwise_iou`.

    Example:
        >>> pairwise_dice(np.array([[[1, 1, 0, 0]]]), np.array([[[1, 0, 0, 0]]])).round(3).tolist()
        [[0.667]]
    """
    return _pairwise(a, b, lambda both, total: 2 * both / total)


def overlaps(
    labels: Masks,
    masks: Masks,
    present: NDArray[np.bool_] | None = None,
    *,
    scored: Sequence[int] | None = None,
) -> Overlaps:
    """All IoUs of the model's masks and the readers' masks of one image; the arguments and errors of `comparable`."""
    return overlaps_of(*comparable(labels, masks, present, scored=scored))


def overlaps_of(labels: Masks, masks: Masks) -> Overlaps:
    """All IoUs of masks that `comparable` has reduced to what counts."""
    iou = pairwise_iou(joined(labels, masks))
    draws = len(labels)
    return Overlaps(iou[:draws, :draws], iou[:draws, draws:], iou[draws:, draws:])


def comparable(
    labels: Masks,
    masks: Masks,
    present: NDArray[np.bool_] | None = None,
    *,
    scored: Sequence[int] | None = None,
) -> tuple[Masks, Masks]:
    """The model's and the readers' masks of one image, reduced to what counts.

    Pixels that any mask ignores, and foreground classes that are not scored, become background in all masks. The readers'
    masks are moved to the device of the model's.

    Args:
        labels: the model's masks [S, ...].
        masks: the readers' masks [R, ...].
        present: which readers read the image [R]; the others are left out. None: all.
        scored: the foreground classes that count; None: all.

    Raises:
        DataError: no reader is left, or the shapes differ.
    """
    masks = masks if present is None else masks[present]
    if len(masks) == 0:
        raise DataError("No reader read this image, so there is nothing to compare with: leave the image out.")
    if labels.shape[1:] != masks.shape[1:]:
        sides = tuple(labels.shape[1:]), tuple(masks.shape[1:])
        raise DataError(f"The model's masks are {sides[0]}, the readers' {sides[1]}: crop them alike.")
    masks = beside(masks, labels)
    counted = counted_pixels(labels) & counted_pixels(masks)
    if not counted.all():
        labels, masks = labels * counted, masks * counted
    return (labels, masks) if scored is None else (only(labels, scored), only(masks, scored))


def counted_pixels(masks: Masks) -> Masks:
    """Which pixels [...] none of the masks [N, ...] ignores."""
    return (masks != IGNORE).all(0)


def marked_pixels(masks: AnyArray) -> AnyArray:
    """Masks [N, ...] flattened to [N, P], with only the P pixels that at least one of them marks."""
    flat = masks.reshape(len(masks), -1)
    return flat.take(np.flatnonzero(flat.any(0)), 1)


def marked_counts(masks: AnyArray) -> NDArray[np.intp]:
    """How many pixels or voxels each mask marks [N], of masks [N, ...]."""
    return np.array([np.count_nonzero(mask) for mask in masks], np.intp)


def _pairwise(a: Masks, b: Masks | None, ratio: Ratio) -> Matrix:
    """Mean over foreground classes of ratio(intersection, sum of both areas); 1 where both masks are empty."""
    pixels = _worth_counting(a if b is None else joined(a, b))
    scores = np.zeros((len(a), len(a if b is None else b)))
    classes = np.zeros_like(scores)
    most = int(pixels.max()) if 0 not in pixels.shape else 0
    for label in range(1, 1 + most):
        of_class = pixels == label if most == 1 else _worth_counting(pixels == label)
        both, total = _areas(of_class[: len(a)], None if b is None else of_class[len(a) :])
        here = total > 0
        scores[here] += ratio(both[here], total[here])
        classes += here
    return np.divide(scores, classes, out=np.ones_like(scores), where=classes > 0)


def _worth_counting(masks: Masks) -> Masks:
    """Masks [N, ...] flattened to [N, P]: the marked pixels; on a GPU all of them, as choosing costs more than it saves."""
    return marked_pixels(masks) if isinstance(masks, np.ndarray) else masks.flatten(1)


def _areas(rows: Masks, columns: Masks | None) -> tuple[Matrix, Matrix]:
    """Intersections [N, M] and sums of areas [N, M], in pixels, of binary masks [N, P] and [M, P] (None: the same)."""
    double = rows.shape[1] >= 2**24
    left = reals(rows, double=double)
    right = left if columns is None else reals(columns, double=double)  # numpy halves the work of x @ x.T
    both, *areas = (on_host(found).astype(np.float64) for found in (left @ right.T, left.sum(1), right.sum(1)))
    return both, areas[0][:, None] + areas[1]
