"""Which split a store gets: a file's, the data's own, a paper's, or one drawn by patient."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..counted import counted
from ..documents import shown
from ..errors import DataError, UsageError
from ..names import is_hidden
from ..store.splits import SPLITS, USUAL_SPLIT, assign_splits, split_name, split_patients

OWN = "own"
Shares = tuple[int, int, int]


@dataclass(frozen=True)
class Brought:
    """What data bring: the patient of each crop or case, its split where there is one, and papers' splits by name.

    `what` says what is counted.
    """

    patients: Sequence[str]
    splits: Sequence[str] = ()
    published: Mapping[str, Sequence[str]] = field(default_factory=dict)
    what: str = "crops"


@dataclass(frozen=True)
class SplitChoice:
    """A split: of each patient, or of each crop (or case) in order where patients may lie on both sides; and what to say of it.

    `divided` counts the patients on both sides.
    """

    by_patient: Mapping[str, str]
    text: str
    by_crop: Sequence[str] = ()
    notes: Sequence[str] = field(default_factory=list)
    divided: int = 0


def choose_split(
    data: Brought, split: Shares | str | None = None, seed: int = 0, split_file: Path | None = None
) -> SplitChoice:
    """The split of crops.

    Args:
        data: What the data bring.
        split: Shares of train, val and test; "own", the split that the data bring; the name of a paper's split; None:
            the data's own where they bring one, else shares of 70, 10 and 20.
        seed: By it patients are drawn.
        split_file: A CSV of patients and splits, used instead.

    Raises:
        UsageError: There is no split of this name.
        DataError: The data's own split names something other than train, val and test, or the file lacks a patient.
    """
    if split_file is not None or isinstance(split, tuple) or (split is None and not data.splits):
        return _by_patient(data, split, seed, split_file)
    if split in (None, OWN):
        if not data.splits:
            raise UsageError("These data bring no split of their own: give shares such as 70,10,20 with `split`.")
        return _kept(data, [_checked(name) for name in data.splits], "The data's own split is kept", OWN, seed)
    if split not in data.published:
        known = [*[OWN] * bool(data.splits), *data.published, "shares of train, val and test such as 70,10,20"]
        raise UsageError(f"No `split` {shown(repr(split))} of these data: expected {' or '.join(known)}.")
    return _kept(data, data.published[str(split)], f"The split of {split} is used", str(split), seed)


def _by_patient(data: Brought, split: Shares | str | None, seed: int, split_file: Path | None) -> SplitChoice:
    sizes = split if isinstance(split, tuple) else USUAL_SPLIT
    shares = ",".join(map(str, sizes))
    by_patient = assign_splits(data.patients, seed, sizes, split_file)
    text = split_file.name if split_file else shares.replace(",", "/")
    instead = f"the file {split_file.name}" if split_file else f"`split` {shares} by patient, seed {seed},"
    note = f"The data bring a split of their own, {_shares(data.splits, data.what)}: {instead} overrides it."
    return SplitChoice(by_patient, text, notes=[note] * bool(data.splits))


def _checked(name: str) -> str:
    found = split_name(name)
    if found is None:
        raise DataError(
            f"The data's own split names {shown(repr(name))}: expected {', '.join(SPLITS)} for every image; correct it, or "
            "give shares such as 70,10,20 with `split`."
        )
    return found


def _kept(data: Brought, splits: Sequence[str], said: str, text: str, seed: int) -> SplitChoice:
    """A split that came with the crops; without any val, some patients of train go there, since training needs it."""
    notes = [f"{said}: {_shares(splits, data.what)}."]
    sides: dict[str, set[str]] = {}
    for patient, split in zip(data.patients, splits, strict=True):
        sides.setdefault(patient, set()).add(split)
    both = sum(len(each) > 1 for each in sides.values())
    if both:
        notes.append(
            f"Warning: {both:,} of {counted(len(sides), 'patient')} lie on both sides of this split, so that figures on test "
            "come out too good; `split` 70,10,20 splits by patient."
        )
    if "val" not in splits:
        moved = _moved_to_val(sides, seed)
        notes.append(
            f"This split has no val: {counted(len(moved), 'patient')} of train, drawn with seed {seed}, go there."
        )
        splits = ["val" if who in moved else split for who, split in zip(data.patients, splits, strict=True)]
    return SplitChoice({}, text, splits, notes, both)


def _moved_to_val(sides: Mapping[str, set[str]], seed: int) -> set[str]:
    """An eighth of the patients who are in train alone, in the proportion of the usual split."""
    alone = [patient for patient, found in sides.items() if found == {"train"}]
    train, val, _ = USUAL_SPLIT
    drawn = split_patients(alone, seed, (train, val, 0)) if alone else {}
    return {patient for patient, split in drawn.items() if split == "val"}


def _shares(splits: Sequence[str], what: str) -> str:
    """Crops by split: "train 20, val 10, test 10 crops"."""
    held = Counter(split_name(name) or name for name in splits)
    order = [name for name in SPLITS if held[name]] + sorted(set(held) - set(SPLITS))[:3]
    return ", ".join(f"{name} {held[name]:,}" for name in order) + f" {what}"


def split_folders(inputs: Sequence[Path]) -> dict[Path, str]:
    """The inputs, or the folders in them, whose names all say which split they are; none when any of them does not.

    >>> split_folders([Path("a_train.npz"), Path("a_test.npz")])
    {PosixPath('a_train.npz'): 'train', PosixPath('a_test.npz'): 'test'}
    """
    if len(inputs) > 1:
        named = {path: _split_of(path) for path in inputs}
        if len(set(named.values())) > 1 and None not in named.values():
            return {path: split for path, split in named.items() if split}
    within = [path for top in inputs if top.is_dir() for path in sorted(top.iterdir()) if _is_folder(path)]
    found = {path: _split_of(path) for path in within}
    return {path: split for path, split in found.items() if split} if None not in found.values() else {}


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not is_hidden(path)


def _split_of(path: Path) -> str | None:
    """The split that the last word of a file's or folder's name says."""
    name = path.name if path.is_dir() else path.name.split(".")[0]
    return split_name(re.split(r"[-_ .]", name)[-1])
