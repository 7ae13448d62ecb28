"""NIfTI in and out: orientation, scaling, the written grid, and what is refused."""

import gzip
import io
import struct
import zlib
from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from ambiseg.preprocessing.errors import DataError, InputError, ResourceError
from ambiseg.preprocessing.scans.formats.gzip_blocks import BLOCK, GzipBlocks
from ambiseg.preprocessing.scans.formats.nifti_volume import read_grid, read_volume, write_on_grid, write_volume
from ambiseg.preprocessing.volumes.grid import grid_from
from ambiseg.preprocessing.volumes.volume import Volume

RNG = np.random.default_rng(5)
VOXELS = RNG.integers(-1000, 400, (6, 5, 4)).astype(np.int16)
RAS = np.array([[0.7, 0, 0, -20.0], [0, 0.8, 0, 11.0], [0, 0, 2.5, -7.5], [0, 0, 0, 1]])


def save(path: Path, array: np.ndarray, affine: np.ndarray = RAS, qform: int = 1, sform: int = 1) -> Path:
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine if qform else None, qform)
    image.set_sform(affine if sform else None, sform)
    nib.save(image, path)
    return path


def test_array_is_turned_so_that_z_is_up_y_is_back_and_x_is_left(tmp_path: Path) -> None:
    volume = read_volume(save(tmp_path / "scan.nii.gz", VOXELS))
    assert np.array_equal(volume.array, VOXELS.transpose(2, 1, 0)[:, ::-1, ::-1])
    assert volume.array.dtype == np.int16
    assert volume.spacing_mm == pytest.approx((2.5, 0.8, 0.7))
    assert np.all(np.diag(volume.affine)[:3] * [-1, -1, 1] > 0)


@pytest.mark.parametrize(
    ("order", "signs"), list(product(permutations(range(3)), [(1, 1, 1), (-1, 1, -1), (1, -1, -1)]))
)
def test_every_orientation_of_a_file_gives_the_same_volume_and_takes_it_back(
    tmp_path: Path, order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    turn = np.stack([order, signs], 1)
    turned = nib.orientations.apply_orientation(VOXELS, turn)
    affine = RAS @ nib.orientations.inv_ornt_aff(turn, VOXELS.shape)
    path = save(tmp_path / "turned.nii", turned, affine)
    volume, upright = read_volume(path), read_volume(save(tmp_path / "upright.nii", VOXELS))
    assert np.array_equal(volume.array, upright.array)
    assert np.allclose(volume.affine, upright.affine, atol=1e-5)
    write_on_grid(tmp_path / "back.nii.gz", volume.array.astype(np.float32), path)
    assert np.array_equal(nib.load(tmp_path / "back.nii.gz").get_fdata(), turned)


def test_world_and_voxel_agree_with_the_file_on_an_oblique_grid(tmp_path: Path) -> None:
    angle = np.radians(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    path = save(tmp_path / "oblique.nii.gz", VOXELS, turn @ RAS)
    volume, stored = read_volume(path), nib.load(path)
    for index in ((0, 0, 0), (5, 4, 3), (2, 1, 3)):
        place = (stored.affine @ [*index, 1])[:3]
        z, y, x = (round(value) for value in volume.voxel(tuple(place)))
        assert volume.array[z, y, x] == VOXELS[index]


def test_world_positions_agree_with_simpleitk(tmp_path: Path) -> None:
    path = save(tmp_path / "scan.nii.gz", VOXELS, RAS @ np.diag([-1, 1, -1, 1]))
    volume, other = read_volume(path), sitk.ReadImage(str(path))
    for index in ((0, 0, 0), (5, 4, 3), (1, 3, 2)):
        left, back, head = other.TransformIndexToPhysicalPoint(index)
        z, y, x = (round(value) for value in volume.voxel((-left, -back, head)))
        assert volume.array[z, y, x] == other[index]


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1)])
def test_a_2d_file_is_one_slice_and_is_written_back_in_its_own_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = save(tmp_path / "slice.nii", VOXELS[..., 0].reshape(shape))
    volume = read_volume(path)
    assert volume.array.shape == (1, 5, 6)
    write_on_grid(tmp_path / "mask.nii", (volume.array > 0).astype(np.uint8), path)
    written = nib.load(tmp_path / "mask.nii")
    assert written.shape == shape
    assert np.array_equal(np.asarray(written.dataobj), (VOXELS[..., 0] > 0).reshape(shape))
    assert np.array_equal(written.affine, nib.load(path).affine)


