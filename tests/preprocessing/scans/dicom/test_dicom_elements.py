"""DICOM elements that break the rules: read if there is exactly one way to read them, else named in an error."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ambiseg.preprocessing.errors import AmbisegError, DataError
from ambiseg.preprocessing.lidc.annotations import ScanRecord
from ambiseg.preprocessing.scans.dicom.dicom_elements import DECIMALS, Elements, elements_of, text_of
from ambiseg.preprocessing.scans.scan import Scan, open_scan

WriteSeries = Callable[..., list[Path]]
PATH = Path("IM1.dcm")
Write = Callable[..., list[Path]]
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def holding(text: bytes | str, name: str = "PixelSpacing", kind: str | None = "DS") -> Dataset:
    """A data set with one element as a file has it."""
    content = text.encode("latin-1") if isinstance(text, str) else text
    tag = Tag(name)
    return Dataset({tag: RawDataElement(tag, kind, len(content), content, 0, kind is None, True)})


def read(dataset: Dataset) -> Elements:
    return elements_of(dataset, PATH, [*DECIMALS, "Rows", "ImageType", "InstanceNumber"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.7\\0.6", (0.7, 0.6)),
        ("0,7\\0,6", (0.7, 0.6)),
        ("0.7 0.6", (0.7, 0.6)),
        ("0,7 0,6", (0.7, 0.6)),
        (" 0.7 \\ 0.6 \0", (0.7, 0.6)),
        ("0.7;0.6", (0.7, 0.6)),
        ("0,7; 0,6", (0.7, 0.6)),
        ("0.7,0.6", (0.7, 0.6)),
        ("0.7, 0.6", (0.7, 0.6)),
        ("0,7, 0,6", (0.7, 0.6)),
        ("[0.7, 0.6]", (0.7, 0.6)),
        ("['0.7', '0.6']", (0.7, 0.6)),
        ("(0.7 0.6)", (0.7, 0.6)),
        ("0.7\\0.6\\", (0.7, 0.6)),
        ("7e-1\\6E-01", (0.7, 0.6)),
        (".7\\+.6", (0.7, 0.6)),
        ("0,700\\0,600", (0.7, 0.6)),  # a zero before it: no thousands
        ("1000,5\\0,600", (1000.5, 0.6)),
        ("1,500\\0,75", (1.5, 0.75)),
    ],
)
def test_two_numbers_in_one_way(text: str, expected: tuple[float, float]) -> None:
    assert read(holding(text)).numbers("PixelSpacing", 2) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    *[
        [
            *(
                "0.7",
                "0,7",
                "0.7\\0.6\\0.5",
                "0,7,0,6",
                "a\\b",
                "0.7\\b",
                "0.7mm\\0.6mm",
                "0.7\\\\0.6",
                "nan\\0.6",
                "inf\\1",
            ),
            *(
                "1e999\\1",
                "1_0\\1",
                "1,234.5\\1",
                "1.234,5\\1",
                "0x1\\1",
                "--1\\1",
                "٠.٧\\1",
                "\xb2\\1",
                "1,234\\5,678",
            ),
        ]
    ],
)
def test_what_cannot_be_read_or_in_two_ways_is_named(text: str) -> None:
    with pytest.raises(DataError, match=r"^IM1.dcm has PixelSpacing '.*: expected 2 numbers; correct it, or export"):
        read(holding(text.encode("utf-8"))).numbers("PixelSpacing", 2)


@given(st.binary(max_size=40), st.sampled_from([1, 2, 3, 6]))
def test_any_bytes_give_finite_numbers_or_one_sentence(content: bytes, count: int) -> None:
    message = ""
    found: tuple[float, ...] = (0.0,) * count
    try:
        found = read(holding(content)).numbers("PixelSpacing", count)
    except DataError as error:
        message = str(error)
    assert len(found) == count
    assert np.isfinite(found).all()
    assert not message or (message.isprintable() and "PixelSpacing" in message)


@given(
    st.lists(st.decimals(-2000, 2000, places=4), min_size=2, max_size=6),
    st.sampled_from(["\\", " ", "; ", " \\ "]),
    st.sampled_from(".,"),
)
def test_numbers_come_back_however_they_are_parted(values: list, between: str, sign: str) -> None:
    text = between.join(str(value).replace(".", sign) for value in values)
    assert read(holding(text)).numbers("PixelSpacing", len(values)) == pytest.approx([float(v) for v in values])


@pytest.mark.parametrize("text", ["-1,024", "1,000"])
def test_a_comma_that_may_part_thousands_needs_another_number_to_tell(text: str) -> None:
    dataset = holding(text, "RescaleIntercept")
    with pytest.raises(DataError, match=f"has RescaleIntercept '{text}': expected a number"):
        read(dataset).number("RescaleIntercept")
    dataset.update(holding("0,7\\0,7"))
    assert read(dataset).number("RescaleIntercept") == float(text.replace(",", "."))


def test_binary_numbers() -> None:
    assert read(holding(b"\0\2", "Rows", "US")).whole("Rows") == 512
    assert read(holding(b"\0\2", "Rows", None)).whole("Rows") == 512
    assert read(holding(b"\0\2", "Rows", "UN")).whole("Rows") == 512
    assert read(holding("512 ", "Rows", "IS")).whole("Rows") == 512
    assert read(holding(np.array([0.7, 0.6], "<f8").tobytes(), kind="FD")).numbers("PixelSpacing", 2) == (0.7, 0.6)
    with pytest.raises(DataError, match=r"has Rows .*x00.*: expected a number"):
        read(holding(b"\0\2\0", "Rows", "US")).whole("Rows")
    with pytest.raises(DataError, match=r"has Rows '5\.5': expected a whole number"):
        read(holding("5.5", "Rows", "IS")).whole("Rows")


def test_texts() -> None:
    assert text_of(holding(b"M\xfcller \0", "PatientName", "PN"), "PatientName") == "Müller"
    assert text_of(Dataset(), "PatientName") == ""
    assert read(holding("original\\Localizer ", "ImageType", "CS")).values("ImageType") == ("ORIGINAL", "LOCALIZER")
    assert read(holding("12a", "InstanceNumber", "IS")).order("InstanceNumber") == 0
    with pytest.raises(DataError, match="has no PixelSpacing: the file is cut short or no slice of a scan"):
        read(holding(" ")).numbers("PixelSpacing", 2)


TRUE = {
    "ImagePositionPatient": None,
    "ImageOrientationPatient": "1\\0\\0\\0\\1\\0",
    "PixelSpacing": "0.7\\0.6",
    "RescaleSlope": "1",
    "RescaleIntercept": "-1024",
}
READ = (  # ways to write those
    lambda text: text,
    lambda text: "\\".join(f"{float(each):.2f}".replace(".", ",") for each in text.split("\\")),
    lambda text: text.replace("\\", " "),
    lambda text: f" [{text.replace(chr(92), ', ')}] ",
)
NAMED = {  # what no number can be read of
    "a word": lambda text: "unknown",
    "not a number": lambda text: text.replace(text.split("\\")[0], "nan", 1),
    "infinite": lambda text: text.replace(text.split("\\")[0], "1e999", 1),
    "one too many": lambda text: f"{text}\\1",
    "nothing": lambda text: "",
    "noise": lambda text: "\x1b[31m\xff\xfe\x07",
}
SIZES = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
WRONG_SIZES = [(name, content) for name in SIZES for content in (b"", b"\xff\xff", b"\1\0\1\0", b"\1")]
WRONG_SIZES += [(name, b"\0\0") for name in SIZES[:4]]
UNIMPORTANT = (
    *("InstanceNumber", "SeriesNumber", "AcquisitionNumber", "NumberOfFrames", "SamplesPerPixel", "SliceThickness"),
    *("SliceLocation", "SpacingBetweenSlices", "ImageComments", "ImageType", "PatientName", "SpecificCharacterSet"),
    *("WindowCenter", "StudyDate", "HighBit", "PlanarConfiguration", "FrameOfReferenceUID"),
)


@pytest.fixture
def write(tmp_path: Path, scan: ScanRecord, write_series: WriteSeries) -> Callable[[UID], list[Path]]:
    """A function that writes four small slices."""

    def write_four(syntax: UID = ExplicitVRLittleEndian) -> list[Path]:
        def edit(dataset: Dataset, _: int) -> None:
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.PixelSpacing = [0.7, 0.6]
            dataset.SeriesNumber = 1

        return write_series(tmp_path / "scan", scan, [0.0, 2.5, 5.0, 7.5], (6, 8), edit)

    return write_four


def opened(paths: list[Path]) -> Scan:
    with open_scan(paths[0].parent) as found:
        return found


def write_element(path: Path, name: str, content: bytes) -> None:
    """Write an element of a file as these bytes."""
    dataset = pydicom.dcmread(path)
    tag, (implicit, little) = Tag(name), dataset.original_encoding
    kind = dictionary_VR(tag).replace("US or SS", "US")
    dataset[tag] = RawDataElement(tag, kind, len(content), content, 0, implicit, little)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a character set that there is not
        dataset.save_as(path)


def check_same(found: Scan, expected: Scan) -> None:
    assert np.array_equal(found.volume.array, expected.volume.array)
    assert np.allclose(found.grid.affine, expected.grid.affine)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("name", TRUE)
def test_numbers_are_read_however_they_are_written(write: Write, name: str, syntax: UID) -> None:
    paths = write(syntax)
    expected = opened(paths)
    for index, (path, way) in enumerate(zip(paths, READ, strict=True)):
        content = way(TRUE[name] or f"-150.5\\-140.25\\{2.5 * index}").encode()
        write_element(path, name, content + b" " * (len(content) % 2))
    check_same(opened(paths), expected)


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("name", TRUE)
def test_what_is_no_number_is_named(write: Write, name: str, kind: str) -> None:
    paths = write()
    broken = paths[0 if len(kind) % 2 else 3]  # a first slice, or a last one
    content = NAMED[kind](TRUE[name] or "-150.5\\-140.25\\0").encode("latin-1")
    write_element(broken, name, content + b" " * (len(content) % 2))
    with pytest.raises(DataError) as caught:
        opened(paths)
    assert broken.name in str(caught.value)
    assert name in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("name", "content"), WRONG_SIZES)
def test_every_size_is_right_or_the_file_is_named(write: Write, name: str, content: bytes) -> None:
    paths = write()
    write_element(paths[1], name, content)
    with pytest.raises(DataError, match=r"000001\.dcm") as caught:
        opened(paths)
    assert name in str(caught.value) or "size" in str(caught.value) or "cut short or damaged" in str(caught.value)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("name", UNIMPORTANT)
def test_what_orders_and_describes_is_not_needed(write: Write, name: str, syntax: UID) -> None:
    paths = write(syntax)
    expected = opened(paths)
    for path, content in zip(paths, (b"", b"none", b"\xff\xfe\x1b\x00", b"-1\\nan"), strict=True):
        write_element(path, name, content)
    check_same(opened(paths), expected)


@settings(max_examples=30)
@given(name=st.sampled_from([*TRUE, *SIZES, *UNIMPORTANT, "Modality", "SOPClassUID", "SOPInstanceUID"]), data=st.data())
def test_any_bytes_in_any_element_give_a_scan_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("scan")
    for index in range(3):
        dataset = small_slice(index)
        dataset.save_as(folder / f"{index}.dcm", enforce_file_format=True)
    content = data.draw(st.binary(max_size=12).filter(lambda each: len(each) % 2 == 0))
    write_element(folder / "1.dcm", name, content)
    message = ""
    try:
        opened(sorted(folder.iterdir()))
    except AmbisegError as error:
        message = str(error).replace("\n", " ")
    assert message.isprintable()


def small_slice(index: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = pydicom.uid.CTImageStorage, f"1.2.3.{index + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.Modality = "1.2.4", "1.2.5", "CT"
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 2.5 * index], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.RescaleSlope, dataset.RescaleIntercept = [0.7, 0.7], 1, -1024
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 2, 3, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PixelData = bytes(range(12))
    return dataset
