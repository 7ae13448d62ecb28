"""One outline per reader: nodules with more marks than four readers can have made are put right.

In fourteen of LIDC's nodules some reader outlined in two or three pieces (or twice) what another outlined at once. The
pieces of one reader are one reading of the lesion, so they are joined. No mark is dropped.
See docs/decisions/0002-more-than-four-marks.md.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .annotations import READERS, Mark, Nodule
from .contours import bounding_box, mark_volume

Reading = tuple[Mark, ...]  # the marks of one nodule that one reader made: nearly always one


def readings(nodule: Nodule) -> list[Reading]:
    """The nodule's marks by reader: one mark each, or, where there are more than four, four groups of marks.

    The database keeps the marks in the order of the reading sessions, so a reader's marks follow one another, and each
    reading station numbers nodules in its own style ("Nodule 003", "IL057_127736", "0"). Of all ways to cut the sequence
    into four, those that mix the fewest styles (lengths of the number) are taken, and of these the one whose four readers
    agree best: mean IoU of their volumes over all pairs.
    """
    if len(nodule.marks) <= READERS:
        return [(mark,) for mark in nodule.marks]
    volumes = _volumes(nodule.marks)

    def merit(cut: Sequence[slice]) -> tuple[int, float]:
        styles = sum(len({len(mark.nodule_id) for mark in nodule.marks[part]}) for part in cut)
        return -styles, _agreement([np.logical_or.reduce(volumes[part]) for part in cut])

    best = max(_cuts(len(nodule.marks)), key=merit)
    return [nodule.marks[part] for part in best]


def _agreement(masks: Sequence[NDArray[np.bool_]]) -> float:
    return float(np.mean([(one & other).sum() / (one | other).sum() for one, other in combinations(masks, 2)]))


def _cuts(marks: int) -> Iterator[list[slice]]:
    """All ways to cut a sequence of `marks` into four parts, none empty."""
    for inner in combinations(range(1, marks), READERS - 1):
        yield [slice(start, stop) for start, stop in zip((0, *inner), (*inner, marks), strict=True)]


def _volumes(marks: Sequence[Mark]) -> NDArray[np.bool_]:
    """The marks' masks [marks, slices, rows, columns] in one box."""
    box = bounding_box(line for mark in marks for line in mark.contours)
    masks = [mark_volume(mark, box) for mark in marks]
    heights = sorted(set().union(*masks))
    empty = np.zeros((box[0].stop - box[0].start, box[1].stop - box[1].start), bool)
    return np.array([[mask.get(z, empty) for z in heights] for mask in masks])
