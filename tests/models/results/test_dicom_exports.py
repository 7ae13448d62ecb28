"""The DICOM objects of a prediction: what each says about the lesions, whose it is, and that it is research only."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from highdicom.sr import MeasurementReport, MeasurementsAndQualitativeEvaluations
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, EnhancedSRStorage, ParametricMapStorage, SecondaryCaptureImageStorage, SegmentationStorage

import ambiseg
from ambiseg.commands.predict import Format
from ambiseg.models.results.exports import FORMATS
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.exports.segments import COLOURS
from ambiseg.preprocessing.lidc.annotations import scans
from ambiseg.preprocessing.phantom.images import slice_dataset, write_slice
from tests.integration.dicom_tools import judged, needs_dciodvfy, run

SLICES, SIDE, SPACING_MM = 16, 48, 1.0
CENTRES = ((8, 16, 16), (7, 32, 34))  # of the lesions: slice from below, row, column
NAME = "Yamada^Tarou=山田^太郎=やまだ^たろう"
KINDS = {  # as dciodvfy calls them
    SegmentationStorage: "Segmentation",
    EnhancedSRStorage: "EnhancedSR",
    ParametricMapStorage: "ParametricMap",
    SecondaryCaptureImageStorage: "SCImage",
}
RANK = Code("RANK", "99AMBISEG", "Rank by probability")
TEXTS = ["ISO 2022 IR 6", "ISO 2022 IR 87"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two blobs in air, as a DICOM series of a patient with a Japanese name."""
    folder = tmp_path_factory.mktemp("series")
    record = replace(next(iter(scans())), z_mm=np.arange(SLICES) * 2.0, pixel_spacing_mm=SPACING_MM)
    z, y, x = np.indices((SLICES, SIDE, SIDE))
    near = [np.sqrt(((z - k) * 2) ** 2 + (y - row) ** 2 + (x - column) ** 2) for k, row, column in CENTRES]
    array = np.maximum(400 - 140 * np.minimum(*near), -1000).astype(np.int16)
    for number in range(1, SLICES + 1):
        dataset = slice_dataset(record, number, array[SLICES - number] + 1024)
        dataset.SpecificCharacterSet, dataset.PatientName, dataset.PatientID = TEXTS, NAME, "MRN-4711"
        write_slice(folder, dataset, f"{number:03d}")
    return folder


@pytest.fixture(scope="module")
def found(source: Path, threshold_model: Callable[..., Trained]) -> ambiseg.ScanHypotheses:
    places = [(column, row, k) for k, row, column in CENTRES]
    return ambiseg.predict(source, threshold_model(crop=32, spacing_mm=1.0), at=places, voxel=True, draws=60, top=4)


