"""NRRD and MetaImage files: geometry against NIfTI and SimpleITK, and what is refused."""

from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from ambiseg.preprocessing.errors import DataError, InputError
from ambiseg.preprocessing.itk import read_itk
from ambiseg.preprocessing.nifti import read_volume, write_on_grid

SUFFIXES = [".nrrd", ".nhdr", ".mha", ".mhd"]
VOXELS = np.random.default_rng(6).integers(-1000, 400, (4, 5, 6)).astype(np.int16)  # [k, j, i]
TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])


def itk_image(array: np.ndarray = VOXELS, direction: np.ndarray = TURN) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((12.0, -31.5, 7.25))
    image.SetDirection(direction.ravel().tolist())
    return image


def save(path: Path, image: sitk.Image | None = None, packed: bool = False) -> Path:
    sitk.WriteImage(itk_image() if image is None else image, str(path), packed)
    return path


def edit(path: Path, *changes: tuple[str, str]) -> Path:
    content = path.read_bytes()
    for before, after in changes:
        assert before.encode() in content
        content = content.replace(before.encode(), after.encode())
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_voxel_lies_where_simpleitk_has_it(tmp_path: Path, suffix: str, packed: bool) -> None:
    image = itk_image()
    volume, grid = read_itk(save(tmp_path / f"scan{suffix}", image, packed))
    assert volume.array.dtype == np.int16
    for i, j, k in product(range(6), range(5), range(4)):
        left, back, head = image.TransformIndexToPhysicalPoint((i, j, k))
        assert np.allclose((grid.affine @ [i, j, k, 1])[:3], (-left, -back, head), atol=1e-5)
        z, y, x = (round(value) for value in volume.voxel((-left, -back, head)))
        assert volume.array[z, y, x] == VOXELS[k, j, i]


