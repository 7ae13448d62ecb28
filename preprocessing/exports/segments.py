"""Masks with a label, as the exports to DICOM and to Slicer write them, and their place in the file's own voxels."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # training machines have no nibabel
    from ..volumes.grid import Grid

COLOURS = ("#4cc9f0", "#f9c74f", "#f94144", "#90be6d", "#f3722c", "#b388eb", "#ff8fab", "#43aa8b")  # of hypotheses
CATEGORY = ("49755003", "SCT", "Morphologically Abnormal Structure")  # DICOM PS3.16 CID 7150
LESION = ("52988006", "SCT", "Lesion")  # CID 7159
LEARNED = ("123110", "DCM", "Artificial Intelligence")  # CID 7162
SERIES = {  # by kind of object: its number, above what scanners count up to, and what a PACS shows as its description
    "SEG": (9000, "AI: possible lesion outlines - research only"),
    "SR": (9001, "AI: lesion sizes and probabilities - research only"),
    "PM": (9002, "AI: probability of lesion per voxel - research only"),
    "SC": (9003, "AI: lesion outlines and sizes, pictures - research only"),
}


Box = tuple[slice, slice, slice]
Placed = tuple[Box, NDArray]  # a box and what lies in it, along (i, j, k)


@dataclass(frozen=True)
class Segment:
    """One mask of a lesion, in a box of the scan's display orientation.

    Attributes:
        label: Short, such as "Hypothesis 2, 31 %".
        description: May be a sentence.
        box: The slices (z, y, x) of the volume's array.
        mask: [Z, Y, X] of the box's shape: bool, or float32 from 0 to 1 for a fractional segment.
        colour: Which of `COLOURS` it has, from 0; they repeat. None: by its place among the segments of its file.
    """

    label: str
    description: str
    box: tuple[slice, slice, slice]
    mask: NDArray
    colour: int | None = None


@dataclass(frozen=True)
class NewSeries:
    """A new DICOM series of one prediction. All of its objects of one kind share it.

    Attributes:
        uid: The SeriesInstanceUID.
        number: The SeriesNumber.
        description: The SeriesDescription, which says "research only".

    Example:
        >>> NewSeries.of("SEG").description
        'AI: possible lesion outlines - research only'
    """

    uid: str
    number: int
    description: str

    @classmethod
    def of(cls, kind: str) -> "NewSeries":
        """A series of a kind of object (a key of `SERIES`) with a new UID (2.25 and a random UUID) at every call."""
        from pydicom.uid import generate_uid

        return cls(generate_uid(prefix=None), *SERIES[kind])


def in_file_order(segment: Segment, grid: "Grid") -> Placed:
    """A segment's box and mask along the axes (i, j, k) of the file, instead of the display's (z, y, x).

    The axes of the display are the file's permuted and flipped, so nothing outside the box is touched.
    """
    turn = np.rint(np.linalg.solve(grid.affine, grid.display_affine)).astype(int)  # (x, y, z, 1) to (i, j, k, 1)
    shown = [int(axis) for axis in np.abs(turn[:3, :3]).argmax(1)]  # the display's axis of each of the file's
    mask = segment.mask.transpose(2, 1, 0).transpose(shown)
    box = []
    for own, axis in enumerate(shown):
        start, stop, _ = segment.box[2 - axis].indices(grid.shape[own])
        if turn[own, axis] < 0:
            last = int(turn[own, 3])
            start, stop = last + 1 - stop, last + 1 - start
            mask = np.flip(mask, own)
        box.append(slice(start, stop))
    return (box[0], box[1], box[2]), mask


def plain(text: str, length: int) -> str:
    """A text that any DICOM or NRRD header can hold: printable ASCII without backslashes, cut to a length."""
    return re.sub(r"[^ -~]|\\", "?", text)[:length].strip()
