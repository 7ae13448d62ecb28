"""DICOM SEGs: the voxels come back, the headers contain what they must and no more, validators and viewers' readers agree."""

import logging
import tarfile
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, SegmentationStorage, generate_uid

from ambiseg.preprocessing.errors import DataError, UsageError
from ambiseg.preprocessing.exports.dicom_seg import write_dicom_seg
from ambiseg.preprocessing.exports.dicom_source import copy_identity, read_source
from ambiseg.preprocessing.exports.segments import COLOURS, NewSeries, Segment, in_file_order
from ambiseg.preprocessing.lidc.annotations import ScanRecord
from ambiseg.preprocessing.phantom.images import slice_dataset, write_slice
from ambiseg.preprocessing.scans.dicom.dicom_elements import text_of
from ambiseg.preprocessing.scans.dicom.dicom_scan import DicomScan
from ambiseg.preprocessing.scans.dicom.series import series_grid
from ambiseg.preprocessing.scans.dicom.series_images import read_slices
from ambiseg.preprocessing.scans.scan import Scan, open_scan
from ambiseg.preprocessing.volumes.volume import Volume
from tests.integration.dicom_tools import judged, needs_dciodvfy

WriteSeries = Callable[..., list[Path]]
SHAPE = (22, 27)  # rows, columns: a frame is no whole number of bytes
HEIGHTS = [2.5 * k - 30 for k in range(9)]
ABOUT = {"instance": 1, "lesion": 1, "model": "probunet-001", "version": "0.5.0"}
ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "upside down": (-1, 0, 0, 0, 1, 0),  # slices counted from the head
    "prone": (-1, 0, 0, 0, -1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "oblique": (0.9362934, 0.2896295, -0.1986693, -0.3129918, 0.9447025, -0.0978434),
}


@pytest.fixture
def record(records: dict[int, ScanRecord]) -> ScanRecord:
    return records[12]


def _open(folder: Path) -> Scan:
    with open_scan(folder) as scan:
        return scan


def _oriented(folder: Path, write_series: WriteSeries, record: ScanRecord, orientation: Sequence[float]) -> Scan:
    normal = np.cross(orientation[:3], orientation[3:])

    def turn(dataset: Dataset, index: int) -> None:
        dataset.ImageOrientationPatient = [f"{value:.7f}" for value in orientation]
        dataset.ImagePositionPatient = [
            f"{value:.6f}" for value in np.array([-90.5, -70.25, -30]) + 2.5 * index * normal
        ]
        dataset.PixelSpacing = [0.7, 0.6]

    write_series(folder, record, HEIGHTS, SHAPE, turn)
    return _open(folder)


def _phantom(folder: Path, record: ScanRecord, slices: int = 6) -> Scan:
    record = replace(record, z_mm=np.arange(slices) * 2.5)
    folder.mkdir()
    for number in range(1, slices + 1):
        write_slice(folder, slice_dataset(record, number, np.full((32, 32), number, np.int16)), f"{number:06d}")
    return _open(folder)


def _segments(shape: Sequence[int], count: int = 3, *, seed: int = 1, fractional: bool = False) -> list[Segment]:
    """Random masks in a box; the second one marks nothing."""
    rng = np.random.default_rng(seed)
    z, y, x = shape
    box = (slice(1, z - 2), slice(3, y - 1), slice(0, x - 4))
    size = [each.stop - each.start for each in box]
    found = []
    for number in range(count):
        mask = rng.random(size, np.float32) if fractional else rng.random(size) < 0.3
        mask = mask * (number != 1)
        mask[2] = 0  # a slice between that is left out
        found.append(Segment(f"Hypothesis {number + 1}, {30 - number} %", f"Rank {number + 1} of {count}", box, mask))
    return found


def _whole(segment: Segment, scan: Scan) -> NDArray:
    """The mask on the whole grid in the file's own order, [slices, rows, columns]."""
    array = np.zeros(scan.volume.array.shape, segment.mask.dtype)
    array[segment.box] = segment.mask
    return scan.grid.back(array).transpose(2, 1, 0)


