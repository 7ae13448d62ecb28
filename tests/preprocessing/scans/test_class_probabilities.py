"""Another segmenter's class probabilities: nnU-Net's axis order in files of any orientation, NIfTI, what is refused."""

import pickle
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError, InputError
from ambiseg.preprocessing.scans.class_probabilities import crop_probabilities, read_class_probabilities
from ambiseg.preprocessing.scans.formats.nifti_volume import read_grid, read_volume
from ambiseg.preprocessing.store.store_crop import in_255ths
from ambiseg.preprocessing.volumes.resample import PlaneGrid

SHAPE = (7, 6, 5)  # i, j, k of the file
ORIENTATIONS = ("LPS", "RAS", "PIR", "SLA", "LAI")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return make_scan(tmp_path)


def make_scan(folder: Path, orientation: str = "RAS") -> Path:
    """A scan whose voxels are probabilities themselves, all different."""
    axes = nib.orientations.axcodes2ornt(orientation)
    affine = np.zeros((4, 4))
    for axis, (direction, sign) in enumerate(axes):
        affine[int(direction), axis] = sign * (0.7, 0.9, 2.0)[axis]
    affine[:, 3] = (10, -20, 30, 1)
    values = np.random.default_rng(0).permutation(np.prod(SHAPE)).reshape(SHAPE) / np.prod(SHAPE)
    nib.save(nib.Nifti1Image(values.astype(np.float32), affine), folder / "scan.nii.gz")
    return folder / "scan.nii.gz"


def read(path: Path, scan: Path, classes: int = 2) -> NDArray[np.float32]:
    return read_class_probabilities(path, scan.name, read_volume(scan), read_grid(scan), classes)


def save_npz(path: Path, lesion: NDArray, key: str = "probabilities") -> Path:
    np.savez_compressed(path, **{key: np.stack([1 - lesion, lesion])})
    return path


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_an_npz_in_simpleitk_order_lies_on_the_scan(tmp_path: Path, orientation: str) -> None:
    """nnU-Net's default reader is SimpleITK: probabilities made of its array are the scan's own values again."""
    scan = make_scan(tmp_path, orientation)
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(scan)))
    (tmp_path / "case.pkl").write_bytes(pickle.dumps({"sitk_stuff": {"spacing": (1, 1, 1)}, "spacing": [1, 1, 1]}))
    background, lesion = read(save_npz(tmp_path / "case.npz", array), scan)
    np.testing.assert_array_equal(lesion, read_volume(scan).array)
    np.testing.assert_array_equal(background, 1 - lesion)
    assert lesion.dtype == np.float32


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("note", ["reoriented_affine", "original_orientation"])
def test_an_npz_of_a_reader_that_turns_images_to_ras(tmp_path: Path, orientation: str, note: str) -> None:
    scan = make_scan(tmp_path, orientation)
    canonical = nib.as_closest_canonical(nib.load(scan))
    (tmp_path / "case.pkl").write_bytes(pickle.dumps({"stuff": {note: np.eye(4)}}))
    array = np.asarray(canonical.dataobj).transpose(2, 1, 0)
    _, lesion = read(save_npz(tmp_path / "case.npz", array), scan)
    np.testing.assert_array_equal(lesion, read_volume(scan).array)


def test_version_1_leaves_out_what_it_cropped(tmp_path: Path, scan: Path) -> None:
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(scan)))
    stored = np.stack([1 - array, array]).astype(np.float16)
    stored[:, :, :2] = 0
    np.savez_compressed(tmp_path / "v1.npz", softmax=stored)
    found = read(tmp_path / "v1.npz", scan)
    np.testing.assert_allclose(found.sum(0), 1, atol=2e-3)
    outside = (found == np.array([1, 0])[:, None, None, None]).all(0)
    assert outside.sum() >= 2 * 7 * 5
    np.testing.assert_allclose(found[1][~outside], read_volume(scan).array[~outside], atol=1e-3)


def test_a_flat_scan_has_one_slice(tmp_path: Path) -> None:
    values = np.random.default_rng(1).random((8, 6)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, -1, 1, 1])), tmp_path / "flat.nii")
    _, lesion = read(save_npz(tmp_path / "flat.npz", values.T[None]), tmp_path / "flat.nii")
    np.testing.assert_array_equal(lesion, values.T[None])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_nifti_with_the_classes_along_the_fourth_axis(tmp_path: Path, orientation: str) -> None:
    scan = make_scan(tmp_path, orientation)
    image = nib.load(scan)
    lesion = np.asarray(image.dataobj)
    classes = np.stack([1 - lesion, 0.7 * lesion, 0.3 * lesion], -1)
    for name, array in (("four.nii.gz", classes), ("five.nii.gz", classes[:, :, :, None])):
        nib.save(nib.Nifti1Image(array, image.affine), tmp_path / name)
        found = read(tmp_path / name, scan, 3)
        np.testing.assert_allclose(found[1], 0.7 * read_volume(scan).array, atol=1e-6)


def test_nifti_of_the_foreground_alone_and_in_another_orientation(tmp_path: Path, scan: Path) -> None:
    """The same voxels in another file order are the same grid."""
    turned = nib.load(scan).as_reoriented(np.array([[1, -1], [2, 1], [0, 1]]))
    nib.save(turned, tmp_path / "lesion.nii")
    background, lesion = read(tmp_path / "lesion.nii", scan)
    np.testing.assert_array_equal(lesion, read_volume(scan).array)
    np.testing.assert_array_equal(background, 1 - lesion)


def lesion_of(scan: Path) -> NDArray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(scan)))


