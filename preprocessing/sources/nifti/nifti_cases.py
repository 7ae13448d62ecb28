"""Cases given as NIfTI files: an image and its readers' masks, by a folder convention or a CSV.

    ROOT/CASE/image.nii.gz, ROOT/CASE/reader_1.nii.gz, ROOT/CASE/reader_2.nii.gz, ...     (.nii too)

Several channels are a fourth axis of the image, or files of their own, image_t1.nii.gz and image_flair.nii.gz, whose names
then name the channels, in alphabetical order. A reader has the same name in all cases; where a reader's file is not there,
that reader did not read the case. Each case is a patient of its own. Class probabilities of another segmenter may lie beside
the image, as probabilities.npz or probabilities.nii.gz (see `class_probabilities`), in all cases or in none.

A CSV says the same, and whose cases they are: columns `case`, `patient` (optional), `image` (or `image_t1`, `image_flair`,
...), `mask_1`, `mask_2`, ..., `probabilities` and `split` (optional); paths are relative to the CSV, and an empty
cell is an absent reader. Cases in folders train, val and test have these splits.

Readers' names follow reader_ or mask_, as in reader_anna.nii.gz and in the column `mask_anna`. Where readers differ from case
to case, columns `reader_1`, `reader_2`, ... say who drew `mask_1`, `mask_2`, ...; or a case has one row for each mask, in the
columns `mask` and `reader`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...documents import shown
from ...errors import DataError, InputError
from ...lfs import check_no_pointer
from ...names import CSV, NIFTI, NPZ, has_suffix, without_suffix
from ...tables import Row, Table, read_table
from ..packed.pack import Naming, natural
from ..packed.seats import names_of, places_of, seats_for
from ..split_choice import split_folders

IMAGE = "image_"  # before the name of a channel that has a file of its own
PROBABILITIES = "probabilities"  # how such a file is called, before its suffix


@dataclass(frozen=True)
class NiftiCase:
    """An image with its readers' masks, in the same order for all cases, None for an absent reader.

    `readers` are the readers' names, "" for one without a name.

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
    readers: tuple[str, ...] = ()


def find_cases(source: Path, readers: Naming = "auto") -> list[NiftiCase]:
    """The cases of a folder or a CSV, in their natural order; with `readers` "anonymous", without the readers' names.

    Raises `InputError` or `DataError` when there are none, or when some have class probabilities and others have not.
    """
    cases = _folder_cases(source) if source.is_dir() else _csv_cases(_csv(source))
    without = [case.name for case in cases if case.probabilities is None]
    if 0 < len(without) < len(cases):
        raise DataError(
            f"{len(without)} of {len(cases)} cases have no class probabilities, case {without[0]} first: expected them in "
            "all cases or in none."
        )
    return [replace(case, readers=()) for case in cases] if readers == "anonymous" else cases


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
            names_of(readers, "reader"),
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
    if {"mask", "reader"} <= set(table.columns):
        return _by_mask(table, path)
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
    cases = [_csv_case(path.parent, row, images, masks) for row in table.rows]
    given = [name.replace("mask_", "reader_", 1) for name in masks]
    if not set(given) & set(table.columns):
        return [replace(case, readers=names_of(masks, "mask")) for case in cases]
    names = [[row.get(name, "").strip() for name in given] for row in table.rows]
    return _seated(cases, names)


def _by_mask(table: Table, path: Path) -> list[NiftiCase]:
    """The cases of a table with one row for each mask."""
    images = _image_names(table.columns)
    table.need("case", *(images or ["image"]))
    if not table.rows:
        raise InputError(f"{path} has no rows: expected one for each mask.")
    several: dict[str, list[Row]] = {}
    for row in table.rows:
        several.setdefault(row["case"], []).append(row)
    for rows in several.values():
        _check_one_case(table, rows, images)
    cases = [
        replace(
            _csv_case(path.parent, rows[0], images, []),
            masks=tuple(path.parent / row["mask"] if row["mask"] else None for row in rows),
        )
        for rows in several.values()
    ]
    return _seated(cases, [[row["reader"].strip() for row in rows] for rows in several.values()])


def _check_one_case(table: Table, rows: Sequence[Row], images: Sequence[str]) -> None:
    """Raise a DataError unless the rows of a case have a name and differ in nothing but masks and readers."""
    for row in rows:
        if not row["case"]:
            raise DataError(f"{table.where(row, 'case')} is empty: give each case a name.")
        for column in ("patient", "split", "probabilities", *images):
            if row.get(column, "") != rows[0].get(column, ""):
                raise DataError(
                    f"{table.where(row, column)}: case {shown(repr(row['case']))} has {shown(repr(row[column]))} here and "
                    f"{shown(repr(rows[0][column]))} before: give all rows of a case the same."
                )


def _seated(cases: Sequence[NiftiCase], names: Sequence[Sequence[str]]) -> list[NiftiCase]:
    """Cases whose masks are put on the seats of their readers, whose names are given mask by mask."""
    here = [
        [None if mask is None else name for name, mask in zip(readers, case.masks, strict=True)]
        for readers, case in zip(names, cases, strict=True)
    ]
    seats = seats_for((f"Case {case.name}", readers) for case, readers in zip(cases, here, strict=True))
    found = []
    for case, readers in zip(cases, here, strict=True):
        masks: list[Path | None] = [None] * len(seats)
        for mask, place in zip(case.masks, places_of(readers, seats), strict=True):
            if place is not None:
                masks[place] = mask
        found.append(replace(case, masks=tuple(masks), readers=seats))
    return found


def _csv_case(folder: Path, row: Row, images: Sequence[str], masks: Sequence[str]) -> NiftiCase:
    def file(column: str) -> Path | None:
        return folder / row[column] if row.get(column) else None

    patient = (row.get("patient") or row["case"]).strip()
    image = _all({name: file(name) for name in images}, images)
    drawn = tuple(file(mask) for mask in masks)
    probabilities = file("probabilities")
    return NiftiCase(row["case"], patient, image, drawn, probabilities, _channels(images), row.get("split") or "")
