"""The DICOM objects of a real scan and a shipped model: a validator finds nothing wrong, and programs of others read them."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch

import ambiseg
from ambiseg.models.bundle.installed import known_models
from ambiseg.models.runs.trained import load_trained
from tests.integration.dicom_tools import judged, needs_dciodvfy, run

pytestmark = [pytest.mark.real, pytest.mark.slow]
NODULE = (-57.9, -85.3, -117.5)  # mm RAS, in LIDC-IDRI-0001
KINDS = {
    "hypotheses.dcm": "Segmentation",
    "probability.dcm": "Segmentation",
    "measurements.dcm": "EnhancedSR",
    "probability_map.dcm": "ParametricMap",
    "key_image.dcm": "SCImage",
}


@pytest.fixture(scope="module")
def found(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> ambiseg.ScanHypotheses:
    folder = tmp_path_factory.mktemp("real")
    with tarfile.open(real_data / "lidc_dicom" / "LIDC-IDRI-0001.tar.xz") as packed:
        packed.extractall(folder, filter="data")
    model = load_trained(known_models()["lidc-gated"], torch.device("cpu"))
    return ambiseg.predict(folder, model, at=[NODULE])


@pytest.fixture(scope="module")
def written(found: ambiseg.ScanHypotheses, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "out"
    assert found.save(folder, formats=["dicom-sr", "dicom-pm", "dicom-sc"]) == []
    return folder


@needs_dciodvfy
def test_a_validator_finds_nothing_wrong(written: Path) -> None:
    assert {file.name for file in written.glob("*.dcm")} == set(KINDS)
    for name, kind in KINDS.items():
        assert judged(written / name) == (kind, []), name
        assert pydicom.dcmread(written / name).PatientID == "LIDC-IDRI-0001"


@needs_dciodvfy
def test_nor_where_each_hypothesis_is_apart(found: ambiseg.ScanHypotheses, tmp_path: Path) -> None:
    assert found.save(tmp_path / "out", formats=["dicom-sr"], seg="each") == []
    files = sorted((tmp_path / "out").glob("*.dcm"))
    assert len(files) == len(found.document.lesions[0].hypotheses) + 2
    assert all(judged(file)[1] == [] for file in files)


def test_dcmqi_reads_the_report(found: ambiseg.ScanHypotheses, written: Path, tmp_path: Path) -> None:
    run("tid1500reader", "--inputDICOM", written / "measurements.dcm", "--outputMetadata", tmp_path / "read.json")
    groups = json.loads((tmp_path / "read.json").read_text())["Measurements"]
    assert len(groups) == 1 + len(found.document.lesions[0].hypotheses)


def test_dcmqi_reads_the_segments_and_the_map(found: ambiseg.ScanHypotheses, written: Path, tmp_path: Path) -> None:
    for name in ("segments", "map"):
        (tmp_path / name).mkdir()
    segs = ("--inputDICOM", written / "hypotheses.dcm", "--outputDirectory", tmp_path / "segments", "-t", "nrrd")
    run("segimage2itkimage", *segs)
    marked = [
        file for file in (tmp_path / "segments").glob("*.nrrd") if sitk.GetArrayFromImage(sitk.ReadImage(file)).any()
    ]
    assert len(marked) == sum(not entry.empty for entry in found.document.lesions[0].hypotheses)
    run("paramap2itkimage", "--inputDICOM", written / "probability_map.dcm", "--outputDirectory", tmp_path / "map")
    (file,) = (tmp_path / "map").glob("*.nrrd")
    read, ours = sitk.ReadImage(file), sitk.ReadImage(written / "probability.nii.gz")
    same = sitk.Resample(ours, read, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert np.allclose(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(same), atol=0.5 / 255)
