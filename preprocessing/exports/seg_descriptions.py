"""What DICOM calls the segments of a lesion: labels, codes, algorithm, tracking, colours (PS3.3 C.8.20.4)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydicom.uid import generate_uid

from .segments import CATEGORY, COLOURS, LESION, Segment, SegSeries, plain

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription

LEARNED = ("123110", "DCM", "Artificial Intelligence")  # PS3.16 CID 7162


def describe(
    segments: Sequence[Segment], series: SegSeries, model: str, version: str, lesion: int
) -> list["SegmentDescription"]:
    """The segments' descriptions, numbered from 1. All segments of one `lesion` in one `series` are tracked as one."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept

    algorithm = AlgorithmIdentificationSequence(
        name=plain(f"ambiseg {model}", 64), version=plain(version, 64), family=CodedConcept(*LEARNED)
    )
    found = []
    for number, segment in enumerate(segments, 1):
        each = SegmentDescription(
            segment_number=number,
            segment_label=plain(segment.label, 64),
            segmented_property_category=CodedConcept(*CATEGORY),
            segmented_property_type=CodedConcept(*LESION),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            tracking_id=f"lesion {lesion}",
            tracking_uid=generate_uid(entropy_srcs=[series.uid, f"lesion {lesion}"]),
            display_color=CIELabColor.from_string(COLOURS[(number - 1) % len(COLOURS)]),
        )
        each.SegmentDescription = plain(segment.description, 1024)
        found.append(each)
    return found
