import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLosslessSV1, MediaStorageDirectoryStorage, RLELossless, generate_uid

from ambiseg.preprocessing.errors import DataError, InputError
from ambiseg.preprocessing.lidc.annotations import ScanRecord
from ambiseg.preprocessing.scans.dicom import dicom_files
from ambiseg.preprocessing.scans.dicom.dicom_files import find_series
from ambiseg.preprocessing.scans.dicom.dicom_pixels import AIR, read_hounsfield
from ambiseg.preprocessing.scans.dicom.series import one_a_place, read_series, series_grid
from ambiseg.preprocessing.scans.dicom.series_images import read_images, read_slices
from ambiseg.preprocessing.scans.scan import open_scan

WriteSeries = Callable[..., list[Path]]
SHAPE = (20, 24)
HEIGHTS = [-30.0, -27.5, -25.0, -22.5]


def hounsfield(path: Path) -> NDArray[np.int16]:
    return read_hounsfield(read_images([path])[0].elements)


def _set(**values: object) -> Callable[[Dataset, int], None]:
    def edit(dataset: Dataset, _: int) -> None:
        for name, value in values.items():
            setattr(dataset, name, value)

    return edit


def _sitk(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def _one(path: Path, write_series: WriteSeries, scan: ScanRecord, edit: Callable[[Dataset, int], None]) -> Path:
    return write_series(path, scan, [0.0], SHAPE, edit)[0]


def test_series_are_found_in_any_layout(tmp_path: Path, scan: ScanRecord, write_series: WriteSeries) -> None:
    other = generate_uid()
    write_series(tmp_path / "LIDC-IDRI-0001" / "study" / "series", scan, HEIGHTS[:2], SHAPE)
    write_series(tmp_path / "flat", scan, HEIGHTS[2:], SHAPE)
    write_series(tmp_path / "flat" / "more", scan, [0.0], SHAPE, _set(SeriesInstanceUID=other))
    (tmp_path / "flat" / "000000.dcm").rename(tmp_path / "flat" / "no-suffix")
    (tmp_path / "annotations.xml").write_text("<xml/>")
    (tmp_path / "empty.dcm").touch()
    index = find_series(tmp_path)
    assert {uid: len(files) for uid, files in index.files.items()} == {scan.series_uid: 4, other: 1}
    assert (index.other, [each.path for each in index.broken]) == (1, [tmp_path / "empty.dcm"])


def test_a_header_cut_short_is_broken_and_a_directory_file_is_not(
    tmp_path: Path, scan: ScanRecord, write_series: WriteSeries
) -> None:
    whole, directory = write_series(tmp_path, scan, HEIGHTS[:2], SHAPE)
    whole.write_bytes(whole.read_bytes()[:400])
    dataset = pydicom.dcmread(directory)
    dataset.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    dataset.SOPClassUID = MediaStorageDirectoryStorage
    dataset.save_as(directory)
    index = find_series(tmp_path)
    assert (index.files, index.other, [each.path for each in index.broken]) == ({}, 1, [whole])


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No folder .*nowhere"):
        find_series(tmp_path / "nowhere")


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0), (1, 0, 0, 0, 0, -1)])
def test_a_series_has_simpleitks_pixels_and_place(
    tmp_path: Path, scan: ScanRecord, write_series: WriteSeries, orientation: tuple[int, ...]
) -> None:
    normal = np.cross(orientation[:3], orientation[3:])

    def turn(dataset: Dataset, index: int) -> None:
        dataset.ImageOrientationPatient = list(orientation)
        dataset.ImagePositionPatient = (np.array([-150.5, -140.25, -30]) + 2.5 * index * normal).tolist()
        dataset.PixelSpacing = [0.7, 0.6]

    write_series(tmp_path, scan, HEIGHTS, SHAPE, turn)
    volume = read_series(sorted(tmp_path.iterdir(), reverse=True))
    theirs = sitk.DICOMOrient(_sitk(tmp_path), "LPS")
    assert np.array_equal(volume.array, sitk.GetArrayFromImage(theirs))
    assert np.allclose(volume.spacing_mm, theirs.GetSpacing()[::-1])
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(theirs.GetDirection(), (3, 3)) * theirs.GetSpacing()
    affine[:3, 3] = theirs.GetOrigin()
    assert np.allclose(volume.affine, np.diag([-1, -1, 1, 1]) @ affine, atol=1e-4)


