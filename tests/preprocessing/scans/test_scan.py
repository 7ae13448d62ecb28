"""Scans from files, DICOM folders and zips: geometry against SimpleITK, the choice of a series, and what is refused."""

import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.uid import (
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    SegmentationStorage,
    generate_uid,
)

from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.lidc.annotations import ScanRecord
from ambiseg.preprocessing.scans.dicom.series import read_series
from ambiseg.preprocessing.scans.formats.nifti_volume import write_on_grid
from ambiseg.preprocessing.scans.scan import Scan, open_scan, read_mask, scan_name

Edit = Callable[[Dataset, int], None]
SHAPE = (20, 24)
HEIGHTS = [-30.0, -27.5, -25.0, -22.5]


@pytest.fixture
def write(records: dict[int, ScanRecord], write_series: Callable[..., list[Path]]) -> Callable[..., list[Path]]:
    """A function that writes a CT series of four slices, or of `heights`, changed by `edit` or with other elements."""

    def write_one(
        folder: Path, heights: list[float] = HEIGHTS, edit: Edit | None = None, **values: object
    ) -> list[Path]:
        def change(dataset: Dataset, index: int) -> None:
            for name, value in values.items():
                setattr(dataset, name, value)
            if edit is not None:
                edit(dataset, index)

        return write_series(folder, records[12], heights, SHAPE, change)

    return write_one


Write = Callable[..., list[Path]]


def read(path: Path, series: str | None = None) -> Scan:
    with open_scan(path, series=series) as scan:
        return scan


def sitk_series(paths: list[Path]) -> sitk.Image:
    return sitk.ReadImage([str(path) for path in paths])


def check_places(scan: Scan, image: sitk.Image) -> None:
    """Every voxel of SimpleITK's image lies at the same place with the same value in the scan, and in its grid."""
    array = sitk.GetArrayFromImage(image)
    volume = np.empty_like(array)
    places = np.empty((*array.shape, 3))
    for k, j, i in np.ndindex(array.shape):
        left, back, head = image.TransformIndexToPhysicalPoint((i, j, k))
        z, y, x = (round(value) for value in scan.volume.voxel((-left, -back, head)))
        volume[k, j, i], places[k, j, i] = scan.volume.array[z, y, x], (-left, -back, head)
    assert np.array_equal(volume, array)
    corner, grid = tuple(np.subtract(scan.grid.shape, 1)), scan.grid.affine
    assert np.allclose(grid[:3, 3], places[0, 0, 0], atol=1e-3)
    assert np.allclose(nib.affines.apply_affine(grid, corner), places[-1, -1, -1], atol=1e-3)


