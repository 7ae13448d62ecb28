"""Where lesions are searched for: everything the user may give, and what happens if nothing is given."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from ambiseg.models.prediction.lesion import Lesion
from ambiseg.models.prediction.places import Places, find_lesions, named_lesions
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import DataError, InputError, NothingFound, UsageError
from ambiseg.preprocessing.scans.scan import DicomScan, Scan
from ambiseg.preprocessing.volumes.grid import grid_from
from ambiseg.preprocessing.volumes.volume import Volume

Make = Callable[..., Trained]
AFFINE = np.array([[-0.5, 0, 0, 50.0], [0, -0.5, 0, 60], [0, 0, 2, -30], [0, 0, 0, 1]])
SHAPE = (160, 200, 30)


def scan(depth: int = 30, affine: np.ndarray = AFFINE, dicom: DicomScan | None = None) -> Scan:
    return Scan("scan", Volume(np.zeros((depth, 200, 160), np.int16), AFFINE), grid_from(affine, SHAPE), dicom)


def save(path: Path, mask: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(mask, affine), path)
    return path


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Calls of the search, which finds one lesion."""
    calls: list[tuple[object, ...]] = []

    def search(trained: Trained, volume: Volume, *, lungs: object, limit: int, on_progress: object) -> list[Lesion]:
        calls.append((lungs, limit))
        return [Lesion((1, 2, 3), score=0.7)]

    monkeypatch.setattr("ambiseg.models.prediction.search.search", search)
    return calls


