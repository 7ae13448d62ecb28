"""Cases given as NIfTI files: an image and its readers' masks, by a folder convention or a CSV.

    ROOT/CASE/image.nii.gz, ROOT/CASE/reader_1.nii.gz, ROOT/CASE/reader_2.nii.gz, ...     (.nii too)

Several channels are a fourth axis of the image, or files of their own, image_t1.nii.gz and image_flair.nii.gz, whose names
then name the channels, in alphabetical order. A reader has the same name in all cases; where a reader's file is not there,
that reader did not read the case. Each case is a patient of its own. Class probabilities of another segmenter may lie beside
the image, as probabilities.npz or probabilities.nii.gz (see `class_probabilities`), in all cases or in none.

A CSV says the same, and whose cases they are: columns `case`, `patient` (optional), `image` (or `image_t1`, `image_flair`,
...), `mask_1`, `mask_2`, ..., `probabilities` and `split` (optional); paths are relative to the CSV, and an empty
cell is an absent reader. Cases in folders train, val and test have these splits.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...documents import shown
from ...errors import DataError, InputError
from ...lfs import check_no_pointer
from ...names import CSV, NIFTI, NPZ, has_suffix, without_suffix
from ...tables import Row, read_table
from ..packed.pack import natural
from ..split_choice import split_folders

IMAGE = "image_"  # before the name of a channel that has a file of its own
PROBABILITIES = "probabilities"  # how such a file is called, before its suffix


@dataclass(frozen=True)
class NiftiCase:
    """An image with its readers' masks, in the same order for all cases, None for an absent reader.

    `images` has one file, or one for each channel; none where a folder lacks it. `probabilities` is None unless another
    segmenter's class probabilities are given; `channels` are the channels' names, where each has a file. `split` is that
    which came with the data.
    """

    name: str
    patient: str
    images: tuple[Path, ...]
    masks: tuple[Path | None, ...]
    probabilities: Path | None = None
    channels: tuple[str, ...] = ()
    split: str = ""


def find_cases(source: Path) -> list[NiftiCase]:
    """The cases of a folder or a CSV, in their natural order.

    Raises `InputError` or `DataError` when there are none, or when some have class probabilities and others have not.
    """
    cases = _folder_cases(source) if source.is_dir() else _csv_cases(_csv(source))
    without = [case.name for case in cases if case.probabilities is None]
    if 0 < len(without) < len(cases):
        raise DataError(
            f"{len(without)} of {len(cases)} cases have no class probabilities, case {without[0]} first: expected them in "
            "all cases or in none."
        )
    return cases


def _csv(source: Path) -> Path:
    if not source.is_file():
        raise InputError(f"No such file or folder: {source}; expected a folder of cases or a CSV.")
    check_no_pointer(source)
    if not has_suffix(source, CSV):
        raise InputError(f"{source} is neither a folder of cases nor a CSV: give one of them.")
    return source


def _folder_cases(root: Path) -> list[NiftiCase]:
    splits = split_folders([root])
    tops = list(splits) or [root]
    folders = [path for top in tops for path in top.iterdir() if path.is_dir() and not path.name.startswith(".")]
    named = Counter(folder.name for folder in folders)
    found = {folder: _by_stem(folder) for folder in sorted(folders, key=lambda path: natural(path.name))}
    found = {folder: files for folder, files in found.items() if files}
    readers = sorted({stem for files in found.values() for stem in files if stem.startswith("reader")}, key=natural)
    names = _image_names(stem for files in found.values() for stem in files)
    if not names or not readers:
        raise InputError(
            f"No cases in {root}: expected CASE/image.nii.gz and CASE/reader_1.nii.gz, ... in it, or a CSV."
        )
    return [
        NiftiCase(
            folder.name if named[folder.name] == 1 else f"{folder.parent.name}-{folder.name}",
            folder.name.strip(),
            _all(files, names),
            tuple(files.get(reader) for reader in readers),
            files.get(PROBABILITIES),
            _channels(names),
            splits.get(folder.parent, "") if len(set(splits.values())) > 1 else "",
        )
        for folder, files in found.items()
    ]


def _image_names(names: Iterable[str]) -> list[str]:
    """The files or columns that hold a case's image: "image", or else all as "image_t1", one for each channel."""
    found = set(names)
    return ["image"] if "image" in found else sorted(name for name in found if name.startswith(IMAGE))


def _channels(names: Sequence[str]) -> tuple[str, ...]:
    """The channels' names in those of their files or columns."""
    return tuple(name.removeprefix(IMAGE) for name in names if name.startswith(IMAGE))


def _all(files: Mapping[str, Path | None], names: Sequence[str]) -> tuple[Path, ...]:
    """The files of all names, or none where one is missing."""
    there = tuple(file for name in names if (file := files.get(name)) is not None)
    return there if len(there) == len(names) else ()


def _by_stem(folder: Path) -> dict[str, Path]:
    """The NIfTI files of a folder by their names without suffix, and its probabilities.npz; `DataError` for two of one name."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        stem = without_suffix(file.name, (*NIFTI, NPZ))
        if not has_suffix(file, NIFTI) and not (stem == PROBABILITIES and has_suffix(file, NPZ)):
            continue
        if stem in found:
            raise DataError(f"{folder} holds both {found[stem].name} and {file.name}: leave one of them.")
        found[stem] = file
    return found


def _csv_cases(path: Path) -> list[NiftiCase]:
    table = read_table(path, "a CSV with the columns case,image,mask_1,mask_2,...").lowered()
    masks = sorted((name for name in table.columns if name.startswith("mask_")), key=natural)
    images = _image_names(table.columns)
    table.need("case", *(images or ["image"]), *(masks or ["mask_1"]))
    if not table.rows:
        raise InputError(f"{path} has no rows: expected one for each case.")
    seen: set[str] = set()
    for row in table.rows:
        if not row["case"] or row["case"] in seen:
            raise DataError(
                f"{path}, line {row.line}: case {shown(repr(row['case']))} is empty or given twice: give each case a name "
                "of its own."
            )
        seen.add(row["case"])
    return [_csv_case(path.parent, row, images, masks) for row in table.rows]


def _csv_case(folder: Path, row: Row, images: Sequence[str], masks: Sequence[str]) -> NiftiCase:
    def file(column: str) -> Path | None:
        return folder / row[column] if row.get(column) else None

    patient = (row.get("patient") or row["case"]).strip()
    image = _all({name: file(name) for name in images}, images)
    drawn = tuple(file(mask) for mask in masks)
    probabilities = file("probabilities")
    return NiftiCase(row["case"], patient, image, drawn, probabilities, _channels(images), row.get("split") or "")