def test_a_2d_file_of_another_program_is_read(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(VOXELS[..., 0])
    image.SetSpacing((0.5, 0.6))
    sitk.WriteImage(image, str(tmp_path / "slice.nii.gz"))
    volume = read_volume(tmp_path / "slice.nii.gz")
    assert volume.array.shape == (1, 6, 5)
    assert volume.spacing_mm[1:] == pytest.approx((0.6, 0.5))


def test_one_volume_in_a_4d_file_is_read(tmp_path: Path) -> None:
    assert read_volume(save(tmp_path / "scan.nii", VOXELS[..., None])).array.shape == (4, 5, 6)


def test_big_endian_and_scaled_voxels_are_right(tmp_path: Path) -> None:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    image = nib.Nifti1Image(VOXELS, RAS, header)
    image.header.set_slope_inter(2.0, -1024)  # nibabel then stores the array as it is
    nib.save(image, tmp_path / "scan.nii.gz")
    assert nib.load(tmp_path / "scan.nii.gz").header.endianness == ">"
    volume = read_volume(tmp_path / "scan.nii.gz")
    upright = VOXELS.transpose(2, 1, 0)[:, ::-1, ::-1]
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array, upright * 2.0 - 1024)
    nib.save(nib.Nifti1Image(VOXELS, RAS, nib.Nifti1Header(endianness=">")), tmp_path / "whole.nii")
    whole = read_volume(tmp_path / "whole.nii").array
    assert whole.dtype.isnative
    assert np.array_equal(whole, upright)


def test_units_other_than_mm_become_mm(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, RAS)
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "cells.nii")
    assert read_volume(tmp_path / "cells.nii").spacing_mm == pytest.approx((0.0025, 0.0008, 0.0007))


@pytest.mark.parametrize(("qform", "sform"), [(1, 1), (2, 0), (0, 4), (3, 1), (0, 0)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_written_files_have_the_same_place_and_form_codes(tmp_path: Path, qform: int, sform: int, suffix: str) -> None:
    path = save(tmp_path / f"scan{suffix}", VOXELS, qform=qform, sform=sform)
    mask = (read_volume(path).array > 0).astype(np.uint8)
    write_on_grid(tmp_path / f"mask{suffix}", mask, path, "a mask", '{"rank": 1}')
    written, scan = nib.load(tmp_path / f"mask{suffix}"), nib.load(path)
    assert written.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(written.dataobj), VOXELS > 0)
    for field in ("qform_code", "sform_code", "pixdim", "srow_x", "quatern_b", "qoffset_z", "xyzt_units"):
        assert np.array_equal(written.header[field], scan.header[field]), field
    assert bytes(written.header["descrip"]).rstrip(b"\0") == b"a mask"
    assert [extension.get_content() for extension in written.header.extensions] == [b'{"rank": 1}']


def test_masks_of_a_nifti2_file_are_nifti1_which_itk_opens(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(VOXELS, RAS), tmp_path / "scan.nii")
    volume = read_volume(tmp_path / "scan.nii")
    write_on_grid(tmp_path / "map.nii", volume.array.astype(np.float32), tmp_path / "scan.nii")
    written = nib.load(tmp_path / "map.nii")
    assert type(written) is nib.Nifti1Image
    assert np.allclose(written.affine, RAS)
    assert written.header["sform_code"] == nib.load(tmp_path / "scan.nii").header["sform_code"]
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "map.nii"))).T, VOXELS)


