"""A pack: crops that somebody else cut, whatever files they lie in."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...archive import BROKEN_ARRAY
from ...errors import DataError
from ...names import has_suffix, is_hidden
from ...store.splits import split_name
from ...store.store_crop import Crop
from ...volumes.planes import Fit
from .crop_values import Unit

Naming = Literal["auto", "named", "anonymous"]


@dataclass(frozen=True)
class PackSettings:
    """How to read a pack.

    `patient_pattern` finds the patient in the path of an image file (its first group, or all of it); `layout` has patterns of
    image files (see `layout.layout_of`). `fit` brings images of different sizes to `size` pixels (see `fitted`).
    `channel_names` say what the channels show. `readers` says whether the data's names of readers, or numbers, are those of
    persons: "auto" takes names, and the numbers of a user's own `layout`.
    """

    class_names: tuple[str, ...] = ("background", "lesion")
    intensity: Unit = "relative"
    patient_pattern: str | None = None
    layout: tuple[str, ...] = ()
    fit: Fit | None = None
    size: int | None = None
    channel_names: tuple[str, ...] = ()
    readers: Naming = "auto"


@dataclass(frozen=True)
class Pack:
    """Already cut crops. `patients` has the patient of each, in order; `crops()` reads them one after the other.

    `name` and `source` say what they are; `notes` what the user should know; `same_readers` whether mask r of all crops of a
    lesion is one reader's. `readers` are the readers' names, "" for one without a name; `numbered` whether they are mere
    numbers, which may be given anew in each image. `splits` has the split of each crop where the data bring one, and
    `published` the splits of papers, by name.
    """

    name: str
    source: str
    patients: Sequence[str]
    crops: Callable[[], Iterator[Crop]]
    notes: Sequence[str] = ()
    attribution: str = ""
    same_readers: bool = False
    readers: Sequence[str] = ()
    numbered: bool = False
    splits: Sequence[str] = ()
    published: Mapping[str, Sequence[str]] = field(default_factory=dict)


def natural(text: str) -> list[int | str]:
    """A key that sorts slice-2 before slice-10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def named_files(folder: Path, suffix: str) -> list[Path]:
    """The files of a folder with a suffix, in whatever case, in their natural order; without the system's own."""
    found = (path for path in folder.iterdir() if has_suffix(path, suffix) and not is_hidden(path) and path.is_file())
    return sorted(found, key=lambda path: natural(path.name))


def check_values(images: NDArray[Any], where: str, settings: PackSettings) -> None:
    """Raise a `DataError` unless images are finite numbers that can have the unit of the settings."""
    if images.dtype.kind not in "iuf" or not np.isfinite(images).all():
        raise DataError(f"{where}: expected images of finite numbers, got {images.dtype}; correct the file.")
    if settings.intensity == "hu" and images.dtype == np.uint8:
        raise DataError(f"{where}: images of bytes (uint8) hold no HU; leave out the `intensity` hu.")


def name_within(path: Path) -> str:
    """A file's name without its suffix, after that of its folder where this is a split's: two splits may hold one name.

    >>> name_within(Path("mine/crops.npz")), name_within(Path("mine/train/crops.npz"))
    ('crops', 'train-crops')
    """
    return f"{path.parent.name}-{path.stem}" if split_name(path.parent.name) else path.stem


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
