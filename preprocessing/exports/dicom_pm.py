"""DICOM Parametric Maps (PS3.3 A.75) of a lesion's probability: the map that viewers show which show no fractional SEG."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ..scans.dicom.dicom_scan import DicomScan
from ..scans.scan import Scan
from ..volumes.grid import Grid
from .dicom_frames import frame_of, marked_slices, source_of
from .dicom_source import derivable, dicom_of, origin, read_source, save_derived, thumbnails
from .segments import NewSeries, Placed, Segment, in_file_order, plain

if TYPE_CHECKING:
    from highdicom.pm import ParametricMap

QUANTITY = ("110854", "DCM", "Fractional Probabilistic Segmentation")  # PS3.16 CID 7180
ANYWHERE = ("123037004", "SCT", "Body structure")
NOTHING = 0.5 / 255  # a slice without a probability above this has no frame, as in the fractional SEG


def write_dicom_pm(
    path: Path, scan: Scan, segment: Segment, *, series: NewSeries, instance: int, model: str, version: str
) -> None:
    """Write the probability of a lesion as a Parametric Map of 32-bit floats from 0 to 1.

    It has a frame, as large as the slice, for each slice on which any probability exceeds 1/510.

    Args:
        path: The file to write.
        scan: The scan, read from DICOM files that still exist.
        segment: The probability, float32 [Z, Y, X] in its box.
        series: The new series, which all maps of one prediction share.
        instance: Number of this map in the series, from 1.
        model: The model's name.
        version: The program's version.

    Raises:
        UsageError: The scan was not read from DICOM.
        DataError: No map can be derived from its files.
    """
    from highdicom import VOILUTTransformation
    from highdicom.pm import ParametricMap, RealWorldValueMapping
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    dicom = dicom_of(scan, "dicom-pm")
    placed = in_file_order(segment, scan.grid)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on values of the source that break DICOM's rules, and may name the patient
        source = read_source(dicom)
        slices, _ = marked_slices([(placed[0], placed[1] > NOTHING)], len(dicom.slices))
        mapping = RealWorldValueMapping(
            lut_label="PROBABILITY",
            lut_explanation="Probability that the voxel is lesion",
            unit=codes.UCUM.NoUnits,
            value_range=(0.0, 1.0),
            slope=1.0,
            intercept=0.0,
            quantity_definition=CodedConcept(*QUANTITY),
        )
        with derivable(source, "dicom-pm"):
            made = ParametricMap(
                source_images=thumbnails(dicom, scan.grid, source, slices),
                pixel_array=np.zeros((len(slices), 1, 1), np.float32),
                **origin(series, instance, model, version),
                contains_recognizable_visual_features=False,
                real_world_value_mappings=[mapping],
                voi_lut_transformations=[VOILUTTransformation(window_center=0.5, window_width=1.0)],
                content_label="PROBABILITY",
                content_description=plain(f"{segment.label} - research only", 64),
                content_qualification="RESEARCH",
            )
        made.ContentCreatorName = ""  # it must be there
        made.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [_anatomy()]
        _fill(made, dicom, scan.grid, placed)
        save_derived(path, source, made)


def _fill(made: "ParametricMap", dicom: DicomScan, grid: Grid, placed: Placed) -> None:
    """Replace the frames of a single pixel by those of the slices' size, in the order of the slices.

    dcmqi lays frames one above the other in the order of the file.
    """
    place = {each.sop_uid: k for k, each in enumerate(dicom.slices)}
    frames = sorted(made.PerFrameFunctionalGroupsSequence, key=lambda item: place[source_of(item)])
    for index, item in enumerate(frames, 1):
        item.FrameContentSequence[0].DimensionIndexValues = index
    columns, rows, _ = grid.shape
    made.PerFrameFunctionalGroupsSequence = frames
    made.Rows, made.Columns = rows, columns
    made.FloatPixelData = b"".join(_frame(placed, place[source_of(item)], (rows, columns)).tobytes() for item in frames)


def _anatomy() -> Dataset:
    """Where the frames lie, which the program does not know; some readers crash without it."""
    from highdicom.sr import CodedConcept

    found = Dataset()
    found.AnatomicRegionSequence, found.FrameLaterality = [CodedConcept(*ANYWHERE)], "U"
    return found


def _frame(placed: Placed, k: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Slice k of the map, [rows, columns], within 0 and 1."""
    return np.clip(frame_of(placed, k, shape), 0, 1).astype("<f4")