def _by_pydicom(path: Path, scan: Scan) -> NDArray:
    """The stored values [segments, slices, rows, columns], frames laid by their position and segment number."""
    assert scan.dicom is not None
    seg = pydicom.dcmread(path)
    raw = np.frombuffer(seg.PixelData, np.uint8)
    if seg.BitsAllocated == 1:
        raw = np.unpackbits(raw, bitorder="little")
    frames = raw[: seg.NumberOfFrames * seg.Rows * seg.Columns].reshape(-1, seg.Rows, seg.Columns)
    found = np.zeros((len(seg.SegmentSequence), len(scan.dicom.slices), seg.Rows, seg.Columns), np.uint8)
    heights = np.array([each.position_mm for each in scan.dicom.slices])
    shared = seg.SharedFunctionalGroupsSequence[0]
    for frame, about in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        apart = np.linalg.norm(heights - np.array(about.PlanePositionSequence[0].ImagePositionPatient, float), axis=1)
        assert apart.min() < 1e-6
        assert frame.any()
        named = about if "SegmentIdentificationSequence" in about else shared
        number = named.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        found[number - 1, apart.argmin()] = frame
    return found


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_masks_come_back(
    tmp_path: Path, record: ScanRecord, write_series: WriteSeries, orientation: Sequence[float]
) -> None:
    scan = _oriented(tmp_path / "scan", write_series, record, orientation)
    segments = _segments(scan.volume.array.shape)
    path = tmp_path / "hypotheses.dcm"
    write_dicom_seg(path, scan, segments, series=NewSeries.of("SEG"), **ABOUT)
    expected = np.stack([_whole(each, scan) for each in segments])
    assert np.array_equal(_by_pydicom(path, scan), expected)
    assert scan.dicom is not None
    seg = hd.seg.segread(path)
    uids = [each.sop_uid for each in scan.dicom.slices]
    theirs = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    assert np.array_equal(theirs.transpose(3, 0, 1, 2), expected)
    assert seg.SegmentsOverlap == "YES"
    assert seg.pixel_array.shape == (seg.NumberOfFrames, *SHAPE)


@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_marked_voxels_lie_where_they_lay(
    tmp_path: Path, record: ScanRecord, write_series: WriteSeries, orientation: Sequence[float]
) -> None:
    scan = _oriented(tmp_path / "scan", write_series, record, orientation)
    segment = _segments(scan.volume.array.shape)[0]
    path = tmp_path / "hypotheses.dcm"
    write_dicom_seg(path, scan, [segment], series=NewSeries.of("SEG"), **ABOUT)
    volume = hd.seg.segread(path).get_volume(combine_segments=True, allow_missing_positions=True)
    marked = np.argwhere(np.asarray(volume.array) > 0)
    theirs = (marked @ volume.affine[:3, :3].T + volume.affine[:3, 3]) * [-1, -1, 1]  # LPS to RAS
    corner = [each.start for each in segment.box]
    ours = np.array([scan.volume.world(tuple(voxel)) for voxel in np.argwhere(segment.mask) + corner])
    assert len(theirs) == len(ours)
    from scipy.spatial import KDTree

    apart, nearest = KDTree(ours).query(theirs)
    assert apart.max() < 1e-3
    assert len(set(nearest)) == len(ours)


@pytest.mark.parametrize(
    "orientation", [ORIENTATIONS["oblique"], ORIENTATIONS["sagittal"]], ids=["oblique", "sagittal"]
)
def test_probabilities_come_back(
    tmp_path: Path, record: ScanRecord, write_series: WriteSeries, orientation: Sequence[float]
) -> None:
    scan = _oriented(tmp_path / "scan", write_series, record, orientation)
    segment = _segments(scan.volume.array.shape, 1, fractional=True)[0]
    segment.mask[0] = 0.001  # below half a step: no frame
    path = tmp_path / "probability.dcm"
    write_dicom_seg(path, scan, [segment], fractional=True, series=NewSeries.of("SEG"), **ABOUT)
    expected = _whole(segment, scan)
    assert np.array_equal(_by_pydicom(path, scan)[0], np.rint(expected * 255))
    assert scan.dicom is not None
    seg = hd.seg.segread(path)
    assert (seg.SegmentationType, seg.SegmentationFractionalType, seg.MaximumFractionalValue) == (
        "FRACTIONAL",
        "PROBABILITY",
        255,
    )
    uids = [each.sop_uid for each in scan.dicom.slices]
    theirs = seg.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)[..., 0]
    assert np.abs(theirs - expected).max() <= 0.5 / 255 + 1e-6


