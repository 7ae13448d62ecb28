"""DICOM series made on the spot: a real LIDC scan's UIDs and heights, invented pixels."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ambiseg.preprocessing.lidc.annotations import ScanRecord, scans


@pytest.fixture(scope="session")
def records() -> dict[int, ScanRecord]:
    return {scan.id: scan for scan in scans()}


@pytest.fixture
def scan(records: dict[int, ScanRecord]) -> ScanRecord:
    """One of them, of which slices are made."""
    return records[12]


@pytest.fixture(scope="session")
def write_series() -> Callable[..., list[Path]]:
    """A function that writes slices of a scan as DICOM files and returns their paths, in the order of `heights`."""
    return _write_series


@pytest.fixture(scope="session")
def slice_pixels() -> Callable[[tuple[int, int], float], NDArray[np.int16]]:
    """A function that gives the HU which `write_series` writes for a slice of a shape at a height."""
    return _pixels


def _pixels(shape: tuple[int, int], z: float) -> NDArray[np.int16]:
    """A smooth pattern, another one at every height."""
    y, x = np.indices(shape)
    return np.rint(-400 + 300 * np.sin(x / 17 + z) + 300 * np.cos(y / 23 - z)).astype(np.int16)


def _write_series(
    folder: Path,
    scan: ScanRecord,
    heights: Iterable[float],
    shape: tuple[int, int] = (512, 512),
    edit: Callable[[Dataset, int], None] | None = None,
) -> list[Path]:
    """`edit(dataset, index)` may change a data set before it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, z in enumerate(heights):
        dataset = _dataset(scan, float(z), index, shape)
        if edit is not None:
            edit(dataset, index)
        paths.append(folder / f"{index:06d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def _dataset(scan: ScanRecord, z: float, index: int, shape: tuple[int, int]) -> pydicom.Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[scan.series_uid, str(index), str(z)])
    dataset.Modality = "CT"
    dataset.PatientID = scan.patient
    dataset.StudyInstanceUID = scan.study_uid
    dataset.SeriesInstanceUID = scan.series_uid
    dataset.InstanceNumber = index + 1
    dataset.ImagePositionPatient = [-150.5, -140.25, z]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [scan.pixel_spacing_mm] * 2
    dataset.SliceThickness = scan.slice_thickness_mm
    dataset.Rows, dataset.Columns = shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = (_pixels(shape, z) + 1024).astype("<i2").tobytes()
    return dataset