def test_heights_and_hounsfield_units(
    tmp_path: Path, scan: ScanRecord, write_series: WriteSeries, slice_pixels: Callable[..., np.ndarray]
) -> None:
    paths = write_series(tmp_path, scan, HEIGHTS, SHAPE)
    assert [each.height_mm for each in read_slices(paths[::-1])] == HEIGHTS
    for path, z in zip(paths, HEIGHTS, strict=True):
        assert np.array_equal(hounsfield(path), slice_pixels(SHAPE, z))


def test_rescaling_is_applied_and_air_is_the_lowest(
    tmp_path: Path, scan: ScanRecord, write_series: WriteSeries
) -> None:
    stored = np.full(SHAPE, 100, "<i2")
    stored[0] = -2000
    edit = _set(PixelData=stored.tobytes(), RescaleSlope=2, RescaleIntercept=-1000)
    image = hounsfield(_one(tmp_path, write_series, scan, edit))
    assert (image[0] == AIR).all()
    assert (image[1:] == -800).all()


@pytest.mark.parametrize(
    ("sign", "kind", "vr", "padding"),
    [(1, "<i2", "US", 63536), (0, "<u2", "SS", -2000), (0, "<u2", "US", 63536), (1, "<i2", "SS", -2000)],
)
def test_padding_is_air_though_its_sign_disagrees(
    tmp_path: Path, scan: ScanRecord, write_series: WriteSeries, sign: int, kind: str, vr: str, padding: int
) -> None:
    stored = np.full(SHAPE, 1064, kind)
    stored[3] = np.array(padding % 65536, np.uint16).view(kind)

    def edit(dataset: Dataset, _: int) -> None:
        dataset.PixelRepresentation = sign
        dataset.PixelData = stored.tobytes()
        dataset.add_new("PixelPaddingValue", vr, padding)

    image = hounsfield(_one(tmp_path, write_series, scan, edit))
    assert (image[3] == AIR).all()
    assert (np.delete(image, 3, axis=0) == 40).all()


def test_run_length_coding_is_read(tmp_path: Path, scan: ScanRecord, write_series: WriteSeries) -> None:
    plain, packed = write_series(tmp_path, scan, [0.0, 0.0], SHAPE)
    dataset = pydicom.dcmread(packed)
    dataset.compress(RLELossless)
    dataset.save_as(packed)
    assert np.array_equal(hounsfield(plain), hounsfield(packed))


def test_an_unreadable_compression_says_what_to_install(
    tmp_path: Path, scan: ScanRecord, write_series: WriteSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_series(tmp_path, scan, [0.0], SHAPE)[0]
    dataset = pydicom.dcmread(path)
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.save_as(path)
    monkeypatch.setattr("ambiseg.preprocessing.scans.dicom.dicom_pixels._decodable", lambda _: False)
    with pytest.raises(DataError, match=r"compressed \(JPEG Lossless.*pip install ambiseg\[dicom-codecs\]"):
        hounsfield(path)


@pytest.mark.parametrize("kept", [0.5, 0.97])
def test_a_truncated_file(tmp_path: Path, scan: ScanRecord, write_series: WriteSeries, kept: float) -> None:
    path = write_series(tmp_path, scan, [0.0], (64, 64))[0]
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(DataError, match=r"000000.dcm is cut short or damaged"):
        hounsfield(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ImagePositionPatient": None}, "has no ImagePositionPatient"),
        ({"PixelSpacing": [0, 0]}, r"000000.dcm has PixelSpacing '0.0\\0.0': expected two lengths above 0"),
        ({"RescaleSlope": None}, "has no RescaleSlope"),
        ({"PixelData": b""}, "cut short"),
    ],
)
def test_a_header_that_cannot_be_used(
    tmp_path: Path, scan: ScanRecord, write_series: WriteSeries, values: dict[str, object], message: str
) -> None:
    path = _one(tmp_path, write_series, scan, _set(**values))
    with pytest.raises(DataError, match=message):
        read_series([path])


