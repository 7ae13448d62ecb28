"""The values of one DICOM image: HU of a CT; of any other modality, the values that the file's rescaling gives."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ...errors import DataError
from .dicom_elements import Elements
from .dicom_files import read_dataset, readable

AIR = -1024  # HU; nothing is less dense, lower values are padding
BITS = (8, 16, 32)  # that are allocated for a pixel
GREY = ("MONOCHROME1", "MONOCHROME2")
SYNTAXES: Mapping[tuple[bool | None, bool | None], UID] = {  # by (implicit types, little endian)
    (True, True): ImplicitVRLittleEndian,
    (False, True): ExplicitVRLittleEndian,
    (False, False): ExplicitVRBigEndian,
}


def read_hounsfield(elements: Elements) -> NDArray[np.int16]:
    """One image in HU [rows, columns], rounded to integers; padding, and whatever is below, is -1024."""
    with readable(elements.path):
        dataset = read_dataset(elements.path)
        stored = _stored(dataset, elements)
        slope, intercept = (elements.number(name) for name in ("RescaleSlope", "RescaleIntercept"))
        low, high = _padding(elements)
    hounsfield = np.rint(stored.astype(np.float64) * slope + intercept)
    hounsfield[(low <= stored) & (stored <= high)] = AIR
    return hounsfield.clip(AIR, np.iinfo(np.int16).max).astype(np.int16)


def read_rescaled(elements: Elements) -> NDArray[np.float32]:
    """One image [rows, columns] of a modality other than CT: rescaled as the file says (PET), else as stored (MR).

    Padding, which such a file has outside its field of view, becomes 0: no signal.
    """
    with readable(elements.path):
        dataset = read_dataset(elements.path)
        stored = _stored(dataset, elements)
        low, high = _padding(elements)
        values = np.asarray(_rescaled(stored, dataset, elements), np.float32)
    values[(low <= stored) & (stored <= high)] = 0
    return values


def _rescaled(stored: NDArray, dataset: FileDataset, elements: Elements) -> NDArray:
    if "ModalityLUTSequence" in dataset:
        from pydicom.pixels import apply_modality_lut

        return apply_modality_lut(stored, dataset)
    if not elements.text("RescaleSlope") or not elements.text("RescaleIntercept"):
        return stored
    slope, intercept = (elements.number(name) for name in ("RescaleSlope", "RescaleIntercept"))
    return stored.astype(np.float64) * slope + intercept


def _stored(dataset: FileDataset, elements: Elements) -> NDArray:
    name = elements.path.name
    if "PixelData" not in dataset:
        raise DataError(f"{name} holds no pixels: the file is cut short or no image; get it again.")
    syntax = _syntax(dataset)
    if syntax.is_compressed and not _decodable(syntax):
        raise DataError(
            f"{name} is compressed ({syntax.name}) and no decoder for it is installed: "
            "`pip install ambiseg[dicom-codecs]`, or decompress the series."
        )
    if (elements.text("PhotometricInterpretation").upper() or GREY[1]) not in GREY:
        raise DataError(f"{name} holds colours: expected one grey value per pixel; name a series of grey images.")
    _settle(dataset, elements)
    pixels = _decoded(dataset, syntax, name)
    if pixels.ndim != 2:
        raise DataError(
            f"{name} is no single grey image (shape {pixels.shape}, enhanced multi-frame?): expected one slice "
            "per file; split it, or convert it to NIfTI first."
        )
    return pixels


def _settle(dataset: FileDataset, elements: Elements) -> None:
    """Give pydicom's decoder numbers where the file has other texts for them. Raises `DataError` where there are none."""
    bits = elements.whole("BitsAllocated")
    if bits not in BITS:
        raise elements.unusable("BitsAllocated", "8, 16 or 32")
    used = elements.whole("BitsStored")
    if not 1 <= used <= bits:
        raise elements.unusable("BitsStored", f"1 to {bits}")
    signed = elements.whole("PixelRepresentation")
    if signed not in (0, 1):
        raise elements.unusable("PixelRepresentation", "0 or 1")
    dataset.Rows, dataset.Columns = elements.whole("Rows"), elements.whole("Columns")
    dataset.BitsAllocated, dataset.BitsStored, dataset.PixelRepresentation = bits, used, signed
    dataset.SamplesPerPixel = elements.order("SamplesPerPixel") or 1
    dataset.NumberOfFrames = elements.order("NumberOfFrames") or 1
    dataset.PhotometricInterpretation = elements.text("PhotometricInterpretation").upper() or GREY[1]


def _decoded(dataset: FileDataset, syntax: UID, name: str) -> NDArray:
    try:
        return dataset.pixel_array
    except RuntimeError as error:
        if not syntax.is_compressed:
            raise
        raise DataError(
            f"{name} is compressed ({syntax.name}) and no decoder could read it: it is damaged, or of a kind that "
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


def _padding(elements: Elements) -> tuple[float, float]:
    """The range of stored values that are padding; empty when none is.

    Real files give the value as unsigned where pixels are signed, and the reverse: its bits are read as the pixels' are.
    """
    names = [name for name in ("PixelPaddingValue", "PixelPaddingRangeLimit") if elements.text(name)]
    if "PixelPaddingValue" not in names:
        return np.inf, -np.inf
    unsigned, size = elements.whole("PixelRepresentation") == 0, elements.whole("BitsAllocated") // 8
    kind = np.dtype(f"{'iu'[unsigned]}{size}")
    limits = [elements.whole(name) for name in names]
    for name, limit in zip(names, limits, strict=True):
        if abs(limit) >= 2**32:
            raise elements.unusable(name, "a stored value")
    raw = (each.to_bytes(8, "little", signed=each < 0) for each in limits)
    values = sorted(int(np.frombuffer(each[: kind.itemsize], kind)[0]) for each in raw)
    return values[0], values[-1]
