"""Splits by patient: all crops of a patient fall on the same side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..counted import counted
from ..documents import shown
from ..errors import DataError
from ..tables import read_table

SPLITS = ("train", "val", "test")
LIDC_SPLIT = (722, 144, 144)  # patients, Kohl et al. 2018, section 4.1
USUAL_SPLIT = (70, 10, 20)  # percent, for data without a published split
_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_patients(patients: Sequence[str], seed: int, sizes: tuple[int, int, int] = LIDC_SPLIT) -> dict[str, str]:
    """Assign each patient to train, val or test by a seeded shuffle, in proportion to `sizes`.

    The sizes are met exactly when they add up to the patients. Independent of the patients' order; three or more
    patients leave no split empty whose size is not 0.

    >>> sorted(split_patients(["a", "b", "c", "d"], seed=0, sizes=(2, 1, 1)).values())
    ['test', 'train', 'train', 'val']
    """
    unique = sorted(set(patients))
    order = np.random.default_rng(seed).permutation(len(unique))
    _, val, test = (round(len(unique) * size / sum(sizes)) for size in sizes)
    if len(unique) >= 3:
        val, test = (max(val, 1) if sizes[1] else 0), (max(test, 1) if sizes[2] else 0)
    train = len(unique) - val - test
    names = ["train"] * train + ["val"] * val + ["test"] * test
    return {unique[patient]: name for patient, name in zip(order, names, strict=True)}


def split_name(text: str) -> str | None:
    """The split that a name stands for, in whatever case: "Training" is train; None for any other name.

    >>> split_name("Training"), split_name("validation"), split_name("fold-1")
    ('train', 'val', None)
    """
    return _NAMES.get(text.strip().lower())


def assign_splits(
    patients: Sequence[str], seed: int, sizes: tuple[int, int, int] = LIDC_SPLIT, split_file: Path | None = None
) -> dict[str, str]:
    """Each patient's split: as `split_file` says, where one is given, else `split_patients`.

    Raises `DataError` unless the file names every patient; worth asking before long work.
    """
    if split_file is None:
        return split_patients(patients, seed, sizes)
    by_name = read_splits(split_file)
    assigned = {patient: by_name[patient.strip()] for patient in patients if patient.strip() in by_name}
    missing = set(patients) - set(assigned)
    if missing:
        raise DataError(
            f"The split file names no split for {counted(len(missing), 'patient')}, such as {shown(min(missing))}: "
            "add them to it."
        )
    return assigned


def read_splits(path: Path) -> dict[str, str]:
    """Patients' splits from a CSV with the columns `patient` and `split` (train, val or test)."""
    table = read_table(path, "a CSV with the columns patient,split").lowered()
    table.need("patient", "split")
    splits: dict[str, str] = {}
    for row in table.rows:
        patient, split = row["patient"], row["split"].lower()
        if not patient:
            raise DataError(f"{path}, line {row.line}, names no patient: expected a patient and a split in each row.")
        if split not in SPLITS:
            raise DataError(
                f"{path}, line {row.line}: split {shown(repr(row['split']))} is not one of {', '.join(SPLITS)}."
            )
        if splits.setdefault(patient, split) != split:
            raise DataError(f"{path} puts a patient into two splits (line {row.line}): give each patient one.")
    return splits


def spread_evenly(count: int, total: int) -> NDArray[np.intp]:
    """`count` of `total` numbers from 0, spread evenly; all where there are no more.

    Example:
        >>> spread_evenly(3, 10).tolist()
        [0, 3, 6]
    """
    return np.arange(total) if count >= total else np.arange(count) * total // count