def test_all_ways_to_name_a_place_together(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("x,y,z,name\n3,4,5,second\n")
    mask = np.zeros(SHAPE, np.uint8)
    mask[10, 20, 3] = 1
    roi = save(tmp_path / "roi.nii.gz", mask)
    lesions = named_lesions(scan(), Places(at=[(1, 2, 3)], points=tmp_path / "points.csv", roi=roi))
    assert [lesion.name for lesion in lesions] == ["", "second", ""]
    assert np.allclose([lesion.centre_mm for lesion in lesions], [(1, 2, 3), (3, 4, 5), (45, 50, -24)])


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
def test_resampling_leaves_no_lesions_of_dust_about_one(tmp_path: Path, suffix: str) -> None:
    mask = np.random.default_rng(0).uniform(-1e-7, 1e-7, SHAPE).astype(np.float32)
    mask[8:14, 18:24, 2:6] += 1
    mask[7, 18:24, 2:6] = 0.4
    if suffix == ".mha":
        image = sitk.GetImageFromArray(mask.T)
        image.SetSpacing((0.5, 0.5, 2))
        image.SetOrigin((-50, -60, -30))
        sitk.WriteImage(image, str(tmp_path / "roi.mha"))
    else:
        save(tmp_path / "roi.nii.gz", mask)
    (lesion,) = named_lesions(scan(), Places(roi=tmp_path / f"roi{suffix}"))
    assert lesion.roi is not None
    assert len(lesion.roi) == 6 * 6 * 4


def test_a_mask_of_no_labels_is_refused(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.float32)
    mask[4, 4, 4], mask[9, 9, 9] = 1.37, 3
    with pytest.raises(
        DataError, match=r"roi.nii holds values between whole numbers, as 1.37: .* by nearest neighbour"
    ):
        named_lesions(scan(), Places(roi=save(tmp_path / "roi.nii", mask)))
    with pytest.raises(InputError, match=r"roi\.nii is empty"):
        named_lesions(scan(), Places(roi=save(tmp_path / "roi.nii", mask * 1e-6)))


def test_voxels_are_the_files_own() -> None:
    affine = np.array([[0, 0, 2.0, -10], [0.5, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 0, 1]])
    (lesion,) = named_lesions(scan(affine=affine), Places(at=[(6, 8, 3)], voxel=True))
    assert lesion.centre_mm == (-4, 3, 4)


def test_a_series_is_named_by_its_uid_in_a_table(tmp_path: Path) -> None:
    (tmp_path / "luna.csv").write_text("seriesuid,coordX,coordY,coordZ\n1.2.3,-1,-2,3\n1.2.4,10,20,30\n")
    (lesion,) = named_lesions(scan(dicom=DicomScan((), "1.2.3", "CT")), Places(points=tmp_path / "luna.csv"))
    assert lesion.centre_mm == (1, 2, 3)


def test_a_mask_of_another_scan_is_refused(tmp_path: Path) -> None:
    ones = np.ones(SHAPE, np.uint8)
    for name, mask, affine in (("roi", ones[1:], AFFINE), ("moved", ones, AFFINE + 0.1 * np.eye(4, k=3))):
        with pytest.raises(DataError, match=f"{name}.nii is not on the grid of the scan"):
            named_lesions(scan(), Places(roi=save(tmp_path / f"{name}.nii", mask, affine)))


def test_places_come_before_a_search(threshold_model: Make, found: list) -> None:
    lesions, found_by = find_lesions(threshold_model(), scan(), Places(at=[(1, 2, 3)]))
    assert (found_by, lesions[0].centre_mm) == ("given", (1, 2, 3))
    assert not found


def test_a_small_scan_is_a_crop(threshold_model: Make, found: list) -> None:
    lesions, found_by = find_lesions(threshold_model(128, 1.0), scan(), Places())
    assert (found_by, lesions[0].whole) == ("crop", True)
    assert not found


def test_a_large_scan_is_searched_within_the_mask_that_is_given(
    threshold_model: Make, found: list, tmp_path: Path
) -> None:
    lesions, found_by = find_lesions(threshold_model(64, 0.5), scan(), Places(candidates=3))
    assert (found_by, lesions[0].score) == ("search", 0.7)
    mask = np.zeros(SHAPE, np.uint8)
    mask[5:9] = 2
    find_lesions(threshold_model(64, 0.5), scan(), Places(lung_mask=save(tmp_path / "lungs.nii", mask)))
    (_, limit), (lungs, _) = found
    assert limit >= 3
    assert lungs.dtype == bool
    assert lungs.sum() == 4 * 200 * 30


def test_nothing_found_is_said(threshold_model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ambiseg.models.prediction.search.search", lambda *arguments, **choice: [])
    with pytest.raises(
        InputError, match=r"Nothing in the lungs looks like a lesion: say where to look with `at` \(X,Y,Z"
    ):
        find_lesions(threshold_model(64, 0.5), scan(), Places())


def test_what_cannot_be_searched(threshold_model: Make, found: list, tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"single slice larger than a lesion's crop is not searched: say where to look with `at` \(X,Y,Z",
    ):
        find_lesions(threshold_model(64, 0.5), scan(depth=1), Places())
    mask = save(tmp_path / "lungs.nii", np.ones(SHAPE, np.uint8))
    with pytest.raises(UsageError, match=r"`lung_mask` says where to search, but places are given too"):
        find_lesions(threshold_model(64, 0.5), scan(), Places(at=[(1, 2, 3)], lung_mask=mask))
    other = save(tmp_path / "other.nii", np.ones((3, 3, 3), np.uint8))
    with pytest.raises(DataError, match=r"other.nii is not on the grid of the scan"):
        find_lesions(threshold_model(64, 0.5), scan(), Places(lung_mask=other))
    assert not found


@pytest.mark.usefixtures("found")
def test_a_place_with_a_low_score_is_not_proposed(threshold_model: Make) -> None:
    lesions, found_by = find_lesions(threshold_model(), scan(), Places(min_score=0.7))
    assert (len(lesions), found_by) == (1, "search")
    with pytest.raises(
        NothingFound, match=r"the best place scores 0.7, `min_score` is 0.8\): lower `min_score`, or say where"
    ):
        find_lesions(threshold_model(), scan(), Places(min_score=0.8))


def test_structures_belong_to_a_region() -> None:
    with pytest.raises(
        UsageError, match=r"`structures` chooses among the labels or structures of `roi`, which is not given"
    ):
        named_lesions(scan(), Places(structures=["1"]))
