"""The structures of a DICOM segmentation (SEG) or structure set (RTSTRUCT), as voxels of a scan.

Both say where they lie in a frame of reference (PS3.3, C.7.4.1). A SEG has voxels of its own, which must be the scan's; an
RTSTRUCT has closed outlines in planes, which must lie in the scan's slices.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from ...documents import shown
from ...errors import DataError, InputError
from ...volumes.volume import Volume
from .dicom_elements import text_of
from .dicom_files import check_whole, read_dataset, readable

ON_GRID = 0.05  # how far from the scan's voxels those of a SEG may lie, as a share of a voxel
LEAN = 0.1  # by how much the points of an outline may lie above one another, in slices
HALF = 0.5  # from which value a fractional SEG marks a voxel
LPS = np.diag([-1.0, -1, 1, 1])  # to RAS

Voxels = NDArray[np.intp]


@dataclass(frozen=True)
class Structures(ABC):
    """The structures of a file.

    Attributes:
        called: the file's name, for messages.
        content: its data set.
        names: of the structures, by their numbers (SegmentNumber, ROINumber).
    """

    called: str
    content: Dataset
    names: Mapping[int, str]

    @abstractmethod
    def frames(self, number: int) -> set[str]:
        """The UIDs of the frames of reference in which a structure lies; empty if none is given."""

    @abstractmethod
    def voxels(self, number: int, volume: Volume) -> Voxels:
        """The voxels [n, 3] (z, y, x) of a scan that a structure marks.

        Raises:
            DataError: it does not lie on the scan's voxels or slices.
        """


class Segmentation(Structures):
    """A DICOM SEG."""

    def frames(self, number: int) -> set[str]:
        """All segments share one frame of reference."""
        return {text_of(self.content, "FrameOfReferenceUID")} - {""}

    def voxels(self, number: int, volume: Volume) -> Voxels:
        """The voxels that a segment marks, of a fractional one those with a half or more."""
        import highdicom as hd

        found = hd.seg.Segmentation.from_dataset(self.content).get_volume(
            segment_numbers=[number], combine_segments=False, rescale_fractional=True, dtype=np.float32
        )
        own = np.argwhere(found.array[..., 0] >= HALF)
        to_scan = np.linalg.solve(volume.affine, LPS @ found.affine)
        steps = np.linalg.norm(to_scan[:3, :3], axis=0)  # of its voxels, in voxels of the scan
        places = (own @ to_scan[:3, :3].T + to_scan[:3, 3])[:, ::-1]
        nearest = np.rint(places).astype(np.intp)
        if np.abs(steps - 1).max() > ON_GRID or (len(own) and np.abs(places - nearest).max() > ON_GRID):
            raise DataError(f"{self.called} is not on the scan's voxels: resample it onto the scan.")
        return nearest


class StructureSet(Structures):
    """A DICOM RTSTRUCT."""

    def frames(self, number: int) -> set[str]:
        """Each structure says where it lies; older files say it once for all."""
        own = [text_of(each, "ReferencedFrameOfReferenceUID") for each in self._described(number)]
        shared = _items(self.content, "ReferencedFrameOfReferenceSequence")
        return {*own} - {""} or {text_of(each, "FrameOfReferenceUID") for each in shared} - {""}

    def voxels(self, number: int, volume: Volume) -> Voxels:
        """The voxels whose centres lie within an odd number of outlines, so that an outline within another cuts a hole.

        A structure that is too small to hold a voxel's centre marks the voxel at the middle of each outline.
        """
        slices = defaultdict(list)
        for points in self._outlines(number, volume):
            slices[round(float(points[:, 0].mean()))].append(points[:, 1:])
        found = [_filled(outlines, at, volume.array.shape[1:]) for at, outlines in sorted(slices.items())]
        if found and not sum(map(len, found)):
            found = [np.rint([[at, *points.mean(0)] for points in outlines]) for at, outlines in sorted(slices.items())]
        return np.concatenate([np.empty((0, 3)), *found]).astype(np.intp)

    def _outlines(self, number: int, volume: Volume) -> list[NDArray[np.float64]]:
        """The corners [P, 3] (z, y, x) of each outline in voxels of the scan."""
        outlines = []
        contours = [
            contour
            for each in _items(self.content, "ROIContourSequence")
            if int(each.ReferencedROINumber) == number
            for contour in _items(each, "ContourSequence")
        ]
        for contour in contours:
            if contour.ContourGeometricType != "CLOSED_PLANAR":
                raise DataError(
                    f"{self.called} has {shown(str(contour.ContourGeometricType))} in {shown(self.names[number])}: expected "
                    "closed outlines (CLOSED_PLANAR); choose another structure."
                )
            points = np.array(contour.ContourData, float).reshape(-1, 3) * [-1, -1, 1]
            if not len(points) or not np.isfinite(points).all():
                raise DataError(
                    f"{self.called} is damaged: expected three numbers for each corner of an outline; get it again."
                )
            places = np.linalg.solve(volume.affine, np.c_[points, np.ones(len(points))].T)[2::-1].T
            if np.ptp(places[:, 0]) > LEAN and len(volume.array) > 1:
                raise DataError(
                    f"{self.called} has outlines that do not lie in the scan's slices: draw it on this scan."
                )
            outlines.append(places)
        return outlines

    def _described(self, number: int) -> list[Dataset]:
        return [each for each in _items(self.content, "StructureSetROISequence") if int(each.ROINumber) == number]


def read_structures(path: Path) -> Structures:
    """The structures of a DICOM file.

    Raises:
        InputError: it is DICOM of another kind, or has no structure.
        DataError: it is damaged.
    """
    with readable(path):
        try:
            check_whole(path)
            content = read_dataset(path)
        except InvalidDicomError as error:
            raise DataError(f"{path.name} is cut short or damaged: get it again.") from error
        kind = text_of(content, "SOPClassUID")
        if kind == SegmentationStorage:
            items = _items(content, "SegmentSequence")
            names = {int(each.SegmentNumber): _name(each, "SegmentLabel") for each in items}
            found: Structures = Segmentation(path.name, content, names)
        elif kind == RTStructureSetStorage:
            items = _items(content, "StructureSetROISequence")
            names = {int(each.ROINumber): _name(each, "ROIName") for each in items}
            found = StructureSet(path.name, content, names)
        else:
            raise InputError(
                f"{path.name} is DICOM of another kind: expected a segmentation (SEG) or a structure set (RTSTRUCT)."
            )
    if not names:
        raise InputError(f"{path.name} holds no structure: expected at least one.")
    return found


def structure_voxels(path: Path, found: Structures, number: int, volume: Volume, frame: str) -> Voxels:
    """The voxels [n, 3] (z, y, x) of a scan that a structure marks.

    Args:
        path: the file from which `found` was read.
        found: its structures.
        number: of the structure.
        volume: the scan.
        frame: the UID of the scan's frame of reference; "" if it has none.

    Raises:
        DataError: the structure is empty, damaged, of another frame of reference, or does not lie on the scan.
    """
    with readable(path):
        frames = found.frames(number)
        if frame and frames and frame not in frames:
            raise DataError(
                f"{path.name} lies in another frame of reference than the scan: expected structures drawn on this scan, or "
                "resampled onto it."
            )
        voxels = found.voxels(number, volume)
    name = shown(found.names[number])
    if not len(voxels):
        raise DataError(f"{path.name} has nothing in {name}: expected at least one voxel; choose another structure.")
    if (voxels < 0).any() or (voxels >= volume.array.shape).any():
        raise DataError(f"{path.name} has {name} outside the scan: expected structures drawn on this scan.")
    return voxels


def _filled(outlines: Sequence[NDArray[np.float64]], at: int, shape: Sequence[int]) -> NDArray[np.float64]:
    """The voxels [n, 3] of slice `at` within an odd number of outlines [P, 2] (y, x)."""
    from matplotlib.path import Path as Outline

    corners = np.concatenate(outlines)
    low = (
        np.floor(corners.min(0)).clip(min=-1).astype(int)
    )  # a voxel beyond the scan on each side tells that it is left
    high = (np.ceil(corners.max(0)).clip(max=shape) + 1).astype(int)
    places = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), -1).reshape(-1, 2)
    inside = np.zeros(len(places), bool)
    for outline in outlines:
        inside ^= Outline(outline).contains_points(places) if len(outline) > 2 else False
    return np.c_[np.full(int(inside.sum()), at), places[inside]].astype(float)


def _items(content: Dataset, name: str) -> Sequence[Any]:
    return content.get(name) or ()


def _name(item: Dataset, element: str) -> str:
    return str(item.get(element) or "").strip()