def test_a_missing_slice_is_refused(tmp_path: Path, scan: ScanRecord, write_series: WriteSeries) -> None:
    paths = write_series(tmp_path, scan, [0.0, 2.5, 7.5, 10.0], SHAPE)
    with pytest.raises(DataError, match=r"lie 2.50 to 5.00 mm apart"):
        read_series(paths)


def test_a_tilted_gantry_is_refused(tmp_path: Path, scan: ScanRecord, write_series: WriteSeries) -> None:
    def tilt(dataset: Dataset, index: int) -> None:
        dataset.ImagePositionPatient = [-150.5, -140.25 + 0.2 * index, 2.5 * index]

    with pytest.raises(DataError, match="tilted gantry"):
        read_series(write_series(tmp_path, scan, HEIGHTS, SHAPE, tilt))


@pytest.mark.parametrize("decimals", [1, 2, 3])
@pytest.mark.parametrize("count", [2, 3, 12])
def test_rounded_positions_of_oblique_slices_give_a_straight_grid(
    tmp_path: Path, scan: ScanRecord, write_series: WriteSeries, decimals: int, count: int
) -> None:
    normal = np.cross([0.8, 0.6, 0], [-0.6 * 0.96, 0.8 * 0.96, 0.28])

    def turn(dataset: Dataset, index: int) -> None:
        place = np.array([-150.5, -140.25, -30]) + 0.625 * index * normal
        dataset.ImagePositionPatient = [f"{value:.{decimals}f}" for value in place]
        dataset.ImageOrientationPatient = [0.8, 0.6, 0, -0.6 * 0.96, 0.8 * 0.96, 0.28]

    grid = series_grid(read_slices(write_series(tmp_path, scan, range(count), (4, 4), turn)))
    axes = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    assert np.linalg.norm(grid.affine[:3, 2]) == pytest.approx(0.625, abs=2 * 10.0**-decimals / (count - 1))


def test_images_of_two_scans_in_one_series_are_refused(
    tmp_path: Path, scan: ScanRecord, write_series: WriteSeries
) -> None:
    paths = write_series(tmp_path / "a", scan, HEIGHTS[:2], SHAPE)
    paths += write_series(tmp_path / "b", scan, HEIGHTS[2:], (24, 24))
    with pytest.raises(DataError, match="images of more than one scan"):
        read_series(paths)


def test_a_copy_counts_once_and_another_image_at_its_place_is_refused(
    tmp_path: Path, scan: ScanRecord, write_series: WriteSeries
) -> None:
    paths = write_series(tmp_path, scan, HEIGHTS, SHAPE)
    copy = tmp_path / "copy.dcm"
    shutil.copy(paths[1], copy)
    assert len(one_a_place(read_slices([*paths, copy]))) == 4
    assert read_series([*paths, copy]).array.shape == (4, *SHAPE)
    dataset = pydicom.dcmread(copy)
    dataset.InstanceNumber = 9
    dataset.RescaleIntercept = 0
    dataset.save_as(copy)
    with pytest.raises(DataError, match=r"different images lie at one place, z = -27.5 mm \(000001.dcm and copy.dcm\)"):
        read_series([*paths, copy])


def test_each_header_is_read_once(
    tmp_path: Path, scan: ScanRecord, write_series: WriteSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_series(tmp_path / "scan", scan, [0.0, 2.5, 5.0], SHAPE)
    read, real = [], dicom_files.read_partial

    def counted(file: BinaryIO, *rest: Any, **options: Any) -> Any:
        read.append(Path(file.name))
        return real(file, *rest, **options)

    monkeypatch.setattr(dicom_files, "read_partial", counted)
    with open_scan(tmp_path / "scan") as found:
        assert found.volume.array.shape == (3, *SHAPE)
        assert found.volume.modality == "CT"
    assert sorted(read) == sorted(paths)
