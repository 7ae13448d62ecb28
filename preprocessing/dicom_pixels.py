"""The values of one DICOM image: HU of a CT, and what the file's rescaling gives for any other modality."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from .dicom import read_dataset, readable, value_of
from .errors import DataError

AIR = -1024  # HU; nothing is less dense, lower values are padding
SYNTAXES: Mapping[tuple[bool | None, bool | None], UID] = {  # by (implicit types, little endian)
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}


def read_hounsfield(path: Path) -> NDArray[np.int16]:
    """One image in HU [rows, columns], rounded to integers; padding, and whatever is below, is -1024."""
    with readable(path):
        dataset = read_dataset(path)
        stored = _stored(dataset, path)
        slope, intercept = (float(value_of(dataset, name, path)) for name in ("RescaleSlope", "RescaleIntercept"))
        low, high = _padding(dataset)
    hounsfield = np.rint(stored.astype(np.float64) * slope + intercept)
    hounsfield[(low <= stored) & (stored <= high)] = AIR
    return hounsfield.clip(AIR, np.iinfo(np.int16).max).astype(np.int16)


def read_rescaled(path: Path) -> NDArray[np.float32]:
    """One image [rows, columns] of a modality other than CT: rescaled as the file says (PET), else as stored (MR).

    Padding, which such a file has outside its field of view, becomes 0: no signal.
    """
    from pydicom.pixels import apply_modality_lut

    with readable(path):
        dataset = read_dataset(path)
        stored = _stored(dataset, path)
        low, high = _padding(dataset)
        values = np.asarray(apply_modality_lut(stored, dataset), np.float32)
    values[(low <= stored) & (stored <= high)] = 0
    return values


def _stored(dataset: FileDataset, path: Path) -> NDArray:
    if "PixelData" not in dataset:
        raise DataError(f"{path.name} holds no pixels: the file is cut short or no image; get it again.")
    syntax = _syntax(dataset)
    if syntax.is_compressed and not _decodable(syntax):
        raise DataError(
            f"{path.name} is compressed ({syntax.name}) and no decoder for it is installed: "
            "`pip install ambiseg[dicom-codecs]`, or decompress the series."
        )
    if str(dataset.get("PhotometricInterpretation", "MONOCHROME2")) not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(f"{path.name} holds colours: expected one grey value a pixel; name a series of grey images.")
    pixels = _decoded(dataset, syntax, path)
    if pixels.ndim != 2:
        raise DataError(
            f"{path.name} is no single grey image (shape {pixels.shape}, enhanced multi-frame?): expected one slice a "
            "file; split it, or convert it to NIfTI first."
        )
    return pixels


def _decoded(dataset: FileDataset, syntax: UID, path: Path) -> NDArray:
    try:
        return dataset.pixel_array
    except RuntimeError as error:
        if not syntax.is_compressed:
            raise
        raise DataError(
            f"{path.name} is compressed ({syntax.name}) and no decoder could read it: it is damaged, or of a kind that "
            "they do not know; decompress the series with another program (gdcmconv --raw, dcmdjpeg)."
        ) from error


def _syntax(dataset: FileDataset) -> UID:
    """The transfer syntax; a file without the part of the header that names it has the one in which it was read."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        syntax = SYNTAXES[dataset.original_encoding]
        dataset.file_meta.TransferSyntaxUID = syntax
    return UID(syntax)


def _decodable(syntax: UID) -> bool:
    from pydicom.pixels import get_decoder

    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def _padding(dataset: Dataset) -> tuple[float, float]:
    """The range of stored values that are padding; empty when none is.

    Real files give the value as unsigned where pixels are signed, and the reverse: its bits are read as the pixels' are.
    """
    value = dataset.get("PixelPaddingValue")
    if value is None or value == "":
        return np.inf, -np.inf
    limits = (value, dataset.get("PixelPaddingRangeLimit", value))
    kind = np.dtype(f"{'iu'[dataset.PixelRepresentation == 0]}{dataset.BitsAllocated // 8}")
    raw = (each if isinstance(each, bytes) else int(each).to_bytes(8, "little", signed=each < 0) for each in limits)
    low, high = sorted(int(np.frombuffer(each[: kind.itemsize], kind)[0]) for each in raw)
    return low, high