@pytest.fixture(scope="module")
def apart(found: ambiseg.ScanHypotheses, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prediction with one SEG per hypothesis."""
    folder = tmp_path_factory.mktemp("apart") / "out"
    assert found.save(folder, formats=["dicom-seg"], seg="each") == []
    return folder


@pytest.fixture(scope="module")
def whole(found: ambiseg.ScanHypotheses, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prediction with an object of each kind."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    assert found.save(folder, formats=["dicom-sr", "dicom-pm", "dicom-sc"]) == []
    return folder


def objects(folder: Path) -> dict[str, Dataset]:
    """The DICOM files of a prediction, by their place in its folder."""
    return {file.relative_to(folder).as_posix(): pydicom.dcmread(file) for file in sorted(folder.rglob("*.dcm"))}


def test_each_hypothesis_has_a_seg_of_its_own(found: ambiseg.ScanHypotheses, apart: Path) -> None:
    segs = objects(apart)
    colours = {}
    for lesion in found.document.lesions:
        assert len(lesion.hypotheses) > 1
        for entry in lesion.hypotheses:
            seg = segs.pop(f"{lesion.folder}/hyp_{entry.rank:02d}.dcm")
            (segment,) = seg.SegmentSequence
            assert segment.SegmentLabel.startswith(f"Lesion {lesion.number} hypothesis {entry.rank}, ")
            colours.setdefault(lesion.number, []).append(tuple(segment.RecommendedDisplayCIELabValue))
            marked = sum(np.unpackbits(np.frombuffer(seg.PixelData, np.uint8)).tolist())
            assert marked * 2.0 * SPACING_MM**2 == pytest.approx(entry.volume_mm3)
    assert sorted(segs) == ["lesion_01/probability.dcm", "lesion_02/probability.dcm"]
    assert all(len(set(each)) == len(each) for each in colours.values())


def test_all_name_their_patient_and_say_what_they_are_for(source: Path, whole: Path, apart: Path) -> None:
    first = pydicom.dcmread(source / "001.dcm")
    for each in (*objects(whole).values(), *objects(apart).values()):
        assert (each.PatientName, each.PatientID, each.SpecificCharacterSet) == (NAME, "MRN-4711", TEXTS)
        assert each.StudyInstanceUID == first.StudyInstanceUID
        assert "research only" in each.SeriesDescription
        assert str(each)


def test_objects_of_one_kind_are_one_series(whole: Path) -> None:
    found = list(objects(whole).values())
    numbers: dict[UID, list[int]] = {}
    for each in found:
        numbers.setdefault(each.SOPClassUID, []).append(each.InstanceNumber)
    series = {(each.SOPClassUID, each.SeriesInstanceUID, each.SeriesNumber) for each in found}
    assert {kind for kind, *_ in series} == set(KINDS)
    assert len(series) == len({number for *_, number in series}) == len(KINDS)
    assert all(sorted(each) == list(range(1, len(each) + 1)) for each in numbers.values())


@needs_dciodvfy
def test_a_validator_finds_nothing_wrong(whole: Path) -> None:
    for place, each in objects(whole).items():
        assert judged(whole / place) == (KINDS[each.SOPClassUID], []), place


def report(folder: Path) -> tuple[Dataset, MeasurementReport]:
    read = pydicom.dcmread(folder / "measurements.dcm")
    return read, MeasurementReport.from_sequence([read])


def values(group: MeasurementsAndQualitativeEvaluations, name: Code) -> dict[str, float]:
    """The measurements of a name in a group, by their derivation."""
    found = group.get_measurements(name=name)
    return {each.derivation.meaning if each.derivation else "": each.value for each in found}


@pytest.mark.parametrize("way", ["all", "each"])
def test_each_hypothesis_has_a_group_that_refers_to_its_segment(
    found: ambiseg.ScanHypotheses, whole: Path, tmp_path: Path, way: str
) -> None:
    folder = whole
    if way == "each":
        folder = tmp_path / "out"
        assert found.save(folder, formats=["dicom-sr"], seg="each") == []
    segs = {each.SOPInstanceUID: each for each in objects(folder).values() if each.Modality == "SEG"}
    groups = report(folder)[1].get_volumetric_roi_measurement_groups()
    entries = [(lesion, entry) for lesion in found.document.lesions for entry in lesion.hypotheses]
    for (lesion, entry), group in zip(entries, groups, strict=True):
        (segment,) = (item for item in group[0].ContentSequence if item.name == codes.DCM.ReferencedSegment)
        seg = segs[segment.referenced_sop_instance_uid]
        described = seg.SegmentSequence[segment.referenced_segment_numbers[0] - 1]
        assert described.SegmentLabel.startswith(f"Lesion {lesion.number} hypothesis {entry.rank}, ")
        assert described.TrackingUID == group.tracking_uid
        assert values(group, codes.DCM.Probability) == {"": entry.probability}
        assert values(group, RANK) == {"": entry.rank}
        assert values(group, codes.SCT.Volume) == {"": entry.volume_mm3}
        axes = {} if entry.empty else {"": entry.long_axis_mm}
        assert values(group, codes.SCT.LongAxis) == axes
        diameter = values(group, codes.SCT.Diameter)
        assert diameter == (
            {} if entry.empty else {"Mean": pytest.approx((entry.long_axis_mm + entry.short_axis_mm) / 2, abs=0.06)}
        )


def test_a_report_states_each_lesions_size_as_a_distribution(found: ambiseg.ScanHypotheses, whole: Path) -> None:
    groups = report(whole)[1].get_image_measurement_groups()
    for lesion, group in zip(found.document.lesions, groups, strict=True):
        assert lesion.size is not None
        for name, spread in (
            (codes.SCT.Volume, lesion.size.if_marked.volume_mm3),
            (codes.SCT.Diameter, lesion.size.if_marked.mean_diameter_mm),
        ):
            assert spread is not None
            assert values(group, name) == {
                "Mean": spread.mean,
                "Median": spread.median,
                "Fifth percentile": spread.low_90,
                "Ninety-fifth percentile": spread.high_90,
            }
        threshold = lesion.size.thresholds[0]
        assert values(group, Code("DIAM_GE_6", "99AMBISEG", "")) == {"": threshold.probability}
        assert values(group, Code("NO_LESION", "99AMBISEG", "")) == {"": lesion.no_lesion}
        uses = group.get_qualitative_evaluations(name=Code("USE", "99AMBISEG", ""))
        assert [use.value.meaning for use in uses] == ["For research use only"]


def test_a_report_is_a_draft_that_names_all_it_refers_to(whole: Path) -> None:
    read, _ = report(whole)
    assert (read.PreliminaryFlag, read.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    (study,) = read.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    named = {each.ReferencedSOPInstanceUID for each in series.ReferencedSOPSequence}
    segs = {name: each for name, each in objects(whole).items() if name.endswith("/hypotheses.dcm")}
    assert named == {each.SOPInstanceUID for each in segs.values()}
    assert study.StudyInstanceUID == read.StudyInstanceUID


def test_dcmqi_reads_a_report(found: ambiseg.ScanHypotheses, whole: Path, tmp_path: Path) -> None:
    run("tid1500reader", "--inputDICOM", whole / "measurements.dcm", "--outputMetadata", tmp_path / "read.json")
    read = json.loads((tmp_path / "read.json").read_text())
    hypotheses = [each for each in read["Measurements"] if "segmentationSOPInstanceUID" in each]
    assert len(read["Measurements"]) == len(hypotheses) + len(found.document.lesions)
    volumes = [
        float(item["value"])
        for each in hypotheses
        for item in each["measurementItems"]
        if item["quantity"]["CodeMeaning"] == "Volume"
    ]
    expected = [entry.volume_mm3 for lesion in found.document.lesions for entry in lesion.hypotheses]
    assert volumes == pytest.approx(expected)


def test_dcmqi_reads_the_segments(whole: Path, tmp_path: Path) -> None:
    place = whole / "lesion_01" / "hypotheses.dcm"
    run("segimage2itkimage", "--inputDICOM", place, "--outputDirectory", tmp_path, "-t", "nrrd")
    seg = pydicom.dcmread(place)
    marked = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8)).sum()
    written = [sitk.GetArrayFromImage(sitk.ReadImage(file)) > 0 for file in sorted(tmp_path.glob("*.nrrd"))]
    assert sum(int(each.sum()) for each in written) == marked


def test_a_map_holds_the_probability(found: ambiseg.ScanHypotheses, whole: Path) -> None:
    for lesion, result in zip(found.document.lesions, found.lesions, strict=True):
        made = pydicom.dcmread(whole / lesion.folder / "probability_map.dcm")
        frames = np.frombuffer(made.FloatPixelData, "<f4").reshape(made.NumberOfFrames, SIDE, SIDE)
        expected = found.scan.volume.filled(result.probability, result.box)  # [Z, Y, X], z to the head
        heights = [
            each.PlanePositionSequence[0].ImagePositionPatient[2] for each in made.PerFrameFunctionalGroupsSequence
        ]
        shown = np.zeros_like(expected)
        shown[[round(height / 2) for height in heights]] = frames
        assert np.abs(shown - expected).max() <= 0.5 / 255
        assert np.array_equal(shown[shown > 0.5 / 255], expected[shown > 0.5 / 255])
        (mapping,) = made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
        assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
        assert made.ContentQualification == "RESEARCH"


def test_dcmqi_reads_a_map_where_it_lies(found: ambiseg.ScanHypotheses, whole: Path, tmp_path: Path) -> None:
    run("paramap2itkimage", "--inputDICOM", whole / "lesion_02" / "probability_map.dcm", "--outputDirectory", tmp_path)
    (file,) = tmp_path.glob("*.nrrd")
    read = sitk.ReadImage(file)
    ours = sitk.ReadImage(whole / "lesion_02" / "probability.nii.gz")
    same = sitk.Resample(ours, read, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert np.allclose(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(same), atol=0.5 / 255)
    assert sitk.GetArrayFromImage(read).max() > 0.5


def test_a_picture_shows_the_outlines_and_names_nobody(
    found: ambiseg.ScanHypotheses, source: Path, whole: Path
) -> None:
    for lesion, (k, *_) in zip(found.document.lesions, CENTRES, strict=True):
        picture = pydicom.dcmread(whole / lesion.folder / "key_image.dcm")
        pixels = picture.pixel_array.astype(int)
        assert (pixels.shape, picture.PhotometricInterpretation, picture.BurnedInAnnotation) == (
            (1024, 1024, 3),
            "RGB",
            "NO",
        )
        for colour in COLOURS[: len(lesion.hypotheses)]:
            near = np.abs(pixels - list(bytes.fromhex(colour[1:]))).max(-1) < 20
            assert near[640:].sum() > 100, "the table"
        assert "research only" in picture.ImageComments
        (image,) = picture.SourceImageSequence
        place = pydicom.dcmread(source / f"{SLICES - k:03d}.dcm")
        assert image.ReferencedSOPInstanceUID == place.SOPInstanceUID


def test_a_single_slice_has_all_but_a_report_of_volumes(
    source: Path, tmp_path: Path, threshold_model: Callable[..., Trained]
) -> None:
    k, row, column = CENTRES[0]
    shutil.copytree(
        source, tmp_path / "scan", ignore=lambda _, names: [name for name in names if name != f"{SLICES - k:03d}.dcm"]
    )
    model = threshold_model(crop=32, spacing_mm=1.0)
    found = ambiseg.predict(tmp_path / "scan", model, at=[(column, row, 0)], voxel=True, draws=16)
    with pytest.raises(UsageError, match="dicom-sr states volumes, but the scan is a single slice"):
        found.save(tmp_path / "out", formats=["dicom-sr"])
    assert found.save(tmp_path / "out", formats=["dicom-seg", "dicom-pm", "dicom-sc"]) == []
    assert list(objects(tmp_path / "out")) == [
        "hypotheses.dcm",
        "key_image.dcm",
        "probability.dcm",
        "probability_map.dcm",
    ]


def test_with_several_classes_each_segment_has_its_group(
    source: Path, tmp_path: Path, threshold_model: Callable[..., Trained]
) -> None:
    model = threshold_model(crop=32, spacing_mm=1.0, classes=("background", "core", "rim"))
    k, row, column = CENTRES[0]
    found = ambiseg.predict(source, model, at=[(column, row, k)], voxel=True, draws=16)
    for seg in ("all", "each"):
        assert found.save(tmp_path / seg, formats=["dicom-sr"], seg=seg) == []
        groups = report(tmp_path / seg)[1].get_volumetric_roi_measurement_groups()
        segs = {each.SOPInstanceUID: each for each in objects(tmp_path / seg).values() if each.Modality == "SEG"}
        assert len(groups) == 2 * len(found.document.lesions[0].hypotheses)
        for group in groups:
            (segment,) = (item for item in group[0].ContentSequence if item.name == codes.DCM.ReferencedSegment)
            numbers = segment.referenced_segment_numbers
            described = segs[segment.referenced_sop_instance_uid].SegmentSequence[numbers[0] - 1]
            assert group.tracking_identifier.removesuffix(", no lesion") == described.SegmentLabel


def test_a_report_needs_its_seg(found: ambiseg.ScanHypotheses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError

    monkeypatch.setitem(FORMATS, "dicom-seg", replace(FORMATS["dicom-seg"], write=fail))
    first, second = found.save(tmp_path / "out", formats=["dicom-sr"])
    assert first.startswith("dicom-seg could not be made: ValueError")
    assert second == "dicom-sr could not be made: It refers to the SEG, which could not be made either."
    assert not list((tmp_path / "out").rglob("*.dcm"))
    assert (tmp_path / "out" / "lesion_01" / "hyp_01.nii.gz").is_file()


def test_the_command_offers_the_same_formats() -> None:
    assert [each.value for each in Format] == list(FORMATS)


def test_another_way_than_all_or_each_is_refused(found: ambiseg.ScanHypotheses, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`seg` is 'some': expected all or each"):
        found.save(tmp_path / "out", formats=["dicom-seg"], seg="some")
