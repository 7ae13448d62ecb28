"""The elements of a DICOM data set as text and numbers: read where that can be done in one way only, else named.

Files break DICOM's rules: numbers with decimal commas, several of them in one text, words where a number belongs, names in
another character set than the one declared. So nothing here asks pydicom to convert a value; it is taken as it stands.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from ...errors import DataError

BINARY = {"US": "u2", "SS": "i2", "US or SS": "u2", "UL": "u4", "SL": "i4", "FL": "f4", "FD": "f8"}  # VRs of numbers
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*|,[0-9]+)?|[.,][0-9]+)([eE][+-]?[0-9]+)?")
GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")  # 1,024: the comma may part thousands, or be the decimal sign
DECIMALS = ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept")
SHOWN = 60  # characters of a value that a message repeats


def text_of(dataset: Dataset, name: str) -> str:
    """An element's value as it is written, "" when it is absent or empty; several values are parted by backslashes.

    Texts are taken as Latin-1, whatever is declared, so that no byte is lost and no value fails; padding is cut off.
    """
    element = dataset.get_item(name, keep_deferred=True)
    if element is None:
        return ""
    value = _binary(element) if isinstance(element, RawDataElement) else element.value
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    elif isinstance(value, Sequence | MultiValue) and not isinstance(value, str):
        value = "\\".join(str(each) for each in value)
    return "" if value is None else str(value).strip(" \t\r\n\0")


def needed_text(dataset: Dataset, name: str, path: Path) -> str:
    """As `text_of`. Raises `DataError`, with the name of the file, when the element is absent or empty."""
    text = text_of(dataset, name)
    if not text:
        raise DataError(f"{path.name} has no {name}: the file is cut short or no slice of a scan; get it again.")
    return text


def values_of(dataset: Dataset, name: str) -> tuple[str, ...]:
    """The values of an element, such as ImageType, in capitals."""
    return tuple(value.strip().upper() for value in text_of(dataset, name).split("\\"))


def numbers_of(dataset: Dataset, name: str, path: Path, count: int) -> tuple[float, ...]:
    """The `count` numbers of an element: with decimal points or commas, parted as DICOM says, by blanks, or by commas.

    Raises `DataError`, with the names of file and element and its text, where it holds anything else, or where it can be
    read in two ways.
    """
    text = needed_text(dataset, name, path)
    parts = _parts(text, count)
    if parts is None or (any(map(GROUPED.fullmatch, parts)) and not _decimal_commas(dataset)):
        raise unusable(dataset, name, path, "a number" if count == 1 else f"{count} numbers")
    return tuple(_number(part) for part in parts)


def number_of(dataset: Dataset, name: str, path: Path) -> float:
    """The one number of an element, as `numbers_of`."""
    return numbers_of(dataset, name, path, 1)[0]


def whole_of(dataset: Dataset, name: str, path: Path) -> int:
    """The one whole number of an element, as `numbers_of`."""
    number = number_of(dataset, name, path)
    if number != int(number):
        raise unusable(dataset, name, path, "a whole number")
    return int(number)


def order_of(dataset: Dataset, name: str) -> int:
    """A whole number that only orders or counts, 0 where there is none to be read."""
    try:
        return whole_of(dataset, name, Path())
    except DataError:
        return 0


def unusable(dataset: Dataset, name: str, path: Path, expected: str) -> DataError:
    """The error that names an element and its text, of which nothing can be made."""
    text = text_of(dataset, name)
    shown = repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...").replace("\\\\", "\\")
    return DataError(f"{path.name} has {name} {shown}: expected {expected}; correct it, or export the series again.")


def _binary(element: RawDataElement) -> object:
    """The numbers of a raw element whose kind is binary; of any other, and where the length is wrong, its bytes."""
    try:
        kind = BINARY.get(dictionary_VR(element.tag) if element.VR in (None, "UN") else element.VR)
    except KeyError:
        kind = None
    if kind is None or not element.value:
        return element.value
    if len(element.value) % np.dtype(kind).itemsize:
        return repr(element.value)
    return np.frombuffer(element.value, f"{'<' if element.is_little_endian else '>'}{kind}").tolist()


def _parts(text: str, count: int) -> list[str] | None:
    """The `count` numbers in a text, each as it is written; None when they cannot be told apart."""
    bare = re.sub(r"[\[\]()'\"]", "", text).strip(" \\;")
    between = re.split(r"\s*[\\;]\s*|,?\s+", bare)
    commas = re.split(r"\s*,\s*", bare)
    readings = [between]
    if count > 2 or all("." in part for part in commas):  # the two numbers of "0,7" may be one
        readings.append(commas)
    for parts in readings:
        if len(parts) == count and all(map(NUMBER.fullmatch, parts)) and all(map(math.isfinite, map(_number, parts))):
            return parts
    return None


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _decimal_commas(dataset: Dataset) -> bool:
    """Whether any number of the file shows that its commas are decimal signs: 0,7 or -1024,0 but not 1,024."""
    texts = [part for name in DECIMALS for part in text_of(dataset, name).split("\\")]
    return any("," in text and NUMBER.fullmatch(text) and not GROUPED.fullmatch(text) for text in texts)
