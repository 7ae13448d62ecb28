"""Compressed DICOM, as many archives provide it: compressed by GDCM, it reads like the original."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.lidc.annotations import ScanRecord
from ambiseg.preprocessing.scans.dicom.dicom_pixels import read_hounsfield
from ambiseg.preprocessing.scans.dicom.series import read_series
from ambiseg.preprocessing.scans.dicom.series_images import read_images

gdcm = pytest.importorskip("gdcm", reason="needs ambiseg[dicom-codecs]")

LOSSLESS = ("JPEGLosslessProcess14", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless")
LOSSY = ("JPEGLSNearLossless", "JPEG2000")


def hounsfield(path: Path) -> NDArray[np.int16]:
    return read_hounsfield(read_images([path])[0].elements)


def compress(path: Path, syntax: str) -> None:
    """Write a file anew in a transfer syntax, by GDCM's name for it."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed


def twelve_bits(dataset: Dataset, _: int) -> None:
    """Unsigned values of 12 bits with an intercept, as scanners store a CT."""
    stored = np.frombuffer(dataset.PixelData, np.int16).clip(-1024, 3071) + 1024
    dataset.PixelData = stored.astype(np.uint16).tobytes()
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit, dataset.RescaleIntercept = 0, 12, 11, -1024
    if "PixelPaddingValue" in dataset:
        del dataset.PixelPaddingValue


@pytest.mark.parametrize("edit", [None, twelve_bits], ids=["signed", "unsigned"])
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_codes_give_the_same_values(
    tmp_path: Path,
    scan: ScanRecord,
    write_series: Callable[..., list[Path]],
    syntax: str,
    edit: Callable[[Dataset, int], None] | None,
) -> None:
    plain, packed = write_series(tmp_path, scan, [0.0, 0.0], (61, 83), edit)
    compress(packed, syntax)
    assert np.array_equal(hounsfield(plain), hounsfield(packed))


@pytest.mark.parametrize("syntax", LOSSY)
def test_lossy_codes_give_nearly_the_same_values(
    tmp_path: Path, scan: ScanRecord, write_series: Callable[..., list[Path]], syntax: str
) -> None:
    plain, packed = write_series(tmp_path, scan, [0.0, 0.0], (64, 96), twelve_bits)
    compress(packed, syntax)
    assert np.abs(hounsfield(plain).astype(int) - hounsfield(packed)).max() < 40


def test_a_compressed_series_is_read_as_a_volume(
    tmp_path: Path, scan: ScanRecord, write_series: Callable[..., list[Path]]
) -> None:
    heights = [-30.0, -27.5, -25.0]
    plain, packed = (write_series(tmp_path / name, scan, heights, (32, 40)) for name in ("plain", "packed"))
    for path in packed:
        compress(path, "JPEGLosslessProcess14_1")
    assert np.array_equal(read_series(plain).array, read_series(packed).array)


@pytest.mark.parametrize("damage", [False, True], ids=["of 12 bits", "damaged"])
def test_what_no_decoder_reads_is_named(
    tmp_path: Path, scan: ScanRecord, write_series: Callable[..., list[Path]], damage: bool
) -> None:
    (path,) = write_series(tmp_path, scan, [0.0], (64, 96), twelve_bits)
    compress(path, "JPEG2000Lossless" if damage else "JPEGExtendedProcess2_4")
    if damage:
        dataset = pydicom.dcmread(path)
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])
        dataset.save_as(path)
    with pytest.raises(DataError, match="no decoder could read it: it is damaged, or of a kind that they do not know"):
        hounsfield(path)
