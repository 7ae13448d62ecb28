"""Which split a store of packed crops gets: a file's, the data's own, a paper's, or one drawn by patient."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...counted import counted
from ...documents import shown
from ...errors import DataError, UsageError
from ...store.splits import SPLITS, USUAL_SPLIT, assign_splits, split_name, split_patients
from .pack import Pack

OWN = "own"
Shares = tuple[int, int, int]


@dataclass(frozen=True)
class SplitChoice:
    """A split: of each patient, or of each crop in order where patients may lie on both sides; and what to say of it.

    `divided` counts the patients on both sides.
    """

    by_patient: Mapping[str, str]
    text: str
    by_crop: Sequence[str] = ()
    notes: Sequence[str] = field(default_factory=list)
    divided: int = 0


def choose_split(
    pack: Pack, split: Shares | str | None = None, seed: int = 0, split_file: Path | None = None
) -> SplitChoice:
    """The split of a pack's crops.

    Args:
        pack: The crops; its patients' names are compared without the blanks about them.
        split: Shares of train, val and test; "own", the split that the data bring; the name of a paper's split; None:
            the data's own where they bring one, else shares of 70, 10 and 20.
        seed: By it patients are drawn.
        split_file: A CSV of patients and splits, used instead.

    Raises:
        UsageError: There is no split of this name.
        DataError: The data's own split names something other than train, val and test, or the file lacks a patient.
    """
    if split_file is not None or isinstance(split, tuple) or (split is None and not pack.splits):
        return _by_patient(pack, split, seed, split_file)
    if split in (None, OWN):
        if not pack.splits:
            raise UsageError("These data bring no split of their own: give shares such as 70,10,20 with `split`.")
        return _kept(pack, [_checked(name) for name in pack.splits], "The data's own split is kept", OWN, seed)
    if split not in pack.published:
        known = [*[OWN] * bool(pack.splits), *pack.published, "shares of train, val and test such as 70,10,20"]
        raise UsageError(f"No `split` {shown(repr(split))} of these data: expected {' or '.join(known)}.")
    return _kept(pack, pack.published[str(split)], f"The split of {split} is used", str(split), seed)


def _by_patient(pack: Pack, split: Shares | str | None, seed: int, split_file: Path | None) -> SplitChoice:
    sizes = split if isinstance(split, tuple) else USUAL_SPLIT
    shares = ",".join(map(str, sizes))
    by_patient = assign_splits(pack.patients, seed, sizes, split_file)
    text = split_file.name if split_file else shares.replace(",", "/")
    instead = f"the file {split_file.name}" if split_file else f"`split` {shares} by patient, seed {seed},"
    note = f"The data bring a split of their own, {_shares(pack.splits)}: {instead} overrides it."
    return SplitChoice(by_patient, text, notes=[note] * bool(pack.splits))


def _checked(name: str) -> str:
    found = split_name(name)
    if found is None:
        raise DataError(
            f"The data's own split names {shown(repr(name))}: expected {', '.join(SPLITS)} for every image; correct it, or "
            "give shares such as 70,10,20 with `split`."
        )
    return found


def _kept(pack: Pack, splits: Sequence[str], said: str, text: str, seed: int) -> SplitChoice:
    """A split that came with the crops; without any val, some patients of train go there, since training needs it."""
    notes = [f"{said}: {_shares(splits)}."]
    sides: dict[str, set[str]] = {}
    for patient, split in zip(pack.patients, splits, strict=True):
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
        splits = ["val" if who in moved else split for who, split in zip(pack.patients, splits, strict=True)]
    return SplitChoice({}, text, splits, notes, both)


def _moved_to_val(sides: Mapping[str, set[str]], seed: int) -> set[str]:
    """An eighth of the patients who are in train alone, in the proportion of the usual split."""
    alone = [patient for patient, found in sides.items() if found == {"train"}]
    train, val, _ = USUAL_SPLIT
    drawn = split_patients(alone, seed, (train, val, 0)) if alone else {}
    return {patient for patient, split in drawn.items() if split == "val"}


def _shares(splits: Sequence[str]) -> str:
    """Crops by split: "train 20, val 10, test 10 crops"."""
    held = Counter(split_name(name) or name for name in splits)
    order = [name for name in SPLITS if held[name]] + sorted(set(held) - set(SPLITS))[:3]
    return ", ".join(f"{name} {held[name]:,}" for name in order) + " crops"