def test_an_axis_too_long_for_nifti1_stays_nifti2(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(np.zeros((40_000, 2), np.uint8), np.eye(4)), tmp_path / "slide.nii")
    write_on_grid(tmp_path / "map.nii", np.ones((1, 2, 40_000), np.uint8), tmp_path / "slide.nii")
    assert isinstance(nib.load(tmp_path / "map.nii"), nib.Nifti2Image)


def test_nothing_personal_travels_along(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, RAS)
    image.header["descrip"] = b"JANE DOE"
    image.header["db_name"] = b"JANE DOE"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"JANE DOE"))
    nib.save(image, tmp_path / "scan.nii")
    write_on_grid(tmp_path / "mask.nii", np.zeros((4, 5, 6), np.uint8), tmp_path / "scan.nii")
    assert b"JANE" not in (tmp_path / "mask.nii").read_bytes()


def test_same_array_same_bytes_under_any_name(tmp_path: Path) -> None:
    path = save(tmp_path / "scan.nii.gz", VOXELS)
    for name in ("a.nii.gz", "b.nii.gz"):
        write_on_grid(tmp_path / name, np.ones((4, 5, 6), np.uint8), read_grid(path))
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "b.nii.gz").read_bytes()
    assert content[3:8] == bytes(5)  # neither a name nor a time in the gzip header


def test_a_full_disk_leaves_nothing_and_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "scan.nii.gz", VOXELS)
    (tmp_path / "mask.nii.gz").write_bytes(b"old")

    def full(self: GzipBlocks, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GzipBlocks, "write", full)
    with pytest.raises(ResourceError, match="No room left on the disk"):
        write_on_grid(tmp_path / "mask.nii.gz", np.ones((4, 5, 6), np.uint8), read_grid(path))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mask.nii.gz", "scan.nii.gz"]
    assert (tmp_path / "mask.nii.gz").read_bytes() == b"old"


def not_nifti(path: Path) -> None:
    path.write_bytes(b"This is a text about lungs. " * 40)


def cut_short(path: Path) -> None:
    save(path, np.repeat(VOXELS, 20, 0))
    path.write_bytes(path.read_bytes()[:-200])


def several_volumes(path: Path) -> None:
    save(path, np.stack([VOXELS, VOXELS], -1))


def colours(path: Path) -> None:
    save(path, np.zeros((3, 3, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")]))


def complex_numbers(path: Path) -> None:
    save(path, VOXELS.astype(np.complex64))


def sheared(path: Path) -> None:
    save(path, VOXELS, np.array([[1, 0, 0, 0], [0, 1, 0.2, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), qform=0)


def singular(path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, None)
    image.header["sform_code"] = 1
    image.header["srow_x"], image.header["srow_y"] = [1, 0, 0, 0], [0, 1, 0, 0]
    nib.save(image, path)


def two_places(path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, RAS)
    image.set_qform(RAS + np.array([[0, 0, 0, 12.0]] + [[0] * 4] * 3), 1)
    image.set_sform(RAS, 2)
    nib.save(image, path)


def not_a_number(path: Path) -> None:
    array = VOXELS.astype(np.float32)
    array[1, 2, 3], array[0, 0, 0] = np.nan, np.inf
    save(path, array)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (not_nifti, "is not a whole NIfTI file"),
        (cut_short, "is not a whole NIfTI file"),
        (several_volumes, r"several volumes \(6 x 5 x 4 x 2\): expected one volume .* save the one"),
        (colours, "holds colours: expected one grey value"),
        (complex_numbers, "holds complex64 voxels"),
        (sheared, "sheared by 11.3 degrees"),
        (singular, "is singular"),
        (two_places, "sform and qform of .* up to 12.0 mm apart"),
        (not_a_number, "holds 2 voxels that are not numbers"),
    ],
)
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, damage: Callable[[Path], None], message: str, suffix: str
) -> None:
    damage(tmp_path / f"scan{suffix}")
    with pytest.raises(DataError, match=message):
        read_volume(tmp_path / f"scan{suffix}")


def test_missing_files_folders_and_other_formats_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No file .*scan.nii"):
        read_volume(tmp_path / "scan.nii")
    with pytest.raises(InputError, match=r"expected a \.nii or \.nii\.gz file"):
        read_volume(tmp_path / "scan.nrrd")
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(InputError, match="No file"):
        read_volume(tmp_path / "folder.nii")


@pytest.mark.parametrize("suffix", [".hdr", ".img"])
def test_pairs_are_refused(tmp_path: Path, suffix: str) -> None:
    nib.save(nib.Nifti1Pair(VOXELS, RAS), tmp_path / "scan.hdr")
    with pytest.raises(
        InputError, match=rf"scan\{suffix} is one of a pair \(.hdr and .img\).* save the scan as .nii.gz"
    ):
        read_volume(tmp_path / f"scan{suffix}")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("kind", "side"), [(nib.Nifti1Header, 32767), (nib.Nifti2Header, 2**40)])
def test_a_header_that_claims_terabytes_allocates_nothing(
    tmp_path: Path, kind: type[nib.Nifti1Header], side: int, suffix: str
) -> None:
    header = kind()
    header.set_data_dtype(np.int16)
    header.set_data_shape((side, side, 3000))
    header.set_sform(RAS, 1)
    packed = gzip.compress(header.binaryblock + bytes(1000), mtime=0)
    content = header.binaryblock + bytes(1000) if suffix == ".nii" else packed
    (tmp_path / f"huge{suffix}").write_bytes(content)
    with pytest.raises(
        DataError, match=r"header of huge.* claims [\d,.]+ GB of voxels, which its .* bytes cannot hold"
    ):
        read_volume(tmp_path / f"huge{suffix}")


def test_a_scan_beyond_this_machines_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "scan.nii", VOXELS)
    monkeypatch.setattr("os.sysconf", lambda name: 10)
    with pytest.raises(ResourceError, match=r"scan.nii needs 0.0 GB of memory and this machine has 0.0: crop"):
        read_volume(path)