ORIENTATIONS = [
    (1, 0, 0, 0, 1, 0),
    (-1, 0, 0, 0, -1, 0),
    (1, 0, 0, 0, 0, -1),
    (0, 1, 0, 0, 0, -1),
    (0.8, 0.6, 0, -0.6, 0.8, 0),
    (0.6, 0, 0.8, 0, -1, 0),
]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_dicom_folder_lies_where_simpleitk_has_it_and_takes_masks_back(
    tmp_path: Path, write: Write, orientation: tuple[float, ...]
) -> None:
    normal = np.cross(orientation[:3], orientation[3:])

    def turn(dataset: Dataset, index: int) -> None:
        dataset.ImageOrientationPatient = list(orientation)
        dataset.ImagePositionPatient = (np.array([-150.5, -140.25, -30]) + 2.5 * index * normal).round(6).tolist()
        dataset.PixelSpacing = [0.7, 0.6]

    paths = write(tmp_path / "scan", edit=turn, SeriesNumber=3)
    scan, image = read(tmp_path / "scan"), sitk_series(paths)
    check_places(scan, image)
    assert scan.name == "scan"
    assert scan.volume.array.dtype == np.int16
    assert scan.volume.array.flags.c_contiguous
    assert scan.dicom is not None
    assert [each.path for each in scan.dicom.slices] == paths
    assert (scan.dicom.modality, scan.dicom.series_uid) == ("CT", pydicom.dcmread(paths[0]).SeriesInstanceUID)
    for k, path in enumerate(paths):  # the grid's third axis
        image_at = np.asarray(scan.grid.back(scan.volume.array))[:, :, k].T
        assert np.array_equal(image_at, sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0])
    write_on_grid(tmp_path / "mask.nii.gz", (scan.volume.array > -400).astype(np.uint8), scan.grid)
    mask = sitk.ReadImage(str(tmp_path / "mask.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(image) > -400)
    assert np.allclose(mask.GetOrigin(), image.GetOrigin(), atol=1e-3)
    assert np.allclose(mask.GetDirection(), image.GetDirection(), atol=1e-4)
    assert np.allclose(mask.GetSpacing(), image.GetSpacing(), atol=1e-4)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_a_file_of_any_format_is_the_same_scan(tmp_path: Path, write: Write, suffix: str) -> None:
    paths = write(tmp_path / "dicom")
    image = sitk_series(paths)
    sitk.WriteImage(image, str(tmp_path / f"Case.1{suffix}"))
    scan, series = read(tmp_path / f"Case.1{suffix}"), read_series(paths)
    check_places(scan, image)
    assert (scan.name, scan.dicom) == ("Case.1", None)
    assert np.array_equal(scan.volume.array, series.array)
    assert np.allclose(scan.volume.affine, series.affine, atol=1e-4)
    mask = read_mask(tmp_path / f"Case.1{suffix}")
    assert np.array_equal(mask.array, series.array)


def test_one_dicom_file_stands_for_its_series_in_its_folder(tmp_path: Path, write: Write) -> None:
    other = write(tmp_path / "scan" / "more", SeriesInstanceUID=generate_uid())
    paths = write(tmp_path / "scan")
    shutil.copy(other[0], tmp_path / "scan" / "other.dcm")
    scan = read(paths[2])
    assert scan.name == "000002"
    assert np.array_equal(scan.volume.array, read_series(paths).array)
    paths[2].rename(tmp_path / "scan" / "IM0003")
    assert np.array_equal(read(tmp_path / "scan" / "IM0003").volume.array, scan.volume.array)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_transfer_syntaxes_are_right(tmp_path: Path, write: Write, syntax: pydicom.uid.UID) -> None:
    def recode(dataset: Dataset, _: int) -> None:
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax

    plain, paths = write(tmp_path / "plain"), write(tmp_path / "scan", edit=recode)
    assert pydicom.dcmread(paths[0]).file_meta.TransferSyntaxUID == syntax
    scan = read(tmp_path / "scan")
    check_places(scan, sitk_series(paths))
    assert np.array_equal(scan.volume.array, read_series(plain).array)


@pytest.mark.parametrize("meta", [True, False])
def test_files_without_a_preamble_are_read(tmp_path: Path, write: Write, meta: bool) -> None:
    paths = write(tmp_path / "scan")
    expected = read_series(paths).array
    for path in paths:
        content = path.read_bytes()[132:]
        length = int.from_bytes(content[8:12], "little")
        path.write_bytes(content if meta else content[12 + length :])
    assert np.array_equal(read(tmp_path / "scan").volume.array, expected)


def test_mr_is_as_stored_and_pet_is_rescaled_by_each_slice(tmp_path: Path, write: Write) -> None:
    stored = np.arange(-3000, -3000 + 480).astype("<i2").reshape(SHAPE)

    def mr(dataset: Dataset, _: int) -> None:
        del dataset.RescaleSlope, dataset.RescaleIntercept

    write(tmp_path / "mr", edit=mr, Modality="MR", PixelData=stored.tobytes())
    scan = read(tmp_path / "mr")
    assert scan.dicom is not None
    assert scan.dicom.modality == "MR"
    assert scan.volume.array.dtype == np.float32
    assert np.array_equal(scan.volume.array, np.stack([stored] * 4))  # nothing cut at -1024

    def pet(dataset: Dataset, index: int) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.5 * (index + 1), 0

    write(tmp_path / "pt", edit=pet, Modality="PT", PixelData=stored.tobytes(), PixelPaddingValue=-3000)
    expected = np.stack([stored * 0.5 * number for number in (1, 2, 3, 4)])
    expected[:, 0, 0] = 0
    assert np.array_equal(read(tmp_path / "pt").volume.array, expected)


def test_several_series_are_listed_and_chosen_by_number_or_uid(tmp_path: Path, write: Write) -> None:
    uids = {number: generate_uid(entropy_srcs=[str(number)]) for number in (2, 5)}
    for number, uid in uids.items():
        write(
            tmp_path / str(number),
            HEIGHTS[: number + 1],
            SeriesInstanceUID=uid,
            SeriesNumber=number,
            PatientName="DOE^J",
        )
    write(
        tmp_path / "scout",
        [0.0],
        SeriesInstanceUID=generate_uid(),
        SeriesNumber=1,
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )
    with pytest.raises(InputError) as caught:
        read(tmp_path)
    first, *rows = str(caught.value).splitlines()
    assert first == f"{tmp_path.name} holds 2 series that can be the scan: choose one with `series`:"
    spacing = pydicom.dcmread(tmp_path / "2" / "000000.dcm").PixelSpacing[0]
    assert rows == [
        f"  {number}  CT, {images} images, 24 x 20, {spacing:.2f} x {spacing:.2f} x 2.50 mm, {uids[number]}"
        for number, images in ((2, 3), (5, 4))
    ]
    assert "DOE" not in str(caught.value)
    for number, images in ((2, 3), (5, 4)):
        for wanted in (str(number), uids[number], uids[number][-8:]):
            scan = read(tmp_path, wanted)
            assert scan.volume.array.shape[0] == images
            assert scan.dicom is not None
            assert scan.dicom.series_uid == uids[number]
    with pytest.raises(
        InputError, match=r"holds no image series 7: choose one with `series`:\n  1  CT, 1 image, 24 x 20"
    ):
        read(tmp_path, "7")
    with pytest.raises(InputError, match=r"holds no image series 9.9.9.9.9"):
        read(tmp_path, "9.9.9.9.9")


def test_series_of_one_number_are_counted(tmp_path: Path, write: Write) -> None:
    for name in "ab":
        write(tmp_path / name, SeriesInstanceUID=f"1.2.3.{ord(name)}000", SeriesNumber=4)
    with pytest.raises(InputError, match=r"2 series .*\n  1  CT, .* 1.2.3.97000\n  2  CT, .* 1.2.3.98000"):
        read(tmp_path)
    found = read(tmp_path, "2").dicom
    assert found is not None
    assert found.series_uid == "1.2.3.98000"
    write(tmp_path / "c", SeriesInstanceUID="1.2.4.98000", SeriesNumber=4)
    with pytest.raises(InputError, match="holds several series 98000: choose one with `series`:"):
        read(tmp_path, "98000")


def scout(dataset: Dataset, index: int) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    dataset.ImagePositionPatient = [0, 0, 10 * index]


def report(dataset: Dataset, _: int) -> None:
    dataset.Modality = "SR"
    for name in ("Rows", "Columns", "PixelData", "ImagePositionPatient", "PixelSpacing"):
        delattr(dataset, name)


def dose(dataset: Dataset, _: int) -> None:
    dataset.Modality = "RTDOSE"


def segmentation(dataset: Dataset, _: int) -> None:
    dataset.Modality, dataset.NumberOfFrames = "SEG", 7
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SegmentationStorage
    del dataset.ImagePositionPatient


def screenshot(dataset: Dataset, _: int) -> None:
    dataset.Modality = "OT"
    del dataset.ImagePositionPatient


def three_planes(dataset: Dataset, index: int) -> None:
    dataset.ImageOrientationPatient = list(ORIENTATIONS[index % 3])


def test_what_cannot_be_the_scan_is_not_asked_about(tmp_path: Path, write: Write) -> None:
    for edit in (scout, report, dose, segmentation, screenshot, three_planes):
        write(tmp_path / edit.__name__, edit=edit, SeriesInstanceUID=generate_uid())
    write(tmp_path / "single", [0.0], SeriesInstanceUID=generate_uid())
    (tmp_path / "readme.txt").write_text("a text")
    expected = read_series(write(tmp_path / "scan")).array
    assert np.array_equal(read(tmp_path).volume.array, expected)


def test_a_single_slice_is_a_scan_where_there_is_no_more(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "report", edit=report, SeriesInstanceUID=generate_uid())
    write(tmp_path / "one", [0.0])
    assert read(tmp_path).volume.array.shape == (1, *SHAPE)
    write(tmp_path / "two", [0.0], SeriesInstanceUID=generate_uid())
    with pytest.raises(InputError, match="2 series that can be the scan"):
        read(tmp_path)


def no_scan(folder: Path, write: Write) -> None:
    write(folder, edit=report)


def only_scouts(folder: Path, write: Write) -> None:
    write(folder, edit=scout)


def broken_header(folder: Path, write: Write) -> None:
    path = write(folder)[1]
    path.write_bytes(path.read_bytes()[:400])


def empty_file(folder: Path, write: Write) -> None:
    write(folder)[3].write_bytes(b"")


def cut_pixels(folder: Path, write: Write) -> None:
    path = write(folder)[1]
    path.write_bytes(path.read_bytes()[:-300])


def missing_slice(folder: Path, write: Write) -> None:
    write(folder, [0.0, 2.5, 7.5, 10.0])


def tilted(folder: Path, write: Write) -> None:
    def tilt(dataset: Dataset, index: int) -> None:
        dataset.ImagePositionPatient = [-150.5, -140.25 + 0.2 * index, 2.5 * index]

    write(folder, edit=tilt)


def skewed_rows(folder: Path, write: Write) -> None:
    write(folder, ImageOrientationPatient=[1, 0, 0, 0.2, 0.98, 0])


def two_at_one_place(folder: Path, write: Write) -> None:
    write(folder / "a")

    def darker(dataset: Dataset, _: int) -> None:
        dataset.SOPInstanceUID = generate_uid()
        dataset.RescaleIntercept = -1100

    write(folder / "b", edit=darker)


def enhanced(folder: Path, write: Write) -> None:
    def join(dataset: Dataset, _: int) -> None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
        dataset.NumberOfFrames = 4
        dataset.PixelData = dataset.PixelData * 4
        del dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing

    write(folder, [0.0], edit=join)


def colours(folder: Path, write: Write) -> None:
    write(
        folder, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0, PixelData=bytes(20 * 24 * 6)
    )


def no_position(folder: Path, write: Write) -> None:
    def forget(dataset: Dataset, _: int) -> None:
        del dataset.ImagePositionPatient

    write(folder, edit=forget)


def bad_number(folder: Path, write: Write) -> None:
    path = write(folder)[0]
    content = path.read_bytes()
    spot = content.index(b"-150.5")
    path.write_bytes(content[:spot] + b"x150.5" + content[spot + 6 :])


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (no_scan, InputError, "^scan holds no DICOM images: expected the slices of a scan"),
        (
            only_scouts,
            InputError,
            "^scan holds no series that looks like a scan: choose one with `series`:\n  1  CT, 4 images",
        ),
        (broken_header, DataError, r"^scan holds DICOM files that cannot be read \(1, 000001.dcm is the first\)"),
        (empty_file, DataError, r"^scan holds DICOM files that cannot be read \(1, 000003.dcm is the first\)"),
        (cut_pixels, DataError, "^000001.dcm is cut short or damaged"),
        (missing_slice, DataError, "^The slices lie 2.50 to 5.00 mm apart: expected equal distances; some are missing"),
        (tilted, DataError, r"^The slices are sheared \(a tilted gantry\): .* resample the scan"),
        (skewed_rows, DataError, "^The affine of scan is sheared by 11"),
        (two_at_one_place, DataError, "^Two different images lie at one place, z = -30 mm"),
        (
            enhanced,
            DataError,
            r"^Series 1 is enhanced DICOM \(4 frames per file\): expected one slice per file; convert",
        ),
        (colours, DataError, "^00000[0-3].dcm holds colours: expected one grey value per pixel"),
        (no_position, DataError, "^000000.dcm has no ImagePositionPatient"),
        (bad_number, DataError, r"^000000.dcm has ImagePositionPatient 'x150.5\\-140.25\\-30.0': expected 3 numbers"),
    ],
)
def test_a_dicom_folder_that_cannot_be_used_is_refused(
    tmp_path: Path, write: Write, make: Callable[[Path, Write], None], kind: type[Exception], message: str
) -> None:
    make(tmp_path / "scan", write)
    with pytest.raises(kind, match=message):
        read(tmp_path / "scan")


