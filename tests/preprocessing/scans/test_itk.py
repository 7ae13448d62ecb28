"""NRRD and MetaImage files: geometry against NIfTI and SimpleITK, and what is refused."""

import contextlib
import gzip
from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from ambiseg.preprocessing.errors import DataError, InputError
from ambiseg.preprocessing.scans.formats.itk import itk_affine, read_itk
from ambiseg.preprocessing.scans.formats.nifti_volume import read_volume, write_on_grid

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
        (colours, r"scan.mha holds 3 values per voxel \(colours, vectors or layers\): expected one grey value"),
        (layers, "scan.nrrd holds 2 values per voxel"),
        (complex_numbers, "scan.nrrd holds 2 values per voxel"),
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


KINDS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_type_that_itk_writes_is_read(tmp_path: Path, kind: str, suffix: str, packed: bool) -> None:
    array = (VOXELS % 120).astype(kind)
    volume, grid = read_itk(save(tmp_path / f"scan{suffix}", itk_image(array), packed))
    assert volume.array.dtype == (np.float32 if kind == "float64" else kind)
    assert np.array_equal(grid.back(volume.array).T, array)


NUMBERS = np.arange(24, dtype="<i2")
NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 2 3 4\nendian: little\nencoding: raw\n"
ROOM = "space: left-posterior-superior\nspace directions: (0.7,0,0) (0,0.8,0) (0,0,1.25)\nspace origin: (1,2,3)\n"


def nrrd(folder: Path, header: str, data: bytes = NUMBERS.tobytes()) -> Path:
    (folder / "scan.nrrd").write_bytes(header.encode() + b"\n" + data)
    return folder / "scan.nrrd"


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (NRRD + "spacings: 0.7 0.8 1.25\n", NUMBERS.tobytes()),
        (NRRD + "spacings: 0.7 0.8 1.25\naxis mins: 10 20 30\n", NUMBERS.tobytes()),
        (NRRD + "spacings: 0.7 0.8 1.25\naxis mins: 10 20 30\ncenterings: node node node\n", NUMBERS.tobytes()),
        (NRRD + ROOM, NUMBERS.tobytes()),
        (NRRD + ROOM.replace("posterior", "anterior"), NUMBERS.tobytes()),
        (NRRD + ROOM.replace("left-posterior", "right-anterior"), NUMBERS.tobytes()),
        (NRRD + ROOM.replace("left-posterior-superior", "scanner-xyz"), NUMBERS.tobytes()),
        (NRRD + ROOM.replace("space: left-posterior-superior", "space dimension: 3"), NUMBERS.tobytes()),
        (NRRD + ROOM + "# a remark\nkey:=a: value\nkinds: domain domain domain\n", NUMBERS.tobytes()),
        (NRRD + ROOM + "byte skip: 2\n", b"ab" + NUMBERS.tobytes()),
        (NRRD + ROOM + "byte skip: -1\n", b"abc" + NUMBERS.tobytes()),
        (NRRD + ROOM + "line skip: 1\n", b"a line\n" + NUMBERS.tobytes()),
        (NRRD.replace("raw", "ascii") + ROOM, " ".join(map(str, NUMBERS)).encode()),
        (
            NRRD.replace("raw", "gzip") + ROOM,
            b"".join(gzip.compress(part.tobytes(), mtime=0) for part in (NUMBERS[:9], NUMBERS[9:])),
        ),
        (NRRD.replace("little", "big") + ROOM, NUMBERS.astype(">i2").tobytes()),
    ],
)
def test_a_header_by_hand_is_read_as_itk_reads_it(tmp_path: Path, header: str, data: bytes) -> None:
    path = nrrd(tmp_path, header, data)
    volume, grid = read_itk(path)
    image = sitk.ReadImage(str(path))
    assert np.allclose(grid.affine, itk_affine(image))
    assert np.array_equal(grid.back(volume.array), sitk.GetArrayFromImage(image).reshape(4, 3, 2).T)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ("list domain domain domain", None),
        ("vector domain domain domain", None),
        ("domain domain domain list", None),
        ("domain domain domain time", None),
        ("RGB-color domain domain domain", "holds 3 values per voxel"),
        ("list domain domain domain", "holds 2 values per voxel"),
        ("domain domain domain time", r"holds several volumes \(2 x 3 x 4 x 2\)"),
    ],
)
def test_an_axis_of_one_that_lies_nowhere_is_passed_over(tmp_path: Path, kinds: str, message: str | None) -> None:
    first = not kinds.startswith("domain")
    count = int(message.split()[1]) if message and first else 2 if message else 1
    sizes = f"{count} 2 3 4" if first else f"2 3 4 {count}"
    steps = "none (1,0,0) (0,1,0) (0,0,2)" if first else "(1,0,0) (0,1,0) (0,0,2) none"
    header = NRRD.replace("dimension: 3", "dimension: 4").replace("2 3 4", sizes)
    header += f"space: LPS\nspace directions: {steps}\nkinds: {kinds}\n"
    path = nrrd(tmp_path, header, NUMBERS.tobytes() * count)
    if message:
        with pytest.raises(DataError, match=message):
            read_itk(path)
    else:
        assert read_itk(path)[1].shape == (2, 3, 4)


