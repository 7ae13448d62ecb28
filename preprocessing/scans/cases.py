"""The scans in a folder: one, or the cases of a batch."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeAlias

from ..errors import InputError
from ..lfs import is_pointer, pointers_among
from ..names import HIDDEN, ITK, NIFTI, PAIR, PICTURE, ZIP, has_suffix, is_hidden, scan_name
from .dicom.dicom_files import FileIdentity, files_under, identify, named_as_dicom

IMAGES = (*NIFTI, *ITK, PAIR[0])
Identify: TypeAlias = Callable[[Path], FileIdentity | None]
PREDICTION = "hypotheses.json"  # a folder with this file is a result, no input


@dataclass(frozen=True)
class Case:
    """A scan of a batch: `open_scan` reads its `path`; its `name` is unique in the batch."""

    name: str
    path: Path


def find_cases(path: Path, identify: Identify = identify) -> list[Case] | None:
    """The cases of a batch folder, sorted by name; None when `path` is one scan: a file, or DICOM files of one study.

    A case is each image file and each zip directly in the folder (where there are no scans, each picture), and each DICOM
    study below each child folder, however deep, named after that child folder. Cases of one name get the endings -2, -3, ...
    in the order of their paths. Hidden files, former predictions and files of other kinds are passed over. `identify` says
    of a file which study it belongs to; a `HeaderCache` remembers it. Raises `InputError` when there is nothing, or when DICOM
    files lie loose beside other scans.
    """
    if not path.exists():
        raise InputError(f"No file or folder {path}: expected a scan or a folder of scans; check the path.")
    if not path.is_dir():
        return None
    if (path / PREDICTION).exists():
        raise InputError(
            f"{path} is a prediction ({PREDICTION} is in it), no scan: give the scan, or a folder of scans."
        )
    if not os.access(path, os.R_OK | os.X_OK):
        raise InputError(f"Not allowed to read {path}: change its permissions or copy it.")
    images = _images_in(path, (*IMAGES, ZIP))
    studies = find_studies(path, identify)
    if not images and not studies:  # beside scans they are pictures of them
        images = _images_in(path, PICTURE)
    if path in studies and images:
        raise InputError(
            f"{path} holds loose DICOM files beside other scans ({images[0].name}): put each scan's DICOM files in a "
            "folder of their own."
        )
    if path in studies or (not images and len(set(studies.values())) == 1):
        return None
    check_pulled(path, studies)
    if not images and not studies:
        raise InputError(
            f"{path} holds no scan: expected image files or zips directly in it, or folders of DICOM files; check the path."
        )
    return _named([(scan_name(each), each) for each in images] + list(_by_child(path, studies)))


def check_pulled(root: Path, studies: Mapping[Path, str]) -> None:
    """Raise an `InputError` where folders under `root` hold Git LFS pointers instead of DICOM files."""
    files = [each for each in files_under(root) if each.parent not in studies and named_as_dicom(each)]
    pointers = sum(map(is_pointer, files))
    if pointers:
        raise pointers_among(root.name, pointers, sum(1 for _ in files_under(root)))


def is_image(path: Path, suffixes: tuple[str, ...] = IMAGES) -> bool:
    """Whether a path is an image file by its name; of a pair (.hdr and .img) the header, which is refused when read."""
    return has_suffix(path, suffixes) and path.is_file() and not is_hidden(path)


def _images_in(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The image files directly in a folder, sorted."""
    with os.scandir(folder) as entries:
        names = sorted(each.name for each in entries if each.name.lower().endswith(suffixes) and each.is_file())
    return [folder / name for name in names if not name.startswith(HIDDEN)]


def find_studies(root: Path, identify: Identify = identify) -> dict[Path, str]:
    """The folders under `root` (itself too) with DICOM files directly in them, and the StudyInstanceUID of the first."""
    studies = {}
    for folder, folders, names in os.walk(root):
        if PREDICTION in names:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not is_hidden(Path(name)))
        others = (name for name in sorted(names) if not name.lower().endswith((*IMAGES, ZIP)))  # DICOM is not named so
        uids = (_study(Path(folder, name), identify) for name in others if not name.startswith(HIDDEN))
        uid = next((uid for uid in uids if uid is not None), None)
        if uid is not None:
            studies[Path(folder)] = uid
    return studies


def _study(path: Path, identify: Identify) -> str | None:
    """The StudyInstanceUID of a DICOM file that is part of a series (a DICOMDIR is not), None of any other."""
    found = identify(path) if path.is_file() else None
    return found.study if found is not None and found.series else None


def _by_child(root: Path, studies: Mapping[Path, str]) -> Iterator[tuple[str, Path]]:
    """Each study in each child folder of `root`: the child's name, and the folder that holds all files of the study."""
    folders = defaultdict(list)
    for folder, uid in studies.items():
        folders[folder.relative_to(root).parts[0], uid].append(folder)
    for (child, _), places in folders.items():
        yield child, Path(os.path.commonpath(places))


def _named(found: list[tuple[str, Path]]) -> list[Case]:
    """Cases with names that differ even where upper and lower case do not count."""
    taken: set[str] = set()
    cases = []
    for name, path in sorted(found, key=lambda each: (each[0], str(each[1]))):
        free = next(each for each in _variants(name) if each.casefold() not in taken)
        taken.add(free.casefold())
        cases.append(Case(free, path))
    return sorted(cases, key=lambda case: case.name)


def _variants(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}-{number}" for number in count(2))