def test_nifti2_and_integer_types_keep_their_values(tmp_path: Path) -> None:
    for kind in (np.uint8, np.int8, np.uint16, np.int32, np.uint32, np.int64, np.float64):
        array = (VOXELS % 120).astype(kind)
        nib.save(nib.Nifti2Image(array, RAS, dtype=kind), tmp_path / "scan.nii")
        volume = read_volume(tmp_path / "scan.nii")
        assert np.array_equal(volume.array, array.transpose(2, 1, 0)[:, ::-1, ::-1])
        assert volume.array.dtype == (np.float32 if kind is np.float64 else kind)


def test_a_grid_made_anew_is_the_scanners_in_mm(tmp_path: Path) -> None:
    grid = grid_from(RAS, (6, 5, 4))
    write_on_grid(tmp_path / "mask.nii.gz", grid.display(VOXELS > 0).astype(np.uint8), grid)
    written = nib.load(tmp_path / "mask.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), VOXELS > 0)
    assert np.allclose(written.get_sform(), RAS)
    assert np.allclose(written.get_qform(), RAS)
    assert (int(written.header["sform_code"]), int(written.header["qform_code"])) == (1, 1)
    assert written.header.get_xyzt_units()[0] == "mm"
    assert grid.display_shape == (4, 5, 6)


@pytest.mark.parametrize(
    ("affine", "shape", "message"),
    [
        (np.diag([1, 0, 1, 1.0]), (6, 5, 4), "affine of a.mha is singular"),
        (np.array([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), (6, 5, 4), "sheared by 11.3"),
        (RAS, (40000, 5, 4), "a.mha has 40000 x 5 x 4 voxels: expected at most 32767"),
    ],
)
def test_a_grid_that_nifti_cannot_hold_is_refused(
    affine: np.ndarray, shape: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        grid_from(affine, shape, "a.mha")


def with_offset(path: Path, kind: type[nib.Nifti1Image], offset: float, gap: int = 0) -> Path:
    """A file whose header says that the voxels begin at `offset`, and which has them `gap` bytes behind the header."""
    begin = kind.header_class.single_vox_offset
    nib.save(kind(VOXELS, RAS), path.with_suffix(".nii"))
    content = bytearray(path.with_suffix(".nii").read_bytes())
    at, form = (108, "<f") if begin == 352 else (168, "<q")
    content[at : at + struct.calcsize(form)] = struct.pack(form, offset)
    content[begin:begin] = bytes(gap)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("kind", "offset", "gap"),
    [
        *((nib.Nifti1Image, offset, 0) for offset in (0, 100, 348, 351.5, 352)),
        *((nib.Nifti2Image, offset, 0) for offset in (0, 352, 540, 544)),
        (nib.Nifti1Image, 1000, 648),
        (nib.Nifti2Image, 545, 1),
    ],
)
def test_the_header_is_never_taken_for_voxels(
    tmp_path: Path, kind: type[nib.Nifti1Image], offset: float, gap: int, suffix: str
) -> None:
    volume = read_volume(with_offset(tmp_path / f"scan{suffix}", kind, offset, gap))
    assert np.array_equal(volume.array, VOXELS.transpose(2, 1, 0)[:, ::-1, ::-1])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("kind", "offset", "message"),
    [
        *(
            (nib.Nifti1Image, offset, "says that its voxels begin at byte")
            for offset in (-1, -352, 360.5, np.nan, np.inf)
        ),
        (nib.Nifti2Image, -1, "says that its voxels begin at byte -1: expected a whole number from 544 on"),
        *((nib.Nifti1Image, offset, "is not a whole NIfTI file") for offset in (353, 592, 1e6, 1e30)),
        (nib.Nifti2Image, 2**62, "is not a whole NIfTI file"),
    ],
)
def test_an_offset_that_leads_nowhere_is_refused(
    tmp_path: Path, kind: type[nib.Nifti1Image], offset: float, message: str, suffix: str
) -> None:
    with pytest.raises(DataError, match=rf"scan\{suffix} {message}"):
        read_volume(with_offset(tmp_path / f"scan{suffix}", kind, offset))


def test_an_extension_and_an_offset_of_none_are_refused(tmp_path: Path) -> None:
    path = with_offset(tmp_path / "scan.nii", nib.Nifti1Image, 0)
    content = bytearray(path.read_bytes())
    content[348] = 1  # there is an extension, of which nobody can say where it ends
    path.write_bytes(content)
    with pytest.raises(DataError, match="says that its voxels begin at byte 0"):
        read_volume(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII", ".Nii.Gz"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_file_is_read_as_its_bytes_say_whatever_its_name(tmp_path: Path, packed: bool, suffix: str) -> None:
    content = save(tmp_path / "plain.nii", VOXELS).read_bytes()
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert np.array_equal(read_volume(path).array, VOXELS.transpose(2, 1, 0)[:, ::-1, ::-1])


def test_a_packed_file_of_several_members_and_zeros_at_its_end_is_read(tmp_path: Path) -> None:
    content = save(tmp_path / "plain.nii", VOXELS).read_bytes()
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]) + bytes(512))
    assert np.array_equal(read_volume(tmp_path / "scan.nii.gz").array, VOXELS.transpose(2, 1, 0)[:, ::-1, ::-1])


