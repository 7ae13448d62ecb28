"""Other files in a DICOM folder beside the scan's slices: ignored and reported, unless one may be a damaged slice."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    ColorPaletteStorage,
    MediaStorageDirectoryStorage,
    RTDoseStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from ambiseg.preprocessing.errors import DataError, InputError, ResourceError
from ambiseg.preprocessing.lidc.annotations import ScanRecord
from ambiseg.preprocessing.scans.cases import find_cases
from ambiseg.preprocessing.scans.dicom.dicom_files import find_series
from ambiseg.preprocessing.scans.dicom.series_images import read_slices
from ambiseg.preprocessing.scans.scan import Scan, open_scan

SHAPE = (6, 8)
HEIGHTS = [2.5 * k for k in range(6)]
PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")


@pytest.fixture
def slices(tmp_path: Path, scan: ScanRecord, write_series: Callable[..., list[Path]]) -> list[Path]:
    """Six slices in a folder of their own."""
    return write_series(tmp_path / "scan", scan, HEIGHTS, SHAPE)


def read(folder: Path, series: str | None = None) -> Scan:
    with open_scan(folder, series=series) as found:
        return found


def check_same(found: Scan, expected: Scan) -> None:
    assert np.array_equal(found.volume.array, expected.volume.array)
    assert np.allclose(found.grid.affine, expected.grid.affine)


def resize(dataset: Dataset, rows: int, columns: int, samples: int = 1) -> None:
    dataset.Rows, dataset.Columns = rows, columns
    dataset.PixelData = np.arange(rows * columns * samples, dtype="<i2").tobytes()


def forget(dataset: Dataset, *names: str) -> None:
    for name in names:
        delattr(dataset, name)


def localizer(dataset: Dataset) -> None:
    resize(dataset, 10, 12)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    dataset.ImagePositionPatient = [-150.5, -100, 40]


def localizer_without_a_place(dataset: Dataset) -> None:
    localizer(dataset)
    forget(dataset, *PLACE)


def localizer_like_a_slice(dataset: Dataset) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "CT_SOM5 TOP"]


def unmarked_scout(dataset: Dataset) -> None:
    localizer(dataset)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]


def unmarked_scout_of_one_size(dataset: Dataset) -> None:
    dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    dataset.ImagePositionPatient = [0, -150, 40]


def unmarked_scout_without_position(dataset: Dataset) -> None:
    unmarked_scout(dataset)
    forget(dataset, "ImagePositionPatient")


def sheet_without_a_place(dataset: Dataset) -> None:
    forget(dataset, *PLACE)


def sheet(dataset: Dataset) -> None:
    dataset.ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]
    forget(dataset, *PLACE, "RescaleSlope", "RescaleIntercept")


def capture(dataset: Dataset) -> None:
    """It claims the place of a slice, with other values."""
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.ImagePositionPatient = [-150.5, -140.25, 2.5]


def capture_in_colours(dataset: Dataset) -> None:
    resize(dataset, 4, 4, 3)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    forget(dataset, *PLACE)


def frames(dataset: Dataset) -> None:
    dataset.NumberOfFrames = 4
    dataset.PixelData = dataset.PixelData * 4
    forget(dataset, *PLACE)


def dose(dataset: Dataset) -> None:
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = RTDoseStorage
    dataset.Modality, dataset.NumberOfFrames, dataset.PixelData = "RTDOSE", 2, dataset.PixelData * 2


def report(dataset: Dataset) -> None:
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    dataset.Modality = "SR"
    forget(dataset, *PLACE, "Rows", "Columns", "PixelData")


OTHERS = (
    *(localizer, localizer_without_a_place, localizer_like_a_slice, unmarked_scout, unmarked_scout_of_one_size),
    *(unmarked_scout_without_position, sheet_without_a_place, sheet, capture, capture_in_colours, frames, dose, report),
)


def add(folder: Path, name: str, edit: Callable[[Dataset], None], number: int = 99) -> Path:
    """Write another file into a series: a copy of its first slice, changed."""
    dataset = pydicom.dcmread(folder / "000000.dcm")
    dataset.SOPInstanceUID, dataset.InstanceNumber = generate_uid(), number
    edit(dataset)
    dataset.save_as(folder / name)
    return folder / name


@pytest.mark.parametrize("name", ["!.dcm", "000002a.dcm", "zzz"], ids=["first", "middle", "last"])
@pytest.mark.parametrize("other", OTHERS, ids=lambda each: each.__name__)
def test_what_is_no_slice_is_left_out_of_the_series_and_said(
    slices: list[Path], other: Callable[[Dataset], None], name: str
) -> None:
    folder = slices[0].parent
    expected = read(folder)
    assert expected.notes == ()
    path = add(folder, name, other, number=0 if name == "!.dcm" else 99)
    found = read(folder)
    check_same(found, expected)
    assert len(found.notes) == 1
    assert name in found.notes[0]
    assert found.notes[0].startswith("Left out of the series, as no slices of the scan: ")
    assert [each.path for each in read_slices([path, *slices])] == slices
    check_same(read(slices[3]), expected)


def test_many_others_are_left_out_together(slices: list[Path]) -> None:
    folder = slices[0].parent
    expected = read(folder)
    for number, other in enumerate((localizer, localizer, localizer, sheet, capture, report, dose)):
        add(folder, f"{number}.dcm", other)
    found = read(folder)
    check_same(found, expected)
    assert found.notes == (
        "Left out of the series, as no slices of the scan: localizer (3 files, 0.dcm first), screenshot or dose sheet "
        "(2 files, 3.dcm first), SR object (5.dcm), RTDOSE object (6.dcm).",
    )


def test_the_series_is_chosen_and_listed_by_its_slices(slices: list[Path]) -> None:
    folder = slices[0].parent
    add(folder, "!.dcm", localizer, number=0)
    shutil.copytree(folder, folder / "other")
    for path in (folder / "other").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID, dataset.SeriesNumber = "1.2.3.4", 7
        dataset.save_as(path)
    with pytest.raises(InputError, match=r"holds 2 series .*\n  \d  CT, 6 images, 8 x 6, .* x 2.50 mm") as caught:
        read(folder)
    assert len(str(caught.value).splitlines()) == 3
    assert read(folder, "1.2.3.4").volume.array.shape == (6, *SHAPE)


def test_a_series_of_two_scans_is_refused_still(slices: list[Path]) -> None:
    for path in slices[:3]:
        dataset = pydicom.dcmread(path)
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        dataset.save_as(path)
    with pytest.raises(DataError, match="images of more than one scan"):
        read(slices[0].parent)


@pytest.mark.parametrize("suffix", [".dcm", ""])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True), which=st.sampled_from([0, 2, 5]))
def test_a_slice_cut_anywhere_is_named(slices: list[Path], share: float, which: int, suffix: str) -> None:
    path = slices[which]
    whole = path.read_bytes()
    cut = path.with_suffix(suffix)
    path.rename(cut)
    cut.write_bytes(whole[: int(share * len(whole))])
    try:
        with pytest.raises(DataError, match=rf"\b{cut.name}\b.* cut short or damaged"):
            read(path.parent)
    finally:
        cut.rename(path).write_bytes(whole)


@pytest.mark.parametrize("kind", ["flipped", "zeroed", "overwritten", "shifted"])
def test_a_slice_with_a_damaged_header_is_never_lost(slices: list[Path], kind: str) -> None:
    folder = slices[0].parent
    expected, whole = read(folder), slices[5].read_bytes()
    header, rng = len(whole) - 2 * SHAPE[0] * SHAPE[1] - 12, random.Random(7)
    lost = 0
    for _ in range(25):
        content, place = bytearray(whole), rng.randrange(header)
        if kind == "flipped":
            content[place] ^= 1 << rng.randrange(8)
        elif kind == "zeroed":
            content[place : place + 16] = bytes(len(content[place : place + 16]))
        elif kind == "overwritten":
            content[place : place + 6] = rng.randbytes(6)
        else:
            del content[place : place + 4]
        slices[5].write_bytes(content)
        try:
            found = read(folder)
        except DataError:
            continue
        lost += found.volume.array.shape != expected.volume.array.shape
    assert lost == 0


@pytest.mark.parametrize("name", ["junk.dcm", "junk"])
@pytest.mark.parametrize(
    "content",
    [
        bytes(128) + b"DICM" + random.Random(1).randbytes(3000),
        bytes(128) + b"DICM" + b"a text about lungs" * 200,
        bytes(128) + b"DICM" + bytes(4000),
        b"II*\0" + bytes(124) + b"DICM" + random.Random(2).randbytes(300),
        random.Random(3).randbytes(5000),
        b"a text about lungs",
        b"\xff\xd8\xff\xe0" + random.Random(4).randbytes(4000),
        b"\x08\0" + random.Random(5).randbytes(4000),
    ],
    ids=["random", "text", "zeros", "tiff", "noise", "plain", "jpeg", "bare"],
)
def test_what_only_begins_or_is_named_like_dicom_does_not_block_a_folder(
    slices: list[Path], content: bytes, name: str
) -> None:
    folder = slices[0].parent
    expected = read(folder)
    (folder / name).write_bytes(content)
    found = read(folder)
    check_same(found, expected)
    begins = content[128:132] == b"DICM" or name.endswith(".dcm")
    said = ("Passed over, as files of no known series and unlike slices of the scan: ",) if begins else ()
    assert found.notes == tuple(f"{text}{name}." for text in said)
    assert find_cases(folder) is None
    assert find_series(folder).total == 7


def palette(dataset: Dataset) -> None:
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = ColorPaletteStorage
    dataset.Modality = "OT"
    forget(dataset, "SeriesInstanceUID", *PLACE, "Rows", "Columns", "PixelData")


def report_of_no_series(dataset: Dataset) -> None:
    report(dataset)
    forget(dataset, "SeriesInstanceUID")


def capture_of_no_series(dataset: Dataset) -> None:
    capture(dataset)
    forget(dataset, "SeriesInstanceUID")


def directory(dataset: Dataset) -> None:
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    forget(dataset, "SeriesInstanceUID", "StudyInstanceUID")


@pytest.mark.parametrize(
    ("other", "note"),
    [
        (palette, "Passed over, as DICOM objects of no series: 1 file."),
        (report_of_no_series, "Passed over, as DICOM objects of no series: 1 file."),
        (capture_of_no_series, "Passed over, as files of no known series and unlike slices of the scan: 0.dcm."),
        (directory, None),
    ],
)
def test_an_object_of_no_series_does_not_block_a_folder(
    slices: list[Path], other: Callable[[Dataset], None], note: str | None
) -> None:
    folder = slices[0].parent
    expected = read(folder)
    add(folder, "0.dcm", other)
    found = read(folder)
    check_same(found, expected)
    assert found.notes == (() if note is None else (note,))
    assert (folder / "0.dcm") not in find_series(folder).files
    for path in slices:
        path.unlink()
    with pytest.raises((InputError, DataError), match=r"^(0.dcm|scan) .*(no DICOM images|no scan|cannot be read)"):
        read(folder)


def test_a_slice_that_names_no_series_or_one_of_its_own_is_not_lost(slices: list[Path]) -> None:
    dataset = pydicom.dcmread(slices[5])
    dataset.SeriesInstanceUID = "1.2.3"
    dataset.save_as(slices[5])
    with pytest.raises(DataError, match=r"^000005.dcm is like the slices of the scan but names a series of its own"):
        read(slices[0].parent)
    del dataset.SeriesInstanceUID
    dataset.save_as(slices[5])
    with pytest.raises(DataError, match=r"holds DICOM files that cannot be read \(1, 000005.dcm is the first\)"):
        read(slices[0].parent)


def test_a_cut_file_of_another_series_or_study_does_not_matter(
    tmp_path: Path, slices: list[Path], scan: ScanRecord, write_series: Callable[..., list[Path]]
) -> None:
    expected = read(slices[0].parent)

    def elsewhere(dataset: Dataset, _: int) -> None:
        dataset.SOPClassUID, dataset.SeriesInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
        dataset.Modality = "OT"

    (other,) = write_series(tmp_path / "scan" / "more", scan, [0.0], SHAPE, elsewhere)
    whole = other.read_bytes()
    for share in (0.4, 0.6, 0.9):
        other.write_bytes(whole[: int(share * len(whole))])
        check_same(read(slices[0].parent), expected)


def test_a_damaged_scan_is_not_replaced_by_another_series(slices: list[Path]) -> None:
    folder = slices[0].parent
    shutil.copytree(folder, folder / "other")
    for path in (folder / "other").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = "1.2.3.4"
        dataset.save_as(path)
    slices[5].write_bytes(slices[5].read_bytes()[:-120])
    with pytest.raises(InputError, match="holds 2 series that can be the scan"):
        read(folder)
    with pytest.raises(DataError, match=r"^000005.dcm is cut short"):
        read(folder, pydicom.dcmread(slices[0]).SeriesInstanceUID)
    assert read(folder, "1.2.3.4").volume.array.shape == (6, *SHAPE)


def test_a_gap_names_what_was_passed_over(slices: list[Path]) -> None:
    slices[2].write_bytes(bytes(128) + b"DICM" + random.Random(1).randbytes(100))
    with pytest.raises(
        DataError,
        match=r"The slices lie 2.50 to 5.00 mm apart: .*000001.dcm and 000003.dcm.*no known series .* 000002.dcm",
    ):
        read(slices[0].parent)


def test_a_file_that_may_not_be_read_is_a_lack_of_rights(slices: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def deny(path: Path, *args: object, **options: object) -> object:
        if path.name == "000005.dcm":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(ResourceError, match=r"^000005.dcm cannot be read \(Permission denied\): check its permissions"):
        read(slices[0].parent)
