"""The elements of a DICOM header as text and numbers: read where there is one way to read them, else named.

Files break DICOM's rules: numbers with decimal commas, several of them in one text, words where a number belongs, names in
another character set than the one declared. So nothing here asks pydicom to convert a value; it is taken as it stands.
"""

import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from ...errors import DataError

BINARY = {"US": "u2", "SS": "i2", "US or SS": "u2", "UL": "u4", "SL": "i4", "FL": "f4", "FD": "f8"}  # VRs of numbers
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*|,[0-9]+)?|[.,][0-9]+)([eE][+-]?[0-9]+)?")
GROUPED = re.compile(
    r"[+-]?[1-9][0-9]{0,2},[0-9]{3}"
)  # 1,024: the comma may separate thousands, or be the decimal sign
DECIMALS = ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept")
SHOWN = 60  # characters of a value that a message repeats


@dataclass(frozen=True)
class Elements:
    """The elements that were read from the header of the file `path`: their `texts` as they are written, by keyword.

    Absent and empty elements have no text. Every reading raises `DataError`, with the names of file and element and with
    its text, where the element holds anything else, or where it can be read in two ways.
    """

    path: Path = field(default_factory=Path)
    texts: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """An element's text, "" when it is absent or empty; several values are separated by backslashes."""
        return self.texts.get(name, "")

    def needed(self, name: str) -> str:
        """As `text`. Raises `DataError` when the element is absent or empty."""
        text = self.text(name)
        if not text:
            raise DataError(
                f"{self.path.name} has no {name}: the file is cut short or no slice of a scan; get it again."
            )
        return text

    def values(self, name: str) -> tuple[str, ...]:
        """The values of an element, such as ImageType, in capitals."""
        return tuple(value.strip().upper() for value in self.text(name).split("\\"))

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        """The `count` numbers of an element: with decimal points or commas; separated as DICOM says, by blanks or by commas."""
        parts = _parts(self.needed(name), count)
        if parts is None or (any(map(GROUPED.fullmatch, parts)) and not self._decimal_commas):
            raise self.unusable(name, "a number" if count == 1 else f"{count} numbers")
        return tuple(_number(part) for part in parts)

    def number(self, name: str) -> float:
        """The one number of an element."""
        return self.numbers(name, 1)[0]

    def whole(self, name: str) -> int:
        """The one whole number of an element."""
        number = self.number(name)
        if number != int(number):
            raise self.unusable(name, "a whole number")
        return int(number)

    def order(self, name: str) -> int:
        """A whole number that only orders or counts; 0 where none can be read."""
        try:
            return self.whole(name)
        except DataError:
            return 0

    def unusable(self, name: str, expected: str) -> DataError:
        """The error that names an element and its text, which cannot be used."""
        text = self.text(name)
        shown = repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...").replace("\\\\", "\\")
        return DataError(
            f"{self.path.name} has {name} {shown}: expected {expected}; correct it, or export the series again."
        )

    @property
    def _decimal_commas(self) -> bool:
        """Whether any number of the file shows that its commas are decimal signs: 0,7 or -1024,0 but not 1,024."""
        texts = [part for name in DECIMALS for part in self.text(name).split("\\")]
        return any("," in text and NUMBER.fullmatch(text) and not GROUPED.fullmatch(text) for text in texts)


def elements_of(dataset: Dataset, path: Path, names: Iterable[str]) -> Elements:
    """The named elements of a data set that was read from a file."""
    texts = {name: sys.intern(text_of(dataset, name)) for name in names}
    return Elements(path, {name: text for name, text in texts.items() if text})


def text_of(dataset: Dataset, name: str) -> str:
    """An element's value as it is written, "" when it is absent or empty; several values are separated by backslashes.

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
