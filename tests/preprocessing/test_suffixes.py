"""A suffix means the same in upper and lower case, wherever files are searched for or read."""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.names import scan_name, without_suffix
from ambiseg.preprocessing.scans.cases import find_cases as find_scans
from ambiseg.preprocessing.scans.class_probabilities import read_class_probabilities
from ambiseg.preprocessing.scans.formats.nifti_volume import write_volume
from ambiseg.preprocessing.scans.scan import open_scan, read_mask
from ambiseg.preprocessing.sources.nifti.nifti_cases import find_cases
from ambiseg.preprocessing.sources.nifti.nifti_crops import NiftiSettings, case_crops
from ambiseg.preprocessing.sources.packed.kinds import open_pack
from ambiseg.preprocessing.sources.packed.pack import PackSettings
from ambiseg.preprocessing.sources.papers.mnist import read_idx

SCANS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
CASES: tuple[Callable[[str], str], ...] = (str.lower, str.upper, str.title)
VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


def save(path: Path, array: np.ndarray = VOXELS) -> Path:
    """An image under its name, whatever the case of the suffix, which SimpleITK does not always know."""
    plain = path.with_name(path.name.lower())
    sitk.WriteImage(sitk.GetImageFromArray(array), str(plain))
    return plain.rename(path)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("suffix", SCANS)
def test_scans_masks_and_batches(tmp_path: Path, suffix: str, case: Callable[[str], str]) -> None:
    path = save(tmp_path / f"a{case(suffix)}")
    with open_scan(path) as scan:
        assert scan.name == "a"
        assert np.array_equal(np.sort(scan.volume.array, None), VOXELS.ravel())
    assert read_mask(path).array.shape == VOXELS.shape
    found = find_scans(tmp_path)
    assert found is not None
    assert [(each.name, each.path) for each in found] == [("a", path)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha"])
def test_a_scan_in_a_zip(tmp_path: Path, suffix: str, case: Callable[[str], str]) -> None:
    path = tmp_path / f"a{suffix}{case('.zip')}"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(save(tmp_path / f"a{case(suffix)}"), f"a{case(suffix)}")
    with open_scan(path) as scan:
        assert scan.name == "a"
        assert scan.volume.array.shape == VOXELS.shape


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_cases_of_nifti_files(tmp_path: Path, suffix: str, case: Callable[[str], str]) -> None:
    folder = tmp_path / "cases" / "one"
    folder.mkdir(parents=True)
    image = save(folder / f"image{case(suffix)}")
    masks = [save(folder / f"reader_{number}{case(suffix)}", (VOXELS > 5).astype(np.uint8)) for number in (1, 2)]
    np.savez(folder / "probabilities.npz", probabilities=np.full((2, *VOXELS.shape), 0.5))
    (folder / "probabilities.npz").rename(folder / f"probabilities{case('.npz')}")
    (found,) = find_cases(tmp_path / "cases")
    assert (found.images, found.masks) == ((image,), tuple(masks))
    assert len(case_crops(found, NiftiSettings(size=4))) == 2
    table = tmp_path / f"table{case('.csv')}"
    row = ",".join(str(each.relative_to(tmp_path)) for each in (image, *masks))
    table.write_text(f"case,image,mask_1,mask_2\none,{row}\n")
    assert len(case_crops(find_cases(table)[0], NiftiSettings(size=4))) == 2


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("image.nii", "image.NII.GZ", "reader_1.nii"):
        (tmp_path / "one").mkdir(exist_ok=True)
        save(tmp_path / "one" / name)
    with pytest.raises(DataError, match=r"holds both image.NII.GZ and image.nii: leave one of them"):
        find_cases(tmp_path)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("suffix", [".npz", ".nii", ".nii.gz"])
def test_class_probabilities(tmp_path: Path, suffix: str, case: Callable[[str], str]) -> None:
    path = tmp_path / f"given{case(suffix)}"
    with open_scan(save(tmp_path / "scan.nii")) as scan:
        if suffix == ".npz":
            np.savez(tmp_path / "plain.npz", probabilities=np.full((2, *VOXELS.shape), 0.5))
            (tmp_path / "plain.npz").rename(path)
        else:
            save(path, np.full(VOXELS.shape, 0.5, np.float32))
        assert read_class_probabilities(path, "scan", scan.volume, scan.grid, 2).shape == (2, *VOXELS.shape)


@pytest.mark.parametrize("case", CASES)
def test_packed_crops(tmp_path: Path, case: Callable[[str], str]) -> None:
    (tmp_path / "arrays").mkdir()
    np.savez(tmp_path / "arrays" / "a.npz", images=np.zeros((3, 8, 8)), masks=np.zeros((3, 2, 8, 8), bool))
    (tmp_path / "arrays" / "a.npz").rename(tmp_path / "arrays" / f"a{case('.npz')}")
    assert len(list(open_pack([tmp_path / "arrays"], PackSettings()).crops())) == 3
    for folder in ("images", "mask-0"):
        (tmp_path / "pictures" / folder).mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "pictures" / "images" / f"a{case('.png')}", "png")
    Image.new("L", (8, 8), 1).save(tmp_path / "pictures" / "mask-0" / "a.png")
    (crop,) = open_pack([tmp_path / "pictures"], PackSettings()).crops()
    assert crop.masks.all()
    assert crop.present is not None
    assert crop.present.all()


@pytest.mark.parametrize("case", CASES)
def test_digits_packed_by_gzip(tmp_path: Path, case: Callable[[str], str]) -> None:
    (tmp_path / f"digits{case('.gz')}").write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\x03abc"))
    assert bytes(read_idx(tmp_path / f"digits{case('.gz')}")) == b"abc"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_written_volumes(tmp_path: Path, suffix: str, case: Callable[[str], str]) -> None:
    with open_scan(save(tmp_path / "scan.nii")) as scan:
        write_volume(tmp_path / f"copy{case(suffix)}", scan.volume)
    packed = (tmp_path / f"copy{case(suffix)}").read_bytes()[:2] == b"\x1f\x8b"
    assert packed == (suffix == ".nii.gz")


def test_the_longest_suffix_is_taken_off() -> None:
    assert without_suffix("a.b.NII.gz", (".gz", ".nii.gz", ".nii")) == "a.b"
    assert without_suffix("nii", (".nii",)) == "nii"
    assert scan_name(Path("somewhere") / "A.Nii.GZ.ZIP") == "A"
