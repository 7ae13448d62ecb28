"""Headers in text, of NRRD and MetaImage: fields with a name, whose values are checked as they are read."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, ResourceError

LONGEST = 1 << 16  # bytes in which a header must end
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
WHOLE = re.compile(r"[+-]?\d{1,15}")
LARGEST = 1e9  # of any number that says where voxels lie
TRUTH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


@dataclass(frozen=True)
class TextHeader:
    """The fields of the file `name`, by their names in lower case, and the byte at which its header ends.

    Every reading of a field raises `DataError` where its value is another than it must be.
    """

    name: str
    fields: Mapping[str, str]
    end: int

    def __contains__(self, field: str) -> bool:
        return field in self.fields

    def words(self, field: str, count: int | None = None) -> list[str]:
        """The words of a field's value, `count` of them."""
        found = self.fields[field].split()
        if count is not None and len(found) != count:
            raise self.wrong(field, f"{count} values")
        return found

    def numbers(self, field: str, count: int) -> NDArray[np.float64]:
        """Finite numbers [count]."""
        return self.parsed(field, self.words(field, count))

    def parsed(self, field: str, words: Collection[str]) -> NDArray[np.float64]:
        """Finite numbers, one per word of a field's value."""
        found = np.array([float(word) if NUMBER.fullmatch(word) else np.nan for word in words])
        if not (np.abs(found) <= LARGEST).all():
            raise self.wrong(field, "finite numbers")
        return found

    def wholes(self, field: str, count: int) -> list[int]:
        """Whole numbers [count]."""
        words = self.words(field, count)
        if not all(WHOLE.fullmatch(word) for word in words):
            raise self.wrong(field, "whole numbers")
        return [int(word) for word in words]

    def whole(self, field: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number from `low` to `high`; `default` where the field is absent."""
        if default is not None and field not in self:
            return default
        (found,) = self.wholes(field, 1)
        if not low <= found <= high:
            raise self.wrong(field, f"a whole number from {low} to {high}")
        return found

    def truth(self, field: str, default: bool) -> bool:
        """True or False; `default` where the field is absent."""
        if field not in self:
            return default
        found = TRUTH.get(self.fields[field].lower())
        if found is None:
            raise self.wrong(field, "True or False")
        return found

    def wrong(self, field: str, expected: str) -> DataError:
        """The error of a field whose value is not what was expected."""
        return DataError(
            f"The header of {self.name} says {field} = {shown(self.fields[field])}: expected {expected}; correct it, or "
            "export the scan again."
        )


def read_header(path: Path, field: re.Pattern[str], last: str | None = None) -> TextHeader:
    """The header at the beginning of a file: lines that match `field` (name, value), up to the field `last` or, without one,
    to an empty line; others are passed over.

    Raises `DataError` where a field is given twice.
    """
    try:
        with path.open("rb") as file:
            lines = file.read(LONGEST).splitlines(keepends=True)
    except OSError as error:
        raise ResourceError(f"{path} cannot be read ({error.strerror}): check its permissions and the disk.") from error
    fields: dict[str, str] = {}
    end = 0
    for line in lines:
        end += len(line)
        text = line.decode("latin-1").strip()
        if not text and last is None:
            break
        if not (found := field.fullmatch(text)):
            continue
        name = found[1].lower()
        if fields.get(name, found[2]) != found[2]:
            raise DataError(f"The header of {path.name} says {shown(name)} twice: leave the right one.")
        fields[name] = found[2]
        if name == last:
            break
    return TextHeader(path.name, fields, end)


def beside(path: Path, name: str) -> Path:
    """A file that a header names, beside or below it. Raises `DataError` where there is none."""
    data = path.parent / name
    if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name or not data.is_file():
        raise DataError(
            f"{path.name} names its voxels' file {shown(name)}, and that is no file beside it: put it there, or save the "
            "scan as one file."
        )
    return data


def shown(text: str) -> str:
    """A value as a message can show it."""
    printable = re.sub(r"[^ -~]", "?", text)
    return printable if len(printable) <= 60 else f"{printable[:60]}..."
