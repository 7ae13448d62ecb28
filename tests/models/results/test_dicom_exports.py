"""The DICOM objects of a prediction: what each says about the lesions, whose it is, and that it is research only."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

import ambiseg
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.lidc.annotations import scans
from ambiseg.preprocessing.phantom.images import slice_dataset, write_slice

SLICES, SIDE, SPACING_MM = 16, 48, 1.0
CENTRES = ((8, 16, 16), (7, 32, 34))  # of the lesions: slice from below, row, column
NAME = "Yamada^Tarou=山田^太郎=やまだ^たろう"
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


def test_all_name_their_patient_and_say_what_they_are_for(source: Path, apart: Path) -> None:
    first = pydicom.dcmread(source / "001.dcm")
    for seg in objects(apart).values():
        assert (seg.PatientName, seg.PatientID, seg.SpecificCharacterSet) == (NAME, "MRN-4711", TEXTS)
        assert seg.StudyInstanceUID == first.StudyInstanceUID
        assert "research only" in seg.SeriesDescription


def test_objects_of_one_kind_are_one_series(apart: Path) -> None:
    found = objects(apart).values()
    assert len({each.SeriesInstanceUID for each in found}) == 1
    assert sorted(each.InstanceNumber for each in found) == list(range(1, len(found) + 1))


def test_another_way_than_all_or_each_is_refused(found: ambiseg.ScanHypotheses, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`seg` is 'some': expected all or each"):
        found.save(tmp_path / "out", formats=["dicom-seg"], seg="some")
