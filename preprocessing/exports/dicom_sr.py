"""DICOM Structured Reports of measurements (PS3.16 TID 1500) of a scan that was read from DICOM.

Each group of measurements belongs to one segment of a SEG (TID 1411), or to a lesion as a whole (TID 1501). Names, units and
derivations are coded. What no standard scheme names has a code of the private scheme `99AMBISEG`.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage, generate_uid

from ..scans.dicom.dicom_scan import DicomScan
from ..scans.scan import Scan
from .dicom_source import dicom_of, origin, read_source, save_derived, study_of, tracking_uid
from .segments import CATEGORY, LEARNED, LESION, NewSeries, plain

if TYPE_CHECKING:
    from highdicom.sr import (
        Measurement,
        MeasurementReport,
        MeasurementsAndQualitativeEvaluations,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    Group = MeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations

Coded = tuple[str, str, str]  # value, scheme, meaning
OWN = "99AMBISEG"  # the private scheme
PROCEDURE = ("363679005", "SCT", "Imaging procedure")
USE = ("USE", OWN, "Intended use")
RESEARCH = ("RESEARCH", OWN, "For research use only")


@dataclass(frozen=True)
class Number:
    """A measurement.

    Attributes:
        name: What is measured.
        value: The number, in `unit`.
        unit: A code of UCUM.
        derivation: How the number stems from several, such as their median; None where it does not.
        method: How it is measured.
        below, above: How far the ends of its interval lie below and above it; None where it has no interval.
    """

    name: Coded
    value: float
    unit: Coded
    derivation: Coded | None = None
    method: Coded | None = None
    below: float | None = None
    above: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """A statement in words: a coded question with its coded answer."""

    name: Coded
    answer: Coded


@dataclass(frozen=True)
class Measured:
    """A group of measurements.

    Attributes:
        lesion: Number of the lesion, from 1, as in the SEG.
        label: What the group is about, in a few words.
        numbers: The measurements.
        evaluations: Statements in words.
        seg: The SEG's file, where the group is about one of its segments.
        segment: The number of this segment.
    """

    lesion: int
    label: str
    numbers: Sequence[Number]
    evaluations: Sequence[Evaluation] = ()
    seg: Path | None = None
    segment: int = 1


def write_dicom_sr(
    path: Path,
    scan: Scan,
    groups: Sequence[Measured],
    *,
    series: NewSeries,
    tracked: str,
    model: str,
    version: str,
) -> None:
    """Write measurements as an Enhanced SR of the scan's study, which refers to the SEGs.

    Args:
        path: The file to write.
        scan: The scan, read from DICOM files that still exist.
        groups: The measurements. Their SEGs are read for their UIDs.
        series: The new series.
        tracked: SeriesInstanceUID of the SEGs, from which the lesions' tracking UIDs are made.
        model: The model's name.
        version: The program's version.

    Raises:
        UsageError: The scan was not read from DICOM.
        DataError: Nothing can be derived from its files.
    """
    from highdicom.sr import EnhancedSR

    dicom = dicom_of(scan, "dicom-sr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on values of the source that break DICOM's rules, and may name the patient
        source = read_source(dicom)
        study = study_of(dicom)
        segs = {group.seg: _seg(group.seg) for group in groups if group.seg is not None}
        content = _report(dicom, groups, segs, tracked, plain(model, 64), plain(version, 64))
        report = EnhancedSR(
            evidence=[_evidence(seg, study) for seg in segs.values()],
            content=content[0],
            **origin(series, 1, model, version),
            is_complete=True,
        )
        report.CodingSchemeIdentificationSequence = [_own_scheme(version)]
        save_derived(path, source, report)


def read_seg_series(path: Path) -> str:
    """The SeriesInstanceUID of a SEG."""
    return str(_seg(path).SeriesInstanceUID)


def _seg(path: Path) -> Dataset:
    return pydicom.dcmread(path, specific_tags=["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"])


def _evidence(seg: Dataset, study: str) -> Dataset:
    """A SEG as highdicom wants to see what a report refers to: nobody's, in the study."""
    found = Dataset()
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(found, name, "")
    found.StudyDate = found.StudyTime = found.ReferringPhysicianName = ""
    found.StudyInstanceUID, found.SeriesInstanceUID = study, seg.SeriesInstanceUID
    found.SOPClassUID, found.SOPInstanceUID = SegmentationStorage, seg.SOPInstanceUID
    return found