MHD = "ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementSpacing = 0.7 0.8 1.25\nElementType = MET_SHORT\n"


def mha(folder: Path, header: str, data: bytes = NUMBERS.tobytes()) -> Path:
    (folder / "scan.mha").write_bytes(header.encode() + b"ElementDataFile = LOCAL\n" + data)
    return folder / "scan.mha"


@pytest.mark.parametrize(
    "extra",
    [
        "",
        "Offset = 1 2 3\n",
        "Position = 1 2 3\nOrientation = 0 1 0 1 0 0 0 0 -1\n",
        "Origin = 1 2 3\nRotation = 0 1 0 1 0 0 0 0 -1\nModality = MET_MOD_CT\n(0008|0060) = CT\n",
        "BinaryData = True\nBinaryDataByteOrderMSB = False\nElementNumberOfChannels = 1\nHeaderSize = -1\n",
    ],
)
def test_a_metaimage_by_hand_is_read_as_itk_reads_it(tmp_path: Path, extra: str) -> None:
    path = mha(tmp_path, MHD + extra)
    volume, grid = read_itk(path)
    image = sitk.ReadImage(str(path))
    assert np.allclose(grid.affine, itk_affine(image))
    assert np.array_equal(grid.back(volume.array), sitk.GetArrayFromImage(image).T)


def test_a_comment_of_several_lines_is_passed_over(tmp_path: Path) -> None:
    """ITK writes such comments, and does not read them."""
    plain = read_itk(mha(tmp_path, MHD))
    commented = read_itk(mha(tmp_path, MHD + "Comment = several\n\nlines\n"))
    assert np.array_equal(commented[0].array, plain[0].array)
    assert np.array_equal(commented[1].affine, plain[1].affine)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_itk_keeps_of_a_nifti_file_hinders_nothing(tmp_path: Path, suffix: str) -> None:
    image = sitk.ReadImage(str(save(tmp_path / "scan.nii.gz")))
    assert image.GetMetaDataKeys()
    _, grid = read_itk(save(tmp_path / f"scan{suffix}", image))
    assert np.allclose(grid.affine, itk_affine(image), atol=1e-6)


@pytest.mark.parametrize(
    ("header", "before", "after", "message"),
    [
        *(
            (NRRD + "spacings: 1 1 2\n", "1 1 2", f"1 1 {bad}", "says spacings = 1 1")
            for bad in ("nan", "inf", "0", "-2", "x")
        ),
        (
            NRRD + "spacings: 1 1 2\n",
            "spacings: 1 1 2\n",
            "",
            "does not say how far apart its voxels lie: .* spacings: 0.7",
        ),
        (NRRD + "spacings: 1 1 2\n", "1 1 2", "1 2", "says spacings = 1 2: expected 3 values"),
        (NRRD + "spacings: 1 1 2\n", "spacings", "spacinhs", "has a field spacinhs, which NRRD does not know"),
        (NRRD + ROOM, "(0,0,1.25)", "(0,0,nan)", "says space directions = .*: expected finite numbers"),
        (NRRD + ROOM, "(0,0,1.25)", "none", "holds 4 values per voxel"),
        (NRRD + ROOM, "(1,2,3)", "(1,inf,3)", "says space origin = .*: expected finite numbers"),
        (NRRD + ROOM, "space: left", "space: lift", "says space = lift-posterior-superior: expected left-posterior"),
        (
            NRRD + ROOM,
            "dimension: 3",
            "dimension: 65536",
            "says dimension = 65536: expected a whole number from 1 to 16",
        ),
        (NRRD + ROOM, "2 3 4", "2 3 0", "says sizes = 2 3 0: expected numbers of 1 or more"),
        (NRRD + ROOM, "2 3 4", "2 3 -4", "says sizes = 2 3 -4: expected numbers of 1 or more"),
        (NRRD + ROOM, "2 3 4", "2 3 5", "is not a whole NRRD file"),
        (NRRD + ROOM, "2 3 4", "2 3 3", "holds more bytes than its header says"),
        (NRRD + ROOM, "endian: little\n", "", "does not say endian: little or big"),
        (NRRD + ROOM, "raw", "bzip2", "says encoding = bzip2: expected raw, gzip or ascii"),
        (NRRD + ROOM, "type: short\n", "type: short\ntype: int\n", "says type twice"),
        (NRRD + ROOM, "short", "block", "says type = block: expected the type of one grey value"),
        (MHD, "NDims = 3", "NDims = 65536", "says ndims = 65536: expected a whole number from 2 to 4"),
        (MHD, "NDims = 3", "NDims = 3e0", "says ndims = 3e0: expected whole numbers"),
        (MHD, "2 3 4", "2 3 0", "says dimsize = 2 3 0: expected numbers of 1 or more"),
        (MHD, "2 3 4", "2 3 4 5", "says dimsize = 2 3 4 5: expected 3 values"),
        (MHD, "2 3 4", "2 3 3", "holds more bytes than its header says"),
        (MHD, "MET_SHORT", "MET_STRING", "says elementtype = MET_STRING: expected one of MET_CHAR"),
        *((MHD, "1.25", bad, "says elementspacing = 0.7 0.8") for bad in ("nan", "inf", "0", "-1.25", "1e308", "")),
        (
            MHD,
            "ElementSpacing = 0.7 0.8 1.25\n",
            "",
            "does not say how far apart its voxels lie: .* ElementSpacing = 0.7",
        ),
        (MHD, "ElementSpacing", "ElementSpaceing", "says elementspaceing: expected elementspacing; correct it"),
        (
            MHD + "TransformMatrix = 1 0 0 0 1 0 0 0 1\n",
            "0 0 1\n",
            "0 1e308 1\n",
            "says transformmatrix = .*: expected finite",
        ),
        (MHD + "TransformMatrix = 1 0 0 0 1 0 0 0 1\n", "0 0 1\n", "0 0 7\n", "expected directions of length 1"),
        (
            MHD + "Offset = 1 2 3\n",
            "Offset = 1 2 3",
            "Offset = 1 2 3\nOrigin = 4 5 6",
            "says both offset and origin: leave",
        ),
        (MHD + "CompressedData = False\n", "False", "Maybe", "says compresseddata = Maybe: expected True or False"),
        (MHD + "CompressedData = False\n", "False", "True", "is not a whole MetaImage file"),
        (MHD, "ObjectType = Image", "ObjectType = Tube", "is not a whole MetaImage file"),
        (MHD + "ElementToIntensityFunctionSlope = 1\n", "Slope = 1", "Slope = 2", "are to be scaled"),
        (MHD + "ElementNumberOfChannels = 1\n", "Channels = 1", "Channels = 3", "holds 3 values per voxel"),
        (MHD + "DistanceUnits = mm\n", "= mm", "= um", "gives lengths in um: expected mm"),
        (
            MHD + "HeaderSize = 0\n",
            "Size = 0",
            "Size = 100",
            "says headersize = 100: expected a whole number from -1 to 0",
        ),
    ],
)
def test_a_header_that_says_what_cannot_be_is_refused_by_its_field(
    tmp_path: Path, header: str, before: str, after: str, message: str
) -> None:
    make = nrrd if header.startswith("NRRD") else mha
    read_itk(make(tmp_path, header))
    assert before in header
    path = make(tmp_path, header.replace(before, after))
    with pytest.raises(DataError, match=message):
        read_itk(path)


