"""The parts of a DICOM series that an object derived from it takes over: patient, study, places; nothing more."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import numpy as np
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.uid import generate_uid

from ..errors import DataError, UsageError
from ..files import whole_file
from ..scans.dicom.dicom_elements import Elements, elements_of
from ..scans.dicom.dicom_files import read_header
from ..scans.dicom.dicom_scan import DicomScan
from ..scans.scan import Scan
from ..volumes.grid import Grid
from .segments import NewSeries, plain

# Copied as they stand, byte for byte, even where they break DICOM's rules: another value would be another patient or study.
PATIENT = ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
STUDY = ("StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber")
TEXTS, PLACES = ("SpecificCharacterSet",), ("PositionReferenceIndicator",)
NO_SERIAL = "none"  # a program has no DeviceSerialNumber, but the attribute must have a value
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


def dicom_of(scan: Scan, what: str) -> DicomScan:
    """The DICOM series of a scan; raises UsageError where it came as another file. `what` needs it, such as "dicom-seg"."""
    if scan.dicom is None:
        raise UsageError(
            f"{scan.name} is no DICOM series, which the format {what} belongs to: leave out {what} of `formats`, or give the "
            "folder of DICOM files."
        )
    return scan.dicom


@contextmanager
def derivable(source: Dataset, what: str) -> Iterator[None]:
    """Raise DataError where highdicom knows no object of the format `what` that is derived from such images."""
    try:
        yield
    except KeyError as error:
        raise DataError(
            f"The series holds images of a kind ({source.SOPClassUID.name}) from which no {what} is derived: leave out "
            f"{what} of `formats`."
        ) from error


def save_derived(path: Path, source: Dataset, derived: Dataset) -> None:
    """Write an object with the identity of its source, whole or not at all."""
    copy_identity(source, derived)
    with whole_file(path) as aside:
        derived.save_as(aside, enforce_file_format=True)


def tracking_uid(seg_series: str, lesion: int) -> str:
    """The UID under which a lesion is tracked in the SEGs of a series, and in all that refers to them."""
    return str(generate_uid(entropy_srcs=[seg_series, f"lesion {lesion}"]))


def read_source(dicom: DicomScan) -> Dataset:
    """Patient, study, kind of image and frame of reference of a series; all of its files share these.

    Patient and study are read from the first file when they are needed, byte for byte; no scan keeps them. A series without
    a frame of reference is given one, the same at every call.

    Raises DataError when the file names no study, or two files are the same instance.
    """
    if len({each.sop_uid for each in dicom.slices}) < len(dicom.slices):
        raise DataError("Two images of the series have one SOPInstanceUID: expected one each; get the series again.")
    first = dicom.slices[0].elements
    source = read_header(first.path, [*TEXTS, *PLACES, *PATIENT, *STUDY, *LOSSY])
    elements_of(source, first.path, STUDY).needed("StudyInstanceUID")
    source.SOPClassUID = first.needed("SOPClassUID")
    source.FrameOfReferenceUID = first.text("FrameOfReferenceUID") or generate_uid(
        entropy_srcs=["ambiseg frame of reference", dicom.series_uid]
    )
    return source


def copy_identity(source: Dataset, derived: Dataset) -> None:
    """Give a derived object its source's patient, study and character set, and how its images were compressed.

    The bytes are the source's. pydicom writes them so only in a data set that counts as read from a file which is encoded as
    the new one: explicit, little endian.
    """
    places = PLACES if "FrameOfReferenceUID" in derived else ()
    for name in (*TEXTS, *places, *PATIENT, *STUDY, *LOSSY):
        element = source.get_item(name, keep_deferred=True)
        if element is not None and element.value:
            derived[element.tag] = _as_it_stands(element)
    correct_ambiguous_vr(derived, True)
    texts = derived.get("SpecificCharacterSet")
    derived.set_original_encoding(False, True, convert_encodings(texts) if texts else default_encoding)


def _as_it_stands(element: RawDataElement | DataElement) -> RawDataElement | DataElement:
    """An element of a file as it is written into another, padded where the file left that out."""
    if not isinstance(element, RawDataElement) or element.value is None:
        return element
    kind = dictionary_VR(element.tag)
    value = element.value + (b"\0" if kind == "UI" else b" ") * (len(element.value) % 2)
    return element._replace(VR=kind, value=value, length=len(value), is_implicit_VR=False, is_little_endian=True)


class Origin(TypedDict):
    """Where a derived object comes from, in highdicom's words: its series and the program that made it."""

    series_instance_uid: str
    series_number: int
    series_description: str
    sop_instance_uid: str
    instance_number: int
    manufacturer: str
    manufacturer_model_name: str
    software_versions: str
    device_serial_number: str


def origin(series: NewSeries, instance: int, model: str, version: str) -> Origin:
    """The origin of an object with a new UID: number `instance` of a series, made by a model in a version of the program."""
    return {
        "series_instance_uid": series.uid,
        "series_number": series.number,
        "series_description": plain(series.description, 64),
        "sop_instance_uid": generate_uid(prefix=None),
        "instance_number": instance,
        "manufacturer": "ambiseg",
        "manufacturer_model_name": plain(model, 64),
        "software_versions": plain(version, 64),
        "device_serial_number": NO_SERIAL,
    }


def study_of(dicom: DicomScan) -> str:
    """The StudyInstanceUID of a scan."""
    return dicom.slices[0].elements.text("StudyInstanceUID")


def thumbnails(dicom: DicomScan, grid: Grid, source: Dataset, slices: Iterable[int]) -> list[Dataset]:
    """Some slices of a scan as sources for highdicom: their UIDs and places, a single pixel, and nobody's name."""
    first = dicom.slices[0]
    gap_mm = float(np.linalg.norm(grid.affine[:3, 2]))
    thickness_mm = _thickness(first.elements) or gap_mm
    found = []
    for k in slices:
        image = Dataset()
        for name in (*PATIENT, *STUDY):
            setattr(image, name, "")
        image.SOPClassUID, image.FrameOfReferenceUID = source.SOPClassUID, source.FrameOfReferenceUID
        image.StudyInstanceUID = study_of(dicom)
        image.SeriesInstanceUID, image.SOPInstanceUID = dicom.series_uid, dicom.slices[k].sop_uid
        image.ImagePositionPatient = list(dicom.slices[k].position_mm)
        image.ImageOrientationPatient, image.PixelSpacing = list(first.orientation), list(first.spacing_mm)
        image.SpacingBetweenSlices, image.SliceThickness = gap_mm, thickness_mm
        image.Rows = image.Columns = 1
        found.append(image)
    return found


def _thickness(elements: Elements) -> float:
    """The slices' thickness in mm; 0 where the file gives none that can be read, or none above 0."""
    try:
        return max(elements.number("SliceThickness"), 0.0)
    except DataError:
        return 0.0
