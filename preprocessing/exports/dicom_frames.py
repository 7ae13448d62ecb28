"""Frames of objects with many: highdicom is given a single pixel per frame, and the frames' own pixels are filled in later.

One array of all slices, rows and columns, let alone segments, can exceed a gigabyte.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from .segments import Placed


def marked_slices(placed: Sequence[Placed], slices: int) -> tuple[list[int], NDArray[np.bool_]]:
    """The slices on which any segment marks something, and which of the segments do [slices, segments].

    When none does it is the middle slice of the first box, as a SEG has at least one frame.
    """
    marked = np.zeros((slices, len(placed)), bool)
    for number, (box, values) in enumerate(placed):
        marked[box[2], number] = values.any((0, 1))
    found = [int(k) for k in np.flatnonzero(marked.any(1))]
    if not found:
        along = placed[0][0][2]
        found = [(along.start + along.stop) // 2]
    return found, marked[found]


def frame_of(placed: Placed, k: int, shape: tuple[int, int]) -> NDArray:
    """Slice k of a segment, [rows, columns]."""
    (i, j, along), values = placed
    frame = np.zeros(shape, values.dtype)
    if along.start <= k < along.stop:
        frame[j, i] = values[:, :, k - along.start].T
    return frame


def source_of(frame: Dataset) -> str:
    """The UID of the image under a frame, by the frame's functional groups."""
    return str(frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)
