"""DICOM Segmentation objects (PS3.3 A.51) of a scan that was read from DICOM.

highdicom builds the object. It would need one array of all slices, rows, columns and segments, which can exceed a gigabyte.
So it is given a single pixel per frame, which says whether anything is marked there. The frames' own pixels are packed here,
one frame after the other.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ..scans.dicom.dicom_scan import DicomScan
from ..scans.scan import Scan
from ..volumes.grid import Grid
from .dicom_frames import frame_of, marked_slices, source_of
from .dicom_source import derivable, dicom_of, origin, read_source, save_derived, thumbnails, tracking_uid
from .segments import CATEGORY, COLOURS, LEARNED, LESION, NewSeries, Placed, Segment, in_file_order, plain

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

LEVELS = 255  # what a fractional segment stores for a probability of 1


def write_dicom_seg(
    path: Path,
    scan: Scan,
    segments: Sequence[Segment],
    *,
    fractional: bool = False,
    series: NewSeries,
    instance: int,
    model: str,
    version: str,
    lesion: int,
) -> None:
    """Write the segments of one lesion, numbered from 1 in their order, as a SEG of the scan's study.

    A segment without a voxel is listed and has no frame; when all are empty, each has one empty frame. SEGs of one lesion
    share a tracking UID.

    Args:
        path: The file to write.
        scan: The scan, read from DICOM files that still exist.
        segments: The masks.
        fractional: Whether the SEG is FRACTIONAL (PROBABILITY, in steps of 1/255) instead of BINARY.
        series: The new series, which all SEGs of one prediction share.
        instance: Number of this SEG in the series, from 1.
        model: The model's name.
        version: The program's version.
        lesion: Number of the lesion in the series, from 1.

    Raises:
        UsageError: The scan was not read from DICOM.
        DataError: No SEG can be derived from its files.
    """
    dicom = dicom_of(scan, "dicom-seg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on values of the source that break DICOM's rules, and may name the patient
        placed = [_stored(in_file_order(each, scan.grid), fractional) for each in segments]
        source = read_source(dicom)
        seg = _skeleton(
            dicom,
            scan.grid,
            source,
            placed,
            segment_descriptions=describe(segments, series, model, version, lesion),
            segmentation_type="FRACTIONAL" if fractional else "BINARY",
            content_label="PROBABILITY" if fractional else "HYPOTHESES",
            content_description=plain(series.description, 64),
            **origin(series, instance, model, version),
        )
        _fill(seg, dicom, scan.grid, placed)
        save_derived(path, source, seg)


def _stored(own: tuple[tuple[slice, slice, slice], NDArray], fractional: bool) -> Placed:
    box, mask = own
    if fractional:
        return box, np.rint(np.clip(mask, 0, 1) * LEVELS).astype(np.uint8)
    return box, mask.astype(bool, copy=False)


def _skeleton(dicom: DicomScan, grid: Grid, source: Dataset, placed: Sequence[Placed], **about: Any) -> "Segmentation":
    """The whole object, but each of its frames is a single pixel."""
    from highdicom.seg import Segmentation

    slices, marked = marked_slices(placed, len(dicom.slices))
    with derivable(source, "dicom-seg"):
        return Segmentation(
            source_images=thumbnails(dicom, grid, source, slices),
            pixel_array=marked[:, None, None, :],
            omit_empty_frames=bool(marked.any()),
            fractional_type="PROBABILITY",
            max_fractional_value=LEVELS,
            content_qualification="RESEARCH",
            **about,
        )


def _fill(seg: "Segmentation", dicom: DicomScan, grid: Grid, placed: Sequence[Placed]) -> None:
    """Replace the frames of a single pixel by those of the slices' size."""
    columns, rows, _ = grid.shape
    place = {each.sop_uid: k for k, each in enumerate(dicom.slices)}
    frames = [_segment_and_source(item) for item in seg.PerFrameFunctionalGroupsSequence]
    pixels = (frame_of(placed[segment], place[uid], (rows, columns)) for segment, uid in frames)
    seg.Rows, seg.Columns = rows, columns
    seg.PixelData = b"".join(_packed(pixels) if seg.BitsAllocated == 1 else (frame.tobytes() for frame in pixels))
    if len(seg.PixelData) % 2:
        seg.PixelData += b"\0"
    shared = _overlap(placed, {place[uid] for _, uid in frames}, (rows, columns))
    seg.SegmentsOverlap = "YES" if shared else "NO"


def _segment_and_source(item: Dataset) -> tuple[int, str]:
    """The segment of a frame, from 0, and the UID of the image under it."""
    return item.FrameContentSequence[0].DimensionIndexValues[0] - 1, source_of(item)


def _overlap(placed: Sequence[Placed], slices: Iterable[int], shape: tuple[int, int]) -> bool:
    """Whether two segments mark one voxel."""
    return any(np.sum([frame_of(each, k, shape) > 0 for each in placed], 0).max() > 1 for k in slices)


def _packed(frames: Iterable[NDArray[np.uint8]]) -> Iterator[bytes]:
    """Frames as bits, the first pixel in the lowest bit, without a gap between them: eight frames are whole bytes."""
    frames = iter(frames)
    while eight := list(islice(frames, 8)):
        yield np.packbits(np.stack(eight), bitorder="little").tobytes()


def describe(
    segments: Sequence[Segment], series: NewSeries, model: str, version: str, lesion: int
) -> list["SegmentDescription"]:
    """The segments' descriptions (PS3.3 C.8.20.4). All segments of one `lesion` in one `series` are tracked as one."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept

    algorithm = AlgorithmIdentificationSequence(
        name=plain(f"ambiseg {model}", 64), version=plain(version, 64), family=CodedConcept(*LEARNED)
    )
    found = []
    for number, segment in enumerate(segments, 1):
        colour = number - 1 if segment.colour is None else segment.colour
        each = SegmentDescription(
            segment_number=number,
            segment_label=plain(segment.label, 64),
            segmented_property_category=CodedConcept(*CATEGORY),
            segmented_property_type=CodedConcept(*LESION),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            tracking_id=f"lesion {lesion}",
            tracking_uid=tracking_uid(series.uid, lesion),
            display_color=CIELabColor.from_string(COLOURS[colour % len(COLOURS)]),
        )
        each.SegmentDescription = plain(segment.description, 1024)
        found.append(each)
    return found
