"""What an object derived from a DICOM series takes over from its files: patient, study, places; nothing more."""

from collections.abc import Iterable, Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from .dicom import read_header, value_of
from .errors import DataError
from .nifti_grid import Grid
from .scan import DicomScan

# Copied as they stand, even where they break DICOM's rules: another value would be another patient or study.
PATIENT = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
STUDY = ("StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber")
PLACE = ("SOPClassUID", "FrameOfReferenceUID", "PositionReferenceIndicator", "SliceThickness")
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
IMAGE = (*PLACE, *LOSSY)
TEXTS = "SpecificCharacterSet"


def read_source(dicom: DicomScan) -> Dataset:
    """Patient, study, kind of image and frame of reference of a series, from the header of its first file.

    All files of a series share these. A series without a frame of reference is given one, the same at every call.
    Raises DataError when the file names no study, or two files are the same instance.
    """
    if len({each.sop_uid for each in dicom.slices}) < len(dicom.slices):
        raise DataError("Two images of the series have one SOPInstanceUID: expected one each; get the series again.")
    path = dicom.slices[0].path
    source = read_header(path, [TEXTS, *PATIENT, *STUDY, *IMAGE])
    value_of(source, "StudyInstanceUID", path)
    if not source.get("SOPClassUID"):
        source.SOPClassUID = value_of(source.file_meta, "MediaStorageSOPClassUID", path)
    if not source.get("FrameOfReferenceUID"):
        source.FrameOfReferenceUID = generate_uid(entropy_srcs=["ambiseg frame of reference", dicom.series_uid])
    return source


def copy_identity(source: Dataset, derived: Dataset) -> None:
    """Give a derived object its source's patient and study."""
    _copy(source, derived, (TEXTS, *PATIENT, *STUDY))


def thumbnails(dicom: DicomScan, grid: Grid, source: Dataset, slices: Iterable[int]) -> list[Dataset]:
    """Some slices of a scan as sources for highdicom: their UIDs and places, a single pixel, and nobody's name."""
    first = dicom.slices[0]
    gap_mm = float(np.linalg.norm(grid.affine[:3, 2]))
    found = []
    for k in slices:
        image = Dataset()
        for name in (*PATIENT, *STUDY):
            setattr(image, name, "")
        _copy(source, image, (*IMAGE, "StudyInstanceUID"))
        image.SeriesInstanceUID, image.SOPInstanceUID = dicom.series_uid, dicom.slices[k].sop_uid
        image.ImagePositionPatient = list(dicom.slices[k].position_mm)
        image.ImageOrientationPatient, image.PixelSpacing = list(first.orientation), list(first.spacing_mm)
        image.SpacingBetweenSlices = gap_mm
        if not image.get("SliceThickness"):
            image.SliceThickness = gap_mm
        image.Rows = image.Columns = 1
        found.append(image)
    return found


def _copy(source: Dataset, target: Dataset, names: Sequence[str]) -> None:
    for name in names:
        if source.get(name):
            target.add(source[name])