@pytest.mark.parametrize("name", ["LIST", "LIST 2D", "scan%03d.raw 1 4 1", "", "a\0b", "/dev/zero", "scan\x07.raw"])
@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_only_one_file_beside_the_header_holds_voxels(tmp_path: Path, suffix: str, name: str) -> None:
    field = "ElementDataFile = " if suffix == ".mhd" else "data file: "
    (tmp_path / f"scan{suffix}").write_text((MHD if suffix == ".mhd" else NRRD + ROOM) + field + name + "\n")
    with pytest.raises(DataError, match=r"names its voxels' file .*, and that is no file beside it") as caught:
        read_itk(tmp_path / f"scan{suffix}")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_no_damaged_byte_of_a_packed_block_changes_a_voxel(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"scan{suffix}", packed=True)
    content, expected = path.read_bytes(), read_itk(path)[0].array
    begin = content.index(b"\n\n" if suffix == ".nrrd" else b"LOCAL\n") + 2
    for place in range(begin, len(content), 3):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :])
        with contextlib.suppress(DataError):
            assert np.array_equal(read_itk(path)[0].array, expected)
    path.write_bytes(content + b"garbage")
    with pytest.raises(DataError, match="is not a whole"):
        read_itk(path)
    path.write_bytes(content + bytes(512))
    assert np.array_equal(read_itk(path)[0].array, expected)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """A file with some bytes of its header changed, lost or put in, or cut short."""
    header = content.index(b"LOCAL\n" if content.startswith(b"Obj") else b"\n\n") + 6
    place, found = int(rng.integers(header)), bytearray(content)
    match rng.integers(4):
        case 0:
            return content[: int(rng.integers(len(content)))]
        case 1:
            del found[place : place + int(rng.integers(1, 9))]
        case 2:
            found[place:place] = rng.choice(list(b"0123456789.-e: =nN\n\0\xff"), 4).astype(np.uint8).tobytes()
        case _:
            for at in rng.integers(header, size=3):
                found[at] = rng.choice([rng.integers(256), found[at] ^ 1, *b"0123456789.-e"])
    return bytes(found)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_damaged_header_is_refused_in_one_sentence_or_read(tmp_path: Path, suffix: str, packed: bool) -> None:
    path = save(tmp_path / f"scan{suffix}", packed=packed)
    content, rng = path.read_bytes(), np.random.default_rng(4)
    said = []
    for _ in range(200):
        path.write_bytes(damaged(content, rng))
        try:
            assert np.isfinite(read_itk(path)[1].affine).all()
        except DataError as error:
            said.append(str(error))
    assert len(said) > 100
    assert all(sentence.isprintable() for sentence in said)
