"""`ambiseg.predict` in Python: the same results as the command, from every kind of object that holds a scan."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

import ambiseg
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import DataError, UsageError

CENTRE = (4.0, -3.0, 12.0)
AFFINE = np.array([[0.7, 0, 0, -37.0], [0, -0.9, 0, 30], [0, 0, 2, -20], [0, 0, 0, 1]])
SHAPE = (110, 80, 32)


def scan() -> nib.Nifti1Image:
    """A ball in air, whose brightness falls towards its border."""
    place = np.moveaxis(np.indices(SHAPE), 0, -1) @ AFFINE[:3, :3].T + AFFINE[:3, 3] - CENTRE
    return nib.Nifti1Image(np.maximum(400 - 140 * np.linalg.norm(place, axis=-1), -1000).astype(np.int16), AFFINE)


@pytest.fixture
def model(threshold_model: Callable[..., Trained]) -> Trained:
    return threshold_model()


def test_a_path_a_nibabel_and_a_simpleitk_image_give_the_same(model: Trained, tmp_path: Path) -> None:
    nib.save(scan(), tmp_path / "scan.nii.gz")
    images = (tmp_path / "scan.nii.gz", str(tmp_path / "scan.nii.gz"), scan(), sitk.ReadImage(tmp_path / "scan.nii.gz"))
    found = [ambiseg.predict(image, model, at=[CENTRE], draws=60) for image in images]
    first = found[0]
    assert [lesion["centre_mm"] for lesion in first.figures["lesions"]] == [list(CENTRE)]
    for other in found[1:]:
        assert np.array_equal(first.lesions[0].hypotheses.masks, other.lesions[0].hypotheses.masks)
        assert first.figures == other.figures
        assert other.mask(1).affine == pytest.approx(AFFINE, abs=1e-5)


def test_masks_and_maps_lie_on_the_scans_own_grid(model: Trained) -> None:
    image = nib.as_closest_canonical(scan())
    found = ambiseg.predict(image, model, at=[CENTRE], draws=60)
    for rank, entry in enumerate(found.figures["lesions"][0]["hypotheses"], start=1):
        mask = found.mask(rank)
        assert mask.shape == image.shape
        assert np.allclose(mask.affine, image.affine)
        marked = np.asarray(mask.dataobj) > 0
        assert marked.sum() * 0.7 * 0.9 * 2 == pytest.approx(entry["volume_mm3"], abs=1e-3)
        if marked.any():
            centre = nib.affines.apply_affine(mask.affine, np.argwhere(marked)).mean(0)
            assert np.linalg.norm(centre - CENTRE) < 1
    probability = np.asarray(found.probability().dataobj)
    assert 0.7 < probability.max() <= 1


def test_saving_gives_the_commands_folder(model: Trained, tmp_path: Path) -> None:
    found = ambiseg.predict(scan(), model, at=[CENTRE], draws=40, top=2)
    found.save(tmp_path / "out", formats=["seg-nrrd"])
    assert json.loads((tmp_path / "out" / "hypotheses.json").read_text()) == found.figures
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert {"hyp_01.nii.gz", "hyp_02.nii.gz", "report.html", "run.json", "hypotheses.seg.nrrd"} <= names
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out"]
    found.save(tmp_path / "without", report="none")
    assert not (tmp_path / "without" / "report.html").exists()
    found.save(tmp_path / "sharing", report="shared")
    page = (tmp_path / "sharing" / "report.html").read_text(encoding="utf-8")
    assert all(f"../report-files/{file.name}" in page for file in (tmp_path / "report-files").glob("*.[cj]s*"))
    with pytest.raises(UsageError, match="`report` is 'all': expected single, shared, none"):
        found.save(tmp_path / "other", report="all")
    with pytest.raises(UsageError, match="refers to the scan's DICOM images, but the scan is not DICOM"):
        found.save(tmp_path / "other", formats=["dicom-seg"])
    assert not (tmp_path / "other").exists()


def test_another_kind_of_image_is_read_too(model: Trained) -> None:
    image = scan()
    analyze = nib.spatialimages.SpatialImage(np.asarray(image.dataobj), image.affine)
    found = ambiseg.predict(analyze, model, at=[CENTRE], draws=20)
    assert found.mask().shape == SHAPE


def test_what_is_no_scan_is_named(model: Trained) -> None:
    with pytest.raises(UsageError, match="A dict_keys is no scan: expected a path, a nibabel image"):
        ambiseg.predict({}.keys(), model)
    with pytest.raises(UsageError, match=r"shape \[3\] is no image of 1 channel: expected \[Y, X\] or \[Z, Y, X\]"):
        ambiseg.predict(np.zeros(3), model)
    with pytest.raises(DataError, match="The scan holds several volumes or channels"):
        ambiseg.predict(nib.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), AFFINE), model)
    with pytest.raises(DataError, match=r"holds several volumes or channels \(3\)"):
        ambiseg.predict(sitk.Image([4, 4, 4], sitk.sitkVectorFloat32, 3), model)
    with pytest.raises(DataError, match="the image holds complex128 voxels"):
        ambiseg.predict(nib.Nifti1Image(np.zeros((4, 4, 4), complex), AFFINE), model)


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'segment'"):
        ambiseg.segment  # noqa: B018
    assert "predict" in ambiseg.__all__


def test_numbers_that_are_not_there_are_named(model: Trained) -> None:
    found = ambiseg.predict(scan(), model, at=[CENTRE], draws=20, top=2)
    with pytest.raises(UsageError, match="No hypothesis 0: lesion 1 has 2, counted from 1"):
        found.mask(0)
    with pytest.raises(UsageError, match="No lesion 2: there are 1, counted from 1"):
        found.probability(2)
    with pytest.raises(UsageError, match=r"expected a list of points \(x, y, z\)"):
        ambiseg.predict(scan(), model, at=CENTRE)
    with pytest.raises(UsageError, match="candidates = 0: expected at least 1"):
        ambiseg.predict(scan(), model, candidates=0)
