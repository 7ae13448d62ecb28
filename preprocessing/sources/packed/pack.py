"""A pack: crops that somebody else cut, whatever files they lie in."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...archive import BROKEN_ARRAY
from ...errors import DataError
from ...names import has_suffix, is_hidden
from ...store.store_crop import Crop
from .crop_values import Unit


@dataclass(frozen=True)
class PackSettings:
    """How to read a pack: `patient_pattern` finds the patient in the path of a PNG file (its first group, or all of it)."""

    class_names: tuple[str, ...] = ("background", "lesion")
    intensity: Unit = "relative"
    patient_pattern: str | None = None


@dataclass(frozen=True)
class Pack:
    """Already cut crops. `patients` has the patient of each, in order; `crops()` reads them one after the other.

    `name` and `source` say what they are; `notes` what the user should know; `same_readers` whether mask r of all crops of a
    lesion is one reader's.
    """

    name: str
    source: str
    patients: Sequence[str]
    crops: Callable[[], Iterator[Crop]]
    notes: Sequence[str] = ()
    attribution: str = ""
    same_readers: bool = False


def natural(text: str) -> list[int | str]:
    """A key that sorts slice-2 before slice-10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def named_files(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder with a suffix, in whatever case, in their natural order; without the system's own."""
    found = (path for path in folder.iterdir() if has_suffix(path, suffix) and not is_hidden(path) and path.is_file())
    return sorted(found, key=lambda path: natural(path.name))


@contextmanager
def load_npz(path: Path) -> Iterator[Any]:
    """An open npz file, for the block; raises `DataError` when it is none."""
    with path.open("rb") as file:
        try:
            opened = np.load(file, allow_pickle=False)
        except BROKEN_ARRAY as error:
            raise broken_npz(path) from error
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise broken_npz(path)
        yield opened


def broken_npz(path: Path) -> DataError:
    """The error that says that a file is no npz, or a damaged one."""
    return DataError(f"{path} is not a whole npz file of plain arrays (damaged, or another format): get it again.")