def test_a_compression_without_a_decoder_names_what_to_install(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compress(dataset: Dataset, _: int) -> None:
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1

    write(tmp_path / "scan", edit=compress)
    monkeypatch.setattr("ambiseg.preprocessing.scans.dicom.dicom_pixels._decodable", lambda _: False)
    with pytest.raises(DataError, match=r"compressed \(JPEG Lossless.*pip install ambiseg\[dicom-codecs\]"):
        read(tmp_path / "scan")


def pack(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            archive.write(file, file.relative_to(folder.parent))
    return path


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_zip_of_a_dicom_folder_lives_as_long_as_the_block(tmp_path: Path, temporary: Path, write: Write) -> None:
    expected = read_series(write(tmp_path / "case" / "study" / "series")).array
    (tmp_path / "case" / "readme.txt").write_text("a text")
    with open_scan(pack(tmp_path / "patient 1.zip", tmp_path / "case")) as scan:
        assert scan.name == "patient 1"
        assert np.array_equal(scan.volume.array, expected)
        assert scan.dicom is not None
        assert all(each.path.is_file() for each in scan.dicom.slices)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("suffix", [".nii.gz", ".mhd"])
def test_a_zip_of_one_image_file(tmp_path: Path, temporary: Path, write: Write, suffix: str) -> None:
    image = sitk_series(write(tmp_path / "dicom"))
    (tmp_path / "case").mkdir()
    sitk.WriteImage(image, str(tmp_path / "case" / f"scan{suffix}"))
    scan = read(pack(tmp_path / f"a{suffix}.zip", tmp_path / "case"))
    assert scan.name == "a"
    check_places(scan, image)
    assert list(temporary.iterdir()) == []


def test_a_zip_of_several_series_lists_them(tmp_path: Path, temporary: Path, write: Write) -> None:
    write(tmp_path / "case" / "a")
    write(tmp_path / "case" / "b", SeriesInstanceUID="1.2.3.4")
    path = pack(tmp_path / "case.zip", tmp_path / "case")
    with pytest.raises(InputError, match=r"^case.zip holds 2 series that can be the scan: choose one with `series`:\n"):
        read(path)
    assert read(path, "1.2.3.4").volume.array.shape == (4, *SHAPE)
    assert list(temporary.iterdir()) == []


def test_zips_of_no_scan_or_several(tmp_path: Path, temporary: Path, write: Write) -> None:
    case = tmp_path / "case"
    image = sitk_series(write(case / "dicom"))
    sitk.WriteImage(image, str(case / "scan.nii"))
    with pytest.raises(InputError, match=r"^case.zip holds 2 scans: expected one; unpack it and give the folder"):
        read(pack(tmp_path / "case.zip", case))
    (case / "scan.nii").unlink()
    write(case / "other", StudyInstanceUID="1.2.3")
    with pytest.raises(InputError, match=r"^case.zip holds 2 scans"):
        read(pack(tmp_path / "case.zip", case))
    shutil.rmtree(case)
    case.mkdir()
    (case / "readme.txt").write_text("a text")
    with pytest.raises(InputError, match=r"^case.zip holds no scan: expected one image file or the DICOM files of one"):
        read(pack(tmp_path / "case.zip", case))
    assert list(temporary.iterdir()) == []


def test_other_files_are_refused(tmp_path: Path, write: Write) -> None:
    (tmp_path / "scan.txt").write_text("a text about lungs")
    with pytest.raises(InputError, match=r"^scan.txt is no scan: expected .nii, .nii.gz, .nrrd, .* convert it first"):
        read(tmp_path / "scan.txt")
    (tmp_path / "scan.img").touch()
    with pytest.raises(InputError, match=r"^scan.img is one of a pair \(.hdr and .img\)"):
        read(tmp_path / "scan.img")
    for name in ("none", "none.dcm", "none.zip", "none.mha", "none.nii"):
        with pytest.raises(InputError, match=rf"^No file .*{name}"):
            read(tmp_path / name)
    image = sitk_series(write(tmp_path / "dicom"))
    sitk.WriteImage(image, str(tmp_path / "scan.nii"))
    with pytest.raises(UsageError, match=r"^`series` names a series of a DICOM folder, and scan.nii is none"):
        read(tmp_path / "scan.nii", "3")
    with pytest.raises(InputError, match=r"^scan.txt is not read as a mask: expected .nii, .nii.gz, .nrrd"):
        read_mask(tmp_path / "scan.txt")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("a.b.nii.gz", "a.b"), ("A.NII", "A"), ("x.mha", "x"), ("x.NRRD", "x"), ("x.nhdr", "x"), ("x.mhd", "x")),
        *(("1.2.3.dcm", "1.2.3"), ("1.2.3", "1.2.3"), ("x.zip", "x"), ("x.nii.gz.zip", "x"), ("x.zip.zip", "x.zip")),
    ],
)
def test_scan_name(name: str, expected: str) -> None:
    assert scan_name(Path("somewhere") / name) == expected


def test_a_folders_name_is_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "1.2.nii").mkdir()
    assert scan_name(tmp_path / "1.2.nii") == "1.2.nii"
    monkeypatch.chdir(tmp_path / "1.2.nii")
    assert scan_name(Path()) == "1.2.nii"