@pytest.mark.parametrize(
    ("order", "signs"), list(product(permutations(range(3)), [(1, 1, 1), (-1, 1, -1), (1, -1, -1)]))
)
def test_every_orientation_gives_the_volume_that_the_nifti_gives(
    tmp_path: Path, order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    """The NIfTI is ITK's own, read by nibabel."""
    image = itk_image(direction=TURN @ (np.eye(3)[:, order] * signs))
    nifti = read_volume(save(tmp_path / "scan.nii.gz", image))
    for suffix in (".nrrd", ".mha"):
        volume, grid = read_itk(save(tmp_path / f"scan{suffix}", image))
        assert np.array_equal(volume.array, nifti.array)
        assert np.allclose(volume.affine, nifti.affine, atol=1e-4)
        assert volume.array.flags.c_contiguous
        write_on_grid(tmp_path / "out.nii.gz", volume.array.astype(np.float32), grid)
        written, theirs = nib.load(tmp_path / "out.nii.gz"), sitk.ReadImage(str(tmp_path / "out.nii.gz"))
        assert np.array_equal(written.get_fdata(), VOXELS.T)
        assert np.allclose(written.affine, grid.affine, atol=1e-5)
        assert np.allclose(theirs.GetOrigin(), image.GetOrigin(), atol=1e-4)
        assert np.allclose(theirs.GetDirection(), image.GetDirection(), atol=1e-5)
        assert np.allclose(theirs.GetSpacing(), image.GetSpacing(), atol=1e-5)


def test_another_space_than_lps_is_turned(tmp_path: Path) -> None:
    save(tmp_path / "lps.nhdr", itk_image(direction=np.eye(3)))
    path = edit(tmp_path / "lps.nhdr", ("left-posterior-superior", "right-anterior-superior"))
    _, grid = read_itk(path)
    assert np.allclose(grid.affine, [[0.7, 0, 0, 12], [0, 0.8, 0, -31.5], [0, 0, 2.5, 7.25], [0, 0, 0, 1]])


def test_big_endian_voxels_are_right(tmp_path: Path) -> None:
    path = save(tmp_path / "scan.nhdr")
    (tmp_path / "scan.raw").write_bytes(VOXELS.astype(">i2").tobytes())
    volume, grid = read_itk(edit(path, ("endian: little", "endian: big")))
    assert volume.array.dtype.isnative
    assert np.array_equal(grid.back(volume.array).T, VOXELS)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_2d_image_is_one_slice(tmp_path: Path, suffix: str) -> None:
    image = sitk.GetImageFromArray(VOXELS[0])
    image.SetSpacing((0.5, 0.6))
    volume, grid = read_itk(save(tmp_path / f"slice{suffix}", image))
    assert np.array_equal(volume.array, VOXELS[:1])
    assert volume.spacing_mm == pytest.approx((1.0, 0.6, 0.5))
    assert grid.shape == (6, 5, 1)


def test_text_numbers_and_one_volume_of_four_axes_are_read(tmp_path: Path) -> None:
    (tmp_path / "text.nrrd").write_text(
        "NRRD0004\ntype: int\ndimension: 2\nsizes: 3 2\nencoding: ascii\n\n1 2 3\n4 5 6\n"
    )
    assert read_itk(tmp_path / "text.nrrd")[0].array.tolist() == [[[1, 2, 3], [4, 5, 6]]]
    four = sitk.JoinSeries([sitk.GetImageFromArray(VOXELS)])
    assert np.array_equal(read_itk(save(tmp_path / "one.mha", four))[0].array, VOXELS)


def cut(path: Path, kept: float = 0.6) -> Path:
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    return path


def flip_a_byte(path: Path, packed: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(packed) + 60] ^= 0x55
    path.write_bytes(content)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_truncated_file_is_refused_without_noise(
    tmp_path: Path, suffix: str, packed: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    path = cut(save(tmp_path / f"scan{suffix}", itk_image(np.tile(VOXELS, (3, 3, 3))), packed), 0.8)
    with pytest.raises(DataError, match=rf"scan\{suffix} is not a whole (NRRD|MetaImage) file"):
        read_itk(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("suffix", "begin"), [(".nrrd", b"\x1f\x8b"), (".mha", b"LOCAL\n")])
def test_a_damaged_block_that_itk_would_pass_over_is_refused(tmp_path: Path, suffix: str, begin: bytes) -> None:
    path = save(tmp_path / f"scan{suffix}", packed=True)
    flip_a_byte(path, begin)
    with pytest.raises(DataError, match="is not a whole"):
        read_itk(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_header_that_claims_terabytes_allocates_nothing(tmp_path: Path, suffix: str) -> None:
    path = edit(save(tmp_path / f"huge{suffix}", packed=True), ("6 5 4", "60000 50000 40000"))
    with pytest.raises(DataError, match=r"header of huge.* claims 240,000.0 GB of voxels"):
        read_itk(path)


def four_volumes(folder: Path) -> Path:
    return save(folder / "scan.mha", sitk.JoinSeries([sitk.GetImageFromArray(VOXELS)] * 2))


def colours(folder: Path) -> Path:
    return save(folder / "scan.mha", sitk.Compose([itk_image()] * 3))


def layers(folder: Path) -> Path:
    return save(folder / "scan.nrrd", sitk.Compose([itk_image()] * 2))


def complex_numbers(folder: Path) -> Path:
    return save(folder / "scan.nrrd", sitk.RealAndImaginaryToComplex(*[sitk.Cast(itk_image(), sitk.sitkFloat32)] * 2))


def not_a_number(folder: Path) -> Path:
    array = VOXELS.astype(np.float32)
    array[0, 1, 2] = np.nan
    return save(folder / "scan.mha", itk_image(array))


def sheared_nrrd(folder: Path) -> Path:
    path = save(folder / "scan.nhdr", itk_image(direction=np.eye(3)))
    return edit(path, ("(0,0.8", "(0.16,0.8"))


def sheared_mha(folder: Path) -> Path:
    path = save(folder / "scan.mha", itk_image(direction=np.eye(3)))
    return edit(path, ("TransformMatrix = 1 0 0 0 1 0", "TransformMatrix = 1 0 0 0.2 1 0"))


def singular(folder: Path) -> Path:
    return edit(save(folder / "scan.mhd", itk_image(direction=np.eye(3))), ("1 0 0 0 1 0 0 0 1", "1 0 0 0 1 0 0 1 0"))


def metres(folder: Path) -> Path:
    return edit(save(folder / "scan.nhdr"), ("space origin", 'space units: "mm" "mm" "m"\nspace origin'))


def no_data_file(folder: Path) -> Path:
    path = save(folder / "scan.mhd")
    (folder / "scan.raw").unlink()
    return path


def data_cut_short(folder: Path) -> Path:
    path = save(folder / "scan.mhd")
    cut(folder / "scan.raw")
    return path


def data_elsewhere(folder: Path) -> Path:
    return edit(save(folder / "scan.nhdr"), ("data file: scan.raw", "data file: ../scan.raw"))


def data_of_the_system(folder: Path) -> Path:
    return edit(save(folder / "scan.mhd"), ("= scan.raw", "= /etc/passwd"))


def no_image(folder: Path) -> Path:
    (folder / "scan.nrrd").write_text("This is a text about lungs.")
    return folder / "scan.nrrd"


def other_format(folder: Path) -> Path:
    return save(folder / "scan.nrrd").rename(folder / "scan.mha")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (four_volumes, r"scan.mha holds several volumes \(6 x 5 x 4 x 2\): expected one volume"),
        (colours, r"scan.mha holds 3 values a voxel \(colours, vectors or layers\): expected one grey value"),
        (layers, "scan.nrrd holds 2 values a voxel"),
        (complex_numbers, "scan.nrrd holds 2 values a voxel"),
        (not_a_number, "scan.mha holds 1 voxels that are not numbers"),
        (sheared_nrrd, "affine of scan.nhdr is sheared by 11.3 degrees"),
        (sheared_mha, "affine of scan.mha is sheared by 11.3 degrees"),
        (singular, "affine of scan.mhd is singular"),
        (metres, "scan.nhdr gives lengths in m: expected mm"),
        (no_data_file, r"scan.mhd names its voxels' file scan.raw, and that is no file beside it"),
        (data_cut_short, "scan.mhd is not a whole MetaImage file"),
        (data_elsewhere, r"scan.nhdr names its voxels' file \.\./scan.raw, and that is no file beside it"),
        (data_of_the_system, "scan.mhd names its voxels' file /etc/passwd, and that is no file beside it"),
        (no_image, "scan.nrrd is not a whole NRRD file"),
        (other_format, "scan.mha is not a whole MetaImage file"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(
    tmp_path: Path, make: Callable[[Path], Path], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match=message):
        read_itk(make(tmp_path))
    assert capfd.readouterr() == ("", "")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No file .*scan.mha: expected a scan \(.nrrd, .nhdr, .mha, .mhd\)"):
        read_itk(tmp_path / "scan.mha")