def _own_scheme(version: str) -> Dataset:
    """What the private scheme is (PS3.3 C.12.1)."""
    found = Dataset()
    found.CodingSchemeDesignator, found.CodingSchemeName = OWN, "ambiseg"
    found.CodingSchemeVersion = plain(version, 16)
    found.CodingSchemeResponsibleOrganization = "The ambiseg developers"
    return found


def _report(
    dicom: DicomScan,
    groups: Sequence[Measured],
    segs: dict[Path, Dataset],
    tracked: str,
    model: str,
    version: str,
) -> "MeasurementReport":
    from highdicom.sr import (
        CodedConcept,
        DeviceObserverIdentifyingAttributes,
        MeasurementReport,
        ObservationContext,
        ObserverContext,
    )
    from pydicom.sr.codedict import codes

    device = DeviceObserverIdentifyingAttributes(
        uid=generate_uid(entropy_srcs=["ambiseg", version]),
        name="ambiseg",
        manufacturer_name="ambiseg",
        model_name=model,
    )
    observer = ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    return MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=CodedConcept(*PROCEDURE),
        title=codes.DCM.ImagingMeasurementReport,
        imaging_measurements=[_group(dicom, each, segs, tracked, model, version) for each in groups],
    )


def _group(
    dicom: DicomScan, group: Measured, segs: dict[Path, Dataset], tracked: str, model: str, version: str
) -> "Group":
    from highdicom.sr import (
        AlgorithmIdentification,
        CodedConcept,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        ReferencedSegment,
        SourceSeriesForSegmentation,
        TrackingIdentifier,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    make: Callable[..., Group] = MeasurementsAndQualitativeEvaluations
    if group.seg is not None:
        segment = ReferencedSegment(
            sop_class_uid=SegmentationStorage,
            sop_instance_uid=segs[group.seg].SOPInstanceUID,
            segment_number=group.segment,
            source_series=SourceSeriesForSegmentation(dicom.series_uid),
        )
        make = partial(VolumetricROIMeasurementsAndQualitativeEvaluations, referenced_segment=segment)
    said = [*group.evaluations, Evaluation(USE, RESEARCH)]
    return make(
        tracking_identifier=TrackingIdentifier(
            uid=tracking_uid(tracked, group.lesion), identifier=plain(group.label, 64)
        ),
        finding_type=CodedConcept(*LESION),
        finding_category=CodedConcept(*CATEGORY),
        algorithm_id=AlgorithmIdentification(
            name=plain(f"ambiseg {model}", 64), version=version, family=CodedConcept(*LEARNED)
        ),
        measurements=[_number(each) for each in group.numbers],
        qualitative_evaluations=[
            QualitativeEvaluation(CodedConcept(*each.name), CodedConcept(*each.answer)) for each in said
        ],
    )


def _number(number: Number) -> "Measurement":
    from highdicom.sr import CodedConcept, Measurement, MeasurementProperties

    apart = None
    if number.below is not None and number.above is not None:
        apart = MeasurementProperties(
            lower_measurement_uncertainty=number.below, upper_measurement_uncertainty=number.above
        )
    return Measurement(
        CodedConcept(*number.name),
        number.value,
        CodedConcept(*number.unit),
        derivation=None if number.derivation is None else CodedConcept(*number.derivation),
        method=None if number.method is None else CodedConcept(*number.method),
        properties=apart,
    )