def four_classes(folder: Path, scan: Path) -> Path:
    np.savez(folder / "bad.npz", probabilities=np.full((4, 5, 6, 7), 0.25))
    return folder / "bad.npz"


def cropped(folder: Path, scan: Path) -> Path:
    return save_npz(folder / "bad.npz", lesion_of(scan)[:, 1:], "softmax")


def other_axes(folder: Path, scan: Path) -> Path:
    return save_npz(folder / "bad.npz", lesion_of(scan).T)


def logits(folder: Path, scan: Path) -> Path:
    return save_npz(folder / "bad.npz", lesion_of(scan) * 9)


def not_numbers(folder: Path, scan: Path) -> Path:
    return save_npz(folder / "bad.npz", lesion_of(scan) * np.nan)


def regions(folder: Path, scan: Path) -> Path:
    np.savez(folder / "bad.npz", probabilities=np.stack([lesion_of(scan), lesion_of(scan)]))
    return folder / "bad.npz"


def other_key(folder: Path, scan: Path) -> Path:
    return save_npz(folder / "bad.npz", lesion_of(scan), "data")


def labels(folder: Path, scan: Path) -> Path:
    np.savez(folder / "bad.npz", probabilities=np.zeros((5, 6, 7), np.uint8))
    return folder / "bad.npz"


def pickled(folder: Path, scan: Path) -> Path:
    np.savez(folder / "bad.npz", probabilities=np.array([Bomb()], object))
    return folder / "bad.npz"


def a_pickle(folder: Path, scan: Path) -> Path:
    (folder / "bad.npz").write_bytes(pickle.dumps(Bomb()))
    return folder / "bad.npz"


def cut_short(folder: Path, scan: Path) -> Path:
    whole = save_npz(folder / "bad.npz", lesion_of(scan)).read_bytes()
    (folder / "bad.npz").write_bytes(whole[: len(whole) // 2])
    return folder / "bad.npz"


def damaged(folder: Path, scan: Path) -> Path:
    whole = bytearray(save_npz(folder / "bad.npz", lesion_of(scan)).read_bytes())
    whole[200:260] = bytes(60)
    (folder / "bad.npz").write_bytes(whole)
    return folder / "bad.npz"


def moved(folder: Path, scan: Path) -> Path:
    image = nib.load(scan)
    nib.save(nib.Nifti1Image(image.get_fdata(), image.affine + np.eye(4)[:, :1] @ [[0, 0, 0, 3]]), folder / "bad.nii")
    return folder / "bad.nii"


def smaller(folder: Path, scan: Path) -> Path:
    nib.save(nib.load(scan).slicer[1:], folder / "bad.nii")
    return folder / "bad.nii"


class Bomb:
    """An object that must not be loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("it was unpickled",)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (four_classes, DataError, "bad.npz holds the probabilities of 4 classes: expected 2, background first."),
        (cropped, DataError, r"holds softmax of shape 2 x 5 x 5 x 7: expected classes x 5 x 6 x 7 \(Z x Y x X\)"),
        (other_axes, DataError, "holds probabilities of shape 2 x 7 x 6 x 5: expected classes x 5 x 6 x 7"),
        (logits, DataError, "holds values from -.* to .*: expected probabilities from 0 to 1, not logits"),
        (not_numbers, DataError, "holds values from nan to nan"),
        (regions, DataError, "holds class probabilities that sum to .* in a voxel: expected 1; overlapping regions"),
        (other_key, DataError, "bad.npz holds data: expected an array named probabilities or softmax"),
        (labels, DataError, "holds probabilities of shape 5 x 6 x 7 and type uint8: expected floating point numbers"),
        (pickled, DataError, "holds pickled Python objects, which are never loaded"),
        (a_pickle, DataError, "bad.npz is not a whole npz file"),
        (cut_short, DataError, "bad.npz is not a whole npz file"),
        (damaged, DataError, "bad.npz is not a whole npz file"),
        (moved, DataError, "bad.nii is not on the grid of scan.nii.gz: their voxels lie up to 3.0 mm apart"),
        (smaller, DataError, "bad.nii is not on the grid of scan.nii.gz: it has 6 x 6 x 5 voxels, the image 7 x 6 x 5"),
        (lambda folder, scan: folder / "gone.npz", InputError, "No file .*gone.npz: expected class probabilities"),
        (lambda folder, scan: folder / "case.pkl", InputError, "case.pkl is not read: expected .* as .npz"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, scan: Path, make: Callable[[Path, Path], Path], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read(make(tmp_path, scan), scan)


def test_crops_are_linear_and_sum_to_one() -> None:
    """Columns 0..3 have lesion probabilities 0, .2, .4, .6; beyond the plane there is background."""
    lesion = np.tile(np.arange(4) * 0.2, (4, 1)).astype(np.float32)
    planes = np.stack([1.005 - lesion, lesion])  # stored coarsely
    crops = crop_probabilities(planes, PlaneGrid(4, (1.5, 1.5), (1.0, 0.5)))
    np.testing.assert_allclose(crops.sum(0), 1, atol=1e-6)
    np.testing.assert_allclose(crops[1, 1], np.array([0.15, 0.25, 0.35, 0.45]) / 1.005, atol=1e-3)
    outside = crop_probabilities(planes, PlaneGrid(4, (1.5, 6.5), (1.0, 1.0)))
    np.testing.assert_array_equal(outside[0, :, 1:], 1)
    assert in_255ths(crops).dtype == np.uint8
    assert in_255ths(np.array([0, 0.5, 1], np.float32)).tolist() == [0, 128, 255]