def test_no_damaged_byte_of_a_packed_file_changes_a_voxel(tmp_path: Path) -> None:
    path = save(tmp_path / "scan.nii.gz", VOXELS)
    content, expected = path.read_bytes(), read_volume(path).array
    refused = 0
    for place in range(0, len(content), 2):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :])
        try:
            assert np.array_equal(read_volume(path).array, expected)
        except DataError:
            refused += 1
    assert refused > len(content) // 2 - 20  # the others say when it was packed, and by what
    for kept in range(0, len(content), 7):
        path.write_bytes(content[:kept])
        with pytest.raises(DataError, match=r"scan.nii.gz is (not a whole NIfTI file|damaged)"):
            read_volume(path)


@pytest.mark.parametrize(
    ("place", "message"), [(-8, "its checksum does not fit its content"), (-4, "its checksum does not fit its content")]
)
def test_a_wrong_checksum_or_length_behind_the_last_voxel_is_named(tmp_path: Path, place: int, message: str) -> None:
    path = save(tmp_path / "scan.nii.gz", VOXELS)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"scan.nii.gz is damaged, {message}"):
        read_volume(path)


@pytest.mark.parametrize("rest", [b"garbage", bytes(2 << 20), bytes(100) + b"x"])
def test_more_bytes_than_the_header_says_are_refused_unless_they_are_padding(tmp_path: Path, rest: bytes) -> None:
    content = save(tmp_path / "plain.nii", VOXELS).read_bytes()
    (tmp_path / "scan.nii").write_bytes(content + bytes(1000))
    assert read_volume(tmp_path / "scan.nii").array.shape == (4, 5, 6)
    for name, whole in (("scan.nii", content + rest), ("scan.nii.gz", gzip.compress(content + rest))):
        (tmp_path / name).write_bytes(whole)
        with pytest.raises(DataError, match=f"{name} holds more bytes than its header says"):
            read_volume(tmp_path / name)
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(content) + rest)
    if rest.strip(b"\0"):
        with pytest.raises(DataError, match="is not a whole NIfTI file"):
            read_volume(tmp_path / "scan.nii.gz")


