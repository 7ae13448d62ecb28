"""DICOM Secondary Captures (PS3.3 A.8): a picture in the study of a scan that was read from DICOM. Every PACS shows it."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ..scans.dicom.dicom_scan import DicomScan
from ..scans.scan import Scan
from .dicom_source import dicom_of, origin, read_source, save_derived, study_of
from .segments import Box, NewSeries, Segment, in_file_order, plain

PURPOSE = ("121322", "DCM", "Source image for image processing operation")  # PS3.16 CID 7202


def write_dicom_sc(
    path: Path,
    scan: Scan,
    picture: NDArray[np.uint8],
    shown: Box,
    *,
    title: str,
    series: NewSeries,
    instance: int,
    model: str,
    version: str,
) -> None:
    """Write a picture as a Secondary Capture, RGB, of the scan's study.

    Args:
        path: The file to write.
        scan: The scan, read from DICOM files that still exist.
        picture: uint8 [rows, columns, 3], axial, seen from the feet; it must name nobody.
        shown: The slices (z, y, x) of the volume that it shows, whose images it refers to.
        title: What it shows, in a few words.
        series: The new series, which all pictures of one prediction share.
        instance: Number of this picture in the series, from 1.
        model: The model's name.
        version: The program's version.

    Raises:
        UsageError: The scan was not read from DICOM.
        DataError: Nothing can be derived from its files.
    """
    from highdicom.sc import SCImage

    dicom = dicom_of(scan, "dicom-sc")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on values of the source that break DICOM's rules, and may name the patient
        source = read_source(dicom)
        made = SCImage(
            pixel_array=picture,
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            patient_orientation=("L", "P"),
            study_instance_uid=study_of(dicom),
            **origin(series, instance, model, version),
        )
        made.Laterality = ""  # it must be there, and is not known
        made.BurnedInAnnotation = "NO"  # of the patient's identity
        made.ImageComments = plain(f"{title} - research only", 10240)
        made.SourceImageSequence = _sources(dicom, source, scan, shown)
        save_derived(path, source, made)


def _sources(dicom: DicomScan, source: Dataset, scan: Scan, shown: Box) -> list[Dataset]:
    """References to the images that the shown part of the volume lies on."""
    from highdicom.sr import CodedConcept

    empty = np.zeros([each.stop - each.start for each in shown], bool)
    box, _ = in_file_order(Segment("", "", shown, empty), scan.grid)
    found = []
    for image in dicom.slices[box[2]]:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source.SOPClassUID, image.sop_uid
        reference.PurposeOfReferenceCodeSequence = [CodedConcept(*PURPOSE)]
        found.append(reference)
    return found