def test_a_single_slice_and_masks_apart(tmp_path: Path, record: ScanRecord, write_series: WriteSeries) -> None:
    write_series(tmp_path / "scan", record, [0.0], SHAPE)
    scan = _open(tmp_path / "scan")
    left, right = np.zeros((2, 1, *SHAPE), bool)
    left[0, 5:9, 2:6], right[0, 5:9, 20:23] = True, True
    box = (slice(0, 1), slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    path = tmp_path / "seg.dcm"
    write_dicom_seg(
        path, scan, [Segment("a", "", box, left), Segment("b", "", box, right)], series=NewSeries.of("SEG"), **ABOUT
    )
    assert np.array_equal(_by_pydicom(path, scan)[:, 0], [left[0], right[0]])
    assert pydicom.dcmread(path).SegmentsOverlap == "NO"


def test_an_empty_hypothesis_is_listed_and_has_no_frame(tmp_path: Path, record: ScanRecord) -> None:
    scan = _phantom(tmp_path / "scan", record)
    path = tmp_path / "seg.dcm"
    write_dicom_seg(path, scan, _segments(scan.volume.array.shape), series=NewSeries.of("SEG"), **ABOUT)
    seg = pydicom.dcmread(path)
    of = [
        each.SegmentIdentificationSequence[0].ReferencedSegmentNumber for each in seg.PerFrameFunctionalGroupsSequence
    ]
    assert [each.SegmentNumber for each in seg.SegmentSequence] == [1, 2, 3]
    assert sorted(set(of)) == [1, 3]


def test_when_all_are_empty_each_has_one_empty_frame(tmp_path: Path, record: ScanRecord) -> None:
    scan = _phantom(tmp_path / "scan", record)
    empty = [replace(each, mask=np.zeros_like(each.mask)) for each in _segments(scan.volume.array.shape)]
    path = tmp_path / "seg.dcm"
    write_dicom_seg(path, scan, empty, series=NewSeries.of("SEG"), **ABOUT)
    seg = pydicom.dcmread(path)
    assert (seg.NumberOfFrames, seg.SegmentsOverlap) == (3, "NO")
    assert not any(seg.PixelData)


def test_patient_study_and_place_are_the_sources_and_the_rest_is_new(tmp_path: Path, record: ScanRecord) -> None:
    scan = _phantom(tmp_path / "scan", record)
    source = pydicom.dcmread(sorted((tmp_path / "scan").iterdir())[0])
    series, paths = (
        NewSeries.of("SEG"),
        [tmp_path / "hypotheses.dcm", tmp_path / "probability.dcm", tmp_path / "other.dcm"],
    )
    segments = _segments(scan.volume.array.shape)
    write_dicom_seg(paths[0], scan, segments, series=series, **ABOUT)
    write_dicom_seg(paths[1], scan, segments[:1], fractional=True, series=series, **ABOUT | {"instance": 2})
    write_dicom_seg(paths[2], scan, segments, series=series, **ABOUT | {"instance": 3, "lesion": 2})
    hypotheses, probability, other = (pydicom.dcmread(path) for path in paths)
    for seg in (hypotheses, probability, other):
        for name in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "FrameOfReferenceUID"):
            assert seg[name].value == source[name].value
        assert (seg.SeriesInstanceUID, seg.SeriesNumber) == (series.uid, series.number)
        assert seg.SeriesDescription == seg.ContentDescription == "AI: possible lesion outlines - research only"
        assert seg.ContentQualification == "RESEARCH"
        assert "PatientIdentityRemoved" not in seg
        assert "ImageComments" not in seg
        assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
        assert scan.dicom is not None
        referenced = {
            each.ReferencedSOPInstanceUID for each in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        }
        assert referenced <= {each.sop_uid for each in scan.dicom.slices}
        frames = seg.PerFrameFunctionalGroupsSequence
        of = {each.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID for each in frames}
        assert of == referenced
    instances = [seg.SOPInstanceUID for seg in (hypotheses, probability, other)]
    assert len({*instances, source.SOPInstanceUID}) == 4
    assert series.uid != source.SeriesInstanceUID
    assert NewSeries.of("SEG").uid != series.uid
    tracked = [{each.TrackingUID for each in seg.SegmentSequence} for seg in (hypotheses, probability, other)]
    assert tracked[0] == tracked[1]
    assert len(tracked[0]) == 1
    assert tracked[0].isdisjoint(tracked[2])


