"""A prediction as a BIDS derivative: names, the description of the data set, and documents that still find their files."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import ambiseg
from ambiseg.models.results.bids import as_bids
from ambiseg.models.results.result_documents import read_hypotheses
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import UsageError

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])
DERIVED = re.compile(r"sub-01/ses-b/anat/sub-01_ses-b(_label-L)?(_desc-[a-z0-9]+)?_(dseg|probseg|map)\.nii\.gz")


@pytest.fixture(scope="module")
def found(threshold_model: Callable[..., Trained], tmp_path_factory: pytest.TempPathFactory) -> ambiseg.ScanHypotheses:
    place = np.moveaxis(np.indices((44, 40, 20)), 0, -1) - (20, 20, 10)
    array = np.maximum(400 - 100 * np.linalg.norm(place * (1, 1, 2), axis=-1), -1000).astype(np.int16)
    file = tmp_path_factory.mktemp("scan") / "sub-01_ses-b_desc-raw_T1w.nii"
    nib.save(nib.Nifti1Image(array, AFFINE), file)
    model = threshold_model(crop=32, spacing_mm=1.0)
    return ambiseg.predict(file, model, at=[(-20.0, -20.0, 20.0), (-25.0, -20.0, 20.0)], draws=16)


def test_masks_and_maps_have_bids_names_by_which_the_document_finds_them(
    found: ambiseg.ScanHypotheses, tmp_path: Path
) -> None:
    assert found.save(tmp_path / "out", layout="bids") == []
    document = read_hypotheses(tmp_path / "out")
    named = []
    for lesion, plain in zip(document.lesions, found.document.lesions, strict=True):
        assert [each.probability for each in lesion.hypotheses] == [each.probability for each in plain.hypotheses]
        named += [lesion.probability, lesion.entropy, *(each.file for each in lesion.hypotheses)]
    inside = {file.relative_to(tmp_path / "out").as_posix() for file in (tmp_path / "out").rglob("*.nii.gz")}
    assert sorted(named) == sorted(inside)
    assert all(DERIVED.fullmatch(name) for name in named)
    first = nib.load(tmp_path / "out" / document.lesions[1].hypotheses[0].file)
    assert np.array_equal(first.dataobj, found.mask(rank=1, lesion=2).dataobj)


def test_the_data_set_is_described_and_the_rest_is_ignored(found: ambiseg.ScanHypotheses, tmp_path: Path) -> None:
    found.save(tmp_path / "out", layout="bids")
    described = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    assert described["GeneratedBy"][0]["Name"] == "ambiseg"
    assert (tmp_path / "out" / "dseg.tsv").read_text() == "index\tname\n0\tbackground\n1\tlesion\n"
    ignored = (tmp_path / "out" / ".bidsignore").read_text().split()
    known = {"dataset_description.json", ".bidsignore", "dseg.tsv", "sub-01"}
    others = [file for file in (tmp_path / "out").iterdir() if file.name not in known]
    assert others
    assert all(any(file.match(pattern) for pattern in ignored) for file in others)


@pytest.mark.skipif(shutil.which("bids-validator-deno") is None, reason="needs bids-validator-deno")
def test_the_validator_of_bids_finds_no_error(found: ambiseg.ScanHypotheses, tmp_path: Path) -> None:
    found.save(tmp_path / "out", layout="bids")
    done = subprocess.run(["bids-validator-deno", tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[ERROR]" not in done.stdout


def test_a_folder_is_replaced_whatever_its_layout(found: ambiseg.ScanHypotheses, tmp_path: Path) -> None:
    for layout in ("bids", "plain", "bids"):
        assert found.save(tmp_path / "out", layout=layout) == []
        assert (tmp_path / "out" / "dataset_description.json").is_file() == (layout == "bids")


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("sub-01_ses-2_acq-thin_ct", "sub-01/ses-2/anat/sub-01_ses-2_acq-thin_"),
        ("sub-01_space-T1w_desc-x_bold", "sub-01/anat/sub-01_"),
        ("Case 12_a", "sub-Case12a/anat/sub-Case12a_"),
        ("ß", "sub-scan/anat/sub-scan_"),
    ],
)
def test_what_names_begin_with(found: ambiseg.ScanHypotheses, name: str, begins: str) -> None:
    lesion = as_bids(found.document, name).lesions[0]
    assert lesion.entropy == f"{begins}desc-lesion01entropy_map.nii.gz"


def test_another_layout_is_refused(found: ambiseg.ScanHypotheses, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`layout` is 'dicom': expected plain or bids"):
        found.save(tmp_path / "out", layout="dicom")
