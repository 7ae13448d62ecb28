"""The phantom's slices as DICOM files that look like the archive's, and say that they are synthetic."""

from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ..lidc.annotations import ScanRecord
from .shapes import PIXELS

INTERCEPT = -1024  # HU of a stored zero
PADDING = -2000  # stored outside the circle that the scanner reconstructs


def slice_dataset(scan: ScanRecord, number: int, pixels: NDArray[np.int16]) -> Dataset:
    """The data set of one CT slice: `number` is its InstanceNumber, 1 at the head; pixels [512, 512] as stored.

    Study, series, patient and geometry are LIDC's; SOP instance and frame of reference are made from them. As in the
    archive's GE scans, PixelPaddingValue is given unsigned although the pixels are signed.
    """
    z = float(scan.z_mm[len(scan.z_mm) - number])
    corner = -(PIXELS - 1) / 2 * scan.pixel_spacing_mm
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = instance_uid(scan, number)
    dataset.StudyDate = dataset.ContentDate = "20000101"
    dataset.StudyTime = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.Modality = "CT"
    dataset.Manufacturer = "ambiseg phantom"
    dataset.PatientName = dataset.PatientID = scan.patient
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.PatientIdentityRemoved = "YES"
    dataset.BodyPartExamined = "CHEST"
    dataset.SliceThickness = scan.slice_thickness_mm
    dataset.PatientPosition = "FFS"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = scan.study_uid, scan.series_uid
    dataset.StudyID = ""
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = [f"{corner:.6f}", f"{corner:.6f}", f"{z:.6f}"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["ambiseg phantom", scan.series_uid])
    dataset.PositionReferenceIndicator = ""
    dataset.SliceLocation = f"{z:.6f}"
    dataset.ImageComments = "SYNTHETIC: invented pixels, made by ambiseg phantom about real LIDC-IDRI contours"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelSpacing = [scan.pixel_spacing_mm, scan.pixel_spacing_mm]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.add_new("PixelPaddingValue", "US", PADDING & 0xFFFF)
    dataset.WindowCenter, dataset.WindowWidth = -600, 1600
    dataset.RescaleIntercept, dataset.RescaleSlope = INTERCEPT, 1
    dataset.PixelData = pixels.astype("<i2").tobytes()
    return dataset


def instance_uid(scan: ScanRecord, number: int, variant: str = "") -> str:
    """The SOPInstanceUID of a slice; another one for every `variant`."""
    return generate_uid(entropy_srcs=["ambiseg phantom", scan.series_uid, str(number), variant])


def write_slice(folder: Path, dataset: Dataset, name: str) -> Path:
    """Write a data set as `<folder>/<name>.dcm`, and return the path."""
    path = folder / f"{name}.dcm"
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path
