"""`ambiseg predict` on a real chest CT."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ambiseg.models.prediction.draws import SEARCH_MM
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.scans.formats.nifti_volume import read_volume

pytestmark = pytest.mark.real


def test_a_real_ct_gives_masks_that_lie_on_it(
    real_data: Path,
    tmp_path: Path,
    ambiseg: Callable[..., tuple[int, str, str]],
    threshold_model: Callable[..., Trained],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The threshold model marks a small dense spot in the lung, 40 voxels above -550 HU."""
    scan = real_data / "chest_ct" / "pulmonary_ct_cropped.nii.gz"
    volume = read_volume(scan)
    assert volume.array.shape == (112, 102, 122)
    assert (volume.array.min(), volume.array.max()) == (-1064, 3343)
    monkeypatch.setattr("ambiseg.models.bundle.find.find_model", lambda name: Path(name))
    monkeypatch.setattr("ambiseg.models.runs.trained.load_trained", lambda path, device, **choice: threshold_model())
    run = ("predict", scan, "--model", "known", "-o", tmp_path / "out", "--draws", "64", "--json")
    code, out, err = ambiseg(*run, "--at", "45.1,209.9,631.9")
    assert (code, "Warning" in err) == (0, False)
    (lesion,) = json.loads(out)["lesions"]
    original = nib.load(scan)
    hounsfield = np.asarray(original.dataobj)
    marked = 0
    for entry in lesion["hypotheses"]:
        image = nib.load(tmp_path / "out" / entry["file"])
        mask = np.asarray(image.dataobj) > 0
        assert np.array_equal(image.affine, original.affine)
        assert image.header["sform_code"] == original.header["sform_code"]
        assert image.header["qform_code"] == original.header["qform_code"]
        if mask.any():
            marked += 1
            assert np.median(hounsfield[mask]) > -700
            places = nib.affines.apply_affine(image.affine, np.argwhere(mask))
            assert np.linalg.norm(places - (45.1, 209.9, 631.9), axis=1).min() <= SEARCH_MM + 1
    assert marked > 1