def test_odd_headers_are_read_without_a_word_of_nibabels(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "scan.nii", VOXELS)
    content = bytearray(path.read_bytes())
    content[252:254] = struct.pack("<h", 12800)  # a qform code that there is not
    path.write_bytes(content)
    read_volume(path)
    read_grid(path)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_may_not_be_read_is_a_lack_of_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "scan.nii", VOXELS)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ResourceError, match=r"Not allowed to read .*scan.nii: change its permissions"):
        read_volume(path)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path, kind: type[nib.Nifti1Image]) -> None:
    nib.save(kind(VOXELS, RAS), tmp_path / "whole.nii")
    content = (tmp_path / "whole.nii").read_bytes()
    for kept in (*range(0, 340, 17), *range(340, 360), *range(530, 550), len(content) - 1):
        (tmp_path / "scan.nii").write_bytes(content[:kept])
        with pytest.raises(DataError, match=r"scan.nii is not a whole NIfTI file"):
            read_volume(tmp_path / "scan.nii")


@pytest.mark.parametrize("sizes", [[0], [5], [BLOCK], [BLOCK - 1, 2, BLOCK], [3 * BLOCK + 7], [1] * 9])
@pytest.mark.parametrize("full", [False, True])
def test_blocks_of_gzip_are_one_member_that_any_reader_unpacks(sizes: list[int], full: bool) -> None:
    made = np.random.default_rng(0)
    parts = [made.integers(0, 9, size).astype(np.uint8).tobytes() if full else bytes(size) for size in sizes]
    file = io.BytesIO()
    with GzipBlocks(file) as packed:
        for part in parts:
            packed.write(part)
        assert packed.tell() == sum(sizes)
    unpacker = zlib.decompressobj(zlib.MAX_WBITS + 16)
    assert unpacker.decompress(file.getvalue()) + unpacker.flush() == b"".join(parts)
    assert (unpacker.eof, unpacker.unused_data) == (True, b"")  # one member, with the right checksum and size
    assert len(file.getvalue()) < sum(sizes) / 1000 + 500 or full


def test_a_large_mask_takes_a_thousandth_of_its_voxels_and_itk_reads_it(tmp_path: Path) -> None:
    mask = np.zeros((40, 256, 256), np.uint8)
    mask[10:14, 100:120, 90:130] = 1
    write_volume(tmp_path / "like.nii.gz", Volume(mask, np.diag([-0.7, -0.7, 2.0, 1.0])))
    write_on_grid(tmp_path / "mask.nii.gz", mask, tmp_path / "like.nii.gz", "a mask")
    assert (tmp_path / "mask.nii.gz").stat().st_size < 1.5 * mask.size / 1000
    image = sitk.ReadImage(tmp_path / "mask.nii.gz")
    assert np.count_nonzero(sitk.GetArrayViewFromImage(image)) == 4 * 20 * 40