def test_what_the_segments_are_called(tmp_path: Path, record: ScanRecord) -> None:
    scan = _phantom(tmp_path / "scan", record)
    segments = _segments(scan.volume.array.shape, 10)
    segments[2] = replace(segments[2], label="Größe \\ " + "x" * 80)
    path = tmp_path / "seg.dcm"
    write_dicom_seg(
        path, scan, segments, series=NewSeries.of("SEG"), instance=1, lesion=1, model="modèle" * 20, version="0.5.0"
    )
    seg = pydicom.dcmread(path)
    first, _, third = seg.SegmentSequence[:3]
    assert (first.SegmentLabel, first.SegmentDescription) == ("Hypothesis 1, 30 %", "Rank 1 of 10")
    assert third.SegmentLabel.startswith("Gr??e ? xxx")
    assert len(third.SegmentLabel) == 64
    assert first.SegmentAlgorithmType == "AUTOMATIC"
    assert first.SegmentAlgorithmName.startswith("ambiseg mod?le")
    assert first.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "0.5.0"
    codes = [first.SegmentedPropertyCategoryCodeSequence[0], first.SegmentedPropertyTypeCodeSequence[0]]
    assert [(code.CodingSchemeDesignator, code.CodeValue, code.CodeMeaning) for code in codes] == [
        ("SCT", "49755003", "Morphologically Abnormal Structure"),
        ("SCT", "52988006", "Lesion"),
    ]
    for index, each in enumerate(seg.SegmentSequence):
        red, green, blue = hd.color.CIELabColor.from_dicom_value(tuple(each.RecommendedDisplayCIELabValue)).to_rgb(
            clip=True
        )
        expected = bytes.fromhex(COLOURS[index % len(COLOURS)][1:])
        assert np.abs(np.subtract((red, green, blue), list(expected))).max() <= 1


