"""Scans of one lesion as hospitals have them: NIfTI, NRRD, MetaImage and DICOM, on any grid."""

from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

CENTRE = np.array([4.0, -3.0, 12.0])
POINT = ("--at", "4,-3,12", "--draws", "60")
AFFINE = np.array([[-0.7, 0, 0, 42.0], [0, -0.9, 0, 30], [0, 0, 2, -20], [0, 0, 0, 1]])
SHAPE = (110, 80, 32)


def lesion(affine: np.ndarray = AFFINE, shape: tuple[int, ...] = SHAPE, size: float = 1) -> np.ndarray:
    """An ellipsoid in air, longest along a slanted axis, whose brightness falls from 400 HU outwards."""
    place = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3] - CENTRE
    along = place @ [0.6, 0.64, 0.48]
    distance = np.sqrt(np.maximum((place**2).sum(-1) - 0.6 * along**2, 0))
    return np.rint(np.maximum(400 - 140 * distance / size, -1000)).astype(np.int16)


def save(name: str, affine: np.ndarray = AFFINE, shape: tuple[int, ...] = SHAPE) -> str:
    image = nib.Nifti1Image(lesion(affine, shape), affine)
    if name.endswith((".nii", ".nii.gz")):
        nib.save(image, name)
    else:
        nib.save(image, "between.nii")
        sitk.WriteImage(sitk.ReadImage("between.nii"), name)
    return name


def save_dicom(
    folder: str,
    *,
    uid: str = "",
    number: int = 1,
    missing: int | None = None,
    size: float = 1,
    day: str = "",
    patient: str = "MRN-4711",
) -> str:
    """The lesion as a DICOM series of axial slices, stored from the head down."""
    array = lesion(size=size)
    Path(folder).mkdir(parents=True, exist_ok=True)
    series, study = uid or generate_uid(), generate_uid(entropy_srcs=[folder])
    for index in range(SHAPE[2]):
        if index == missing:
            continue
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.FrameOfReferenceUID = study
        dataset.PatientName, dataset.PatientID = "Doe^Jane", patient
        dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyTime = ""
        dataset.StudyDate = day
        dataset.StudyID = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
        dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "CT", number, SHAPE[2] - index
        dataset.ImagePositionPatient = [-42, -30, -20 + 2 * index]
        dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.9, 0.7]
        dataset.SliceThickness = 2
        dataset.Columns, dataset.Rows = SHAPE[:2]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        dataset.PixelData = array[:, :, index].T.astype("<i2").tobytes()
        dataset.save_as(Path(folder, f"{SHAPE[2] - index:03d}.dcm"), enforce_file_format=True)
    return folder