def test_what_slicer_needs_to_lay_a_seg_over_its_series(tmp_path: Path, record: ScanRecord) -> None:
    """One orientation and spacing for all frames, a place for each, segments counted from 1, source images named."""
    scan = _phantom(tmp_path / "scan", record)
    path = tmp_path / "seg.dcm"
    write_dicom_seg(path, scan, _segments(scan.volume.array.shape), series=NewSeries.of("SEG"), **ABOUT)
    seg = pydicom.dcmread(path)
    shared = seg.SharedFunctionalGroupsSequence[0]
    measures = shared.PixelMeasuresSequence[0]
    assert seg.file_meta.TransferSyntaxUID.name == "Explicit VR Little Endian"
    assert (seg.Modality, seg.SOPClassUID.name) == ("SEG", "Segmentation Storage")
    assert list(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    assert (measures.SpacingBetweenSlices, measures.PixelSpacing[0]) == (2.5, record.pixel_spacing_mm)
    assert measures.SliceThickness == record.slice_thickness_mm
    assert (seg.Rows, seg.Columns) == (32, 32)
    keys = [tuple(each.FrameContentSequence[0].DimensionIndexValues) for each in seg.PerFrameFunctionalGroupsSequence]
    assert len(set(keys)) == len(keys) == seg.NumberOfFrames


def _bare(dataset: Dataset, _: int) -> None:
    del dataset.PatientID, dataset.SliceThickness


def _odd(dataset: Dataset, _: int) -> None:
    dataset.SpecificCharacterSet = "ISO-IR 999"
    dataset.PatientName = "Only one component, and a very very long one that no name should ever be, over 64 characters"
    dataset.PatientID = "x" * 70
    dataset.PatientSex = "unknown"
    dataset.PatientBirthDate = "in May"
    dataset.StudyDate = "2000.01.01"
    dataset.StudyTime = "noon"
    dataset.SliceThickness = "0"
    dataset.InstitutionName = "A hospital"
    dataset.PatientComments = "A comment"


@pytest.mark.parametrize("edit", [_bare, _odd])
def test_poor_headers_are_linked_all_the_same(
    tmp_path: Path,
    record: ScanRecord,
    write_series: WriteSeries,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    edit: Callable[[Dataset, int], None],
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_series(tmp_path / "scan", record, HEIGHTS, SHAPE, edit)
    scan = _open(tmp_path / "scan")
    path = tmp_path / "seg.dcm"
    with caplog.at_level(logging.WARNING):
        write_dicom_seg(path, scan, _segments(scan.volume.array.shape), series=NewSeries.of("SEG"), **ABOUT)
    assert [each for each in caplog.records if not each.name.startswith("pydicom")] == []
    assert capfd.readouterr() == ("", "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source, seg = (pydicom.dcmread(each) for each in (sorted((tmp_path / "scan").iterdir())[0], path))
        for name in ("PatientID", "PatientName", "PatientSex", "PatientBirthDate", "StudyDate", "StudyTime"):
            assert seg[name].value == source.get(name, seg[name].empty_value)
        assert "InstitutionName" not in seg
        assert "PatientComments" not in seg
        assert seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness > 0
        assert np.array_equal(_by_pydicom(path, scan)[0], _whole(_segments(scan.volume.array.shape)[0], scan))


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "Νικολάου^Ελένη"),
        (["ISO 2022 IR 6", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
def test_names_in_any_script_stay(
    tmp_path: Path, record: ScanRecord, write_series: WriteSeries, texts: str | list[str], name: str
) -> None:
    def edit(dataset: Dataset, _: int) -> None:
        dataset.SpecificCharacterSet, dataset.PatientName = texts, name

    paths = write_series(tmp_path / "scan", record, HEIGHTS, SHAPE, edit)
    scan = _open(tmp_path / "scan")
    path = tmp_path / "seg.dcm"
    write_dicom_seg(path, scan, _segments(scan.volume.array.shape), series=NewSeries.of("SEG"), **ABOUT)
    source, seg = pydicom.dcmread(paths[0]), pydicom.dcmread(path)
    assert seg.PatientName == source.PatientName == name
    assert seg.SpecificCharacterSet == source.SpecificCharacterSet == texts


CHARSETS = [
    *(None, b"", b"ISO_IR 6", b"ISO_IR 100", b"ISO_IR 192", b"ISO_IR 13", b"GB18030", b"GBK", b"LATIN1", b"\xff\xfe"),
    *(b"ISO 2022 IR 6\\ISO 2022 IR 87", b"\\ISO 2022 IR 87\\ISO 2022 IR 159", b"ISO 2022 IR 13\\ISO 2022 IR 87"),
    *(b"\\ISO 2022 IR 149", b"ISO_IR 192\\ISO 2022 IR 100"),
]
NAMES = (
    "PatientName",
    "PatientID",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "PositionReferenceIndicator",
)


def _write_raw(path: Path, values: dict[str, bytes | None]) -> None:
    """Write elements of a file as these bytes; None takes one away."""
    dataset = pydicom.dcmread(path)
    dataset.pop("SpecificCharacterSet", None)
    dataset.set_original_encoding(*dataset.original_encoding, "iso8859")
    implicit, little = dataset.original_encoding
    for name, value in values.items():
        if value is not None:
            tag = Tag(name)
            value += b" " * (len(value) % 2)
            dataset[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, implicit, little)
    texts = dataset.get("SpecificCharacterSet")
    dataset.set_original_encoding(implicit, little, convert_encodings(texts) if texts else "iso8859")
    dataset.save_as(path)


def _raw(path: Path, name: str) -> bytes | None:
    element = pydicom.dcmread(path).get_item(name, keep_deferred=True)
    return None if element is None else element.value


@pytest.fixture(scope="module")
def named(
    tmp_path_factory: pytest.TempPathFactory, records: dict[int, ScanRecord], write_series: WriteSeries
) -> dict[UID, Path]:
    """A slice in each transfer syntax."""
    found = {}
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):

        def edit(dataset: Dataset, _: int, syntax: UID = syntax) -> None:
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.FrameOfReferenceUID = "1.2.3"

        (found[syntax],) = write_series(tmp_path_factory.mktemp("named"), records[12], [0.0], (2, 2), edit)
    return found


@given(
    charset=st.sampled_from(CHARSETS),
    syntax=st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]),
    values=st.dictionaries(st.sampled_from(NAMES), st.binary(min_size=1, max_size=24)),
)
def test_names_are_byte_for_byte_the_sources(
    named: dict[UID, Path], charset: bytes | None, syntax: UID, values: dict[str, bytes]
) -> None:
    path, target = named[syntax], named[syntax].with_name("derived.dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _write_raw(path, {"SpecificCharacterSet": charset, **values})
        fresh = Dataset()
        fresh.file_meta = FileMetaDataset()
        fresh.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        fresh.SOPClassUID, fresh.SOPInstanceUID = SegmentationStorage, "1.2.3"
        fresh.FrameOfReferenceUID = "1.2.3"
        fresh.ContentDescription = "ambiseg hypotheses, research only"
        header = read_slices([path])[0]
        copy_identity(read_source(DicomScan([header], "1.2.3", "CT")), fresh)
        fresh.save_as(target, enforce_file_format=True)
        for name in values:
            assert (_raw(target, name) or b"") == (_raw(path, name) or b"")
        assert text_of(pydicom.dcmread(target), "SpecificCharacterSet") == (charset or b"").decode("latin-1")
        assert pydicom.dcmread(target).ContentDescription == "ambiseg hypotheses, research only"
        assert str(pydicom.dcmread(target))


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (b"ISO_IR 192", b"M\xfcller^A "),  # Latin-1 in a file that says UTF-8
        (None, b"M\xfcller^A "),
        (b"ISO_IR 100", "Müller^A".encode()),
        (b"\\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B "),
        (b"\\ISO 2022 IR 149", b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7 "),
        (b"LATIN1", b"M\xfcller^A "),
    ],
)
def test_a_seg_has_the_names_bytes_and_can_be_read(
    tmp_path: Path, record: ScanRecord, write_series: WriteSeries, charset: bytes | None, name: bytes
) -> None:
    paths = write_series(tmp_path / "scan", record, HEIGHTS[:3], (4, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in paths:
            _write_raw(path, {"SpecificCharacterSet": charset, "PatientName": name})
        scan = _open(tmp_path / "scan")
        box = (slice(0, 3), slice(0, 4), slice(0, 5))
        segments = [Segment("Hypothesis 1, 30 %", "Rank 1", box, np.ones((3, 4, 5), bool))]
        write_dicom_seg(tmp_path / "seg.dcm", scan, segments, series=NewSeries.of("SEG"), **ABOUT)
        assert _raw(tmp_path / "seg.dcm", "PatientName") == name + b" " * (len(name) % 2)
        assert np.array_equal(_by_pydicom(tmp_path / "seg.dcm", scan), np.ones((1, 3, 4, 5)))
        assert hd.seg.segread(tmp_path / "seg.dcm").get_segment_description(1).segment_label == "Hypothesis 1, 30 %"


def test_a_series_without_a_frame_of_reference_is_given_one(
    tmp_path: Path, record: ScanRecord, write_series: WriteSeries
) -> None:
    write_series(tmp_path / "scan", record, HEIGHTS, SHAPE)
    scan = _open(tmp_path / "scan")
    frames = []
    for number in (1, 2):
        path = tmp_path / f"{number}.dcm"
        write_dicom_seg(path, scan, _segments(scan.volume.array.shape), series=NewSeries.of("SEG"), **ABOUT)
        frames.append(pydicom.dcmread(path).FrameOfReferenceUID)
    assert frames[0] == frames[1]


def test_no_study_is_refused_and_what_stood_there_stays(
    tmp_path: Path, record: ScanRecord, write_series: WriteSeries
) -> None:
    paths = write_series(tmp_path / "scan", record, HEIGHTS, SHAPE)
    scan = _open(tmp_path / "scan")
    for path in paths:
        dataset = pydicom.dcmread(path)
        del dataset.StudyInstanceUID
        dataset.save_as(path)
    target = tmp_path / "out" / "seg.dcm"
    target.parent.mkdir()
    target.write_text("before")
    with pytest.raises(DataError, match=r"000000.dcm has no StudyInstanceUID"):
        write_dicom_seg(target, scan, _segments(scan.volume.array.shape), series=NewSeries.of("SEG"), **ABOUT)
    assert [each.read_text() for each in target.parent.iterdir()] == ["before"]


def test_one_instance_twice_is_refused(tmp_path: Path, record: ScanRecord, write_series: WriteSeries) -> None:
    def edit(dataset: Dataset, _: int) -> None:
        dataset.SOPInstanceUID = "1.2.3"

    write_series(tmp_path / "scan", record, HEIGHTS, SHAPE, edit)
    scan = _open(tmp_path / "scan")
    with pytest.raises(DataError, match="Two images of the series have one SOPInstanceUID"):
        write_dicom_seg(
            tmp_path / "seg.dcm", scan, _segments(scan.volume.array.shape), series=NewSeries.of("SEG"), **ABOUT
        )


def test_what_is_no_dicom_is_refused(tmp_path: Path, record: ScanRecord) -> None:
    scan = replace(_phantom(tmp_path / "scan", record), dicom=None)
    with pytest.raises(UsageError, match=r"^scan is no DICOM series, which the format dicom-seg belongs to: leave out"):
        write_dicom_seg(
            tmp_path / "seg.dcm", scan, _segments(scan.volume.array.shape), series=NewSeries.of("SEG"), **ABOUT
        )


def test_a_large_scan_costs_little_memory(tmp_path: Path, record: ScanRecord, write_series: WriteSeries) -> None:
    """512 x 512 x 300, eight hypotheses on 80 slices; all of their frames are 20 MB packed, the probability's 21 MB."""
    heights = [0.6 * k for k in range(300)]
    write_series(tmp_path / "scan", record, heights[:1], (512, 512))
    first = read_slices((tmp_path / "scan").iterdir())[0]
    slices = [replace(first, sop_uid=generate_uid(), position_mm=(-150.5, -140.25, z)) for z in heights]
    grid = series_grid(slices)
    volume = Volume(np.broadcast_to(np.int16(0), (300, 512, 512)), grid.display_affine)
    scan = Scan("large", volume, grid, DicomScan(slices, record.series_uid, "CT"))
    box = (slice(100, 180), slice(200, 328), slice(100, 228))
    ball = np.ones((80, 128, 128), bool)
    hypotheses = [Segment(f"Hypothesis {rank}", "", box, ball) for rank in range(1, 9)]
    probability = [Segment("Probability", "", box, np.full(ball.shape, 0.5, np.float32))]
    for segments, fractional in ((hypotheses, False), (probability, True)):
        tracemalloc.start()
        write_dicom_seg(
            tmp_path / "seg.dcm", scan, segments, fractional=fractional, series=NewSeries.of("SEG"), **ABOUT
        )
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 120e6
        assert (tmp_path / "seg.dcm").stat().st_size < 25e6


def test_a_box_turned_to_the_files_order_is_a_view(
    tmp_path: Path, record: ScanRecord, write_series: WriteSeries
) -> None:
    scan = _oriented(tmp_path / "scan", write_series, record, ORIENTATIONS["sagittal"])
    segment = _segments(scan.volume.array.shape)[0]
    box, mask = in_file_order(segment, scan.grid)
    assert np.shares_memory(mask, segment.mask)
    assert np.array_equal(_whole(segment, scan).transpose(2, 1, 0)[box], mask)


@needs_dciodvfy
def test_a_validator_finds_nothing_wrong(tmp_path: Path, record: ScanRecord) -> None:
    scan = _phantom(tmp_path / "scan", record)
    segments = _segments(scan.volume.array.shape)
    empty = [replace(each, mask=np.zeros_like(each.mask)) for each in segments]
    path = tmp_path / "seg.dcm"
    for chosen, fractional in ((segments, False), (segments[:1], False), (segments[:1], True), (empty, False)):
        write_dicom_seg(path, scan, chosen, fractional=fractional, series=NewSeries.of("SEG"), **ABOUT)
        assert judged(path) == ("Segmentation", [])


@pytest.mark.real
@needs_dciodvfy
def test_a_real_scan(tmp_path: Path, real_data: Path) -> None:
    with tarfile.open(real_data / "lidc_dicom" / "LIDC-IDRI-0001.tar.xz") as packed:
        packed.extractall(tmp_path / "scan", filter="data")
    scan = _open(tmp_path / "scan")
    box = (slice(40, 60), slice(350, 414), slice(90, 154))
    masks = np.random.default_rng(0).random((3, 20, 64, 64))
    hypotheses = [Segment(f"Hypothesis {rank}, 30 %", "", box, mask < 0.4) for rank, mask in enumerate(masks, 1)]
    probability = [Segment("Probability of lesion", "", box, masks.mean(0, dtype=np.float32))]
    series, path = NewSeries(generate_uid(prefix=None), 9001, "tested"), tmp_path / "seg.dcm"
    write_dicom_seg(path, scan, hypotheses, series=series, **ABOUT)
    assert judged(path) == ("Segmentation", [])
    assert np.array_equal(_by_pydicom(path, scan), np.stack([_whole(each, scan) for each in hypotheses]))
    assert pydicom.dcmread(path).PatientID == "LIDC-IDRI-0001"
    write_dicom_seg(path, scan, probability, fractional=True, series=series, **ABOUT)
    assert judged(path) == ("Segmentation", [])
    assert np.array_equal(_by_pydicom(path, scan)[0], np.rint(_whole(probability[0], scan) * 255))
