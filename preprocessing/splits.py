"""Splits by patient: all crops of a patient fall on the same side."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .counted import counted
from .errors import DataError, InputError

SPLITS = ("train", "val", "test")
LIDC_SPLIT = (722, 144, 144)  # patients, Kohl et al. 2018, section 4.1
USUAL_SPLIT = (70, 10, 20)  # percent, for data without a published split


def split_patients(patients: Sequence[str], seed: int, sizes: tuple[int, int, int] = LIDC_SPLIT) -> dict[str, str]:
    """Assign each patient to train, val or test by a seeded shuffle, in proportion to `sizes`.

    The sizes are met exactly when they add up to the patients. Independent of the patients' order; three or more
    patients leave no split empty.
    """
    unique = sorted(set(patients))
    order = np.random.default_rng(seed).permutation(len(unique))
    _, val, test = (round(len(unique) * size / sum(sizes)) for size in sizes)
    if len(unique) >= 3:
        val, test = max(val, 1), max(test, 1)
    train = len(unique) - val - test
    names = ["train"] * train + ["val"] * val + ["test"] * test
    return {unique[patient]: name for patient, name in zip(order, names, strict=True)}


def assign_splits(
    patients: Sequence[str], seed: int, sizes: tuple[int, int, int] = LIDC_SPLIT, split_file: Path | None = None
) -> dict[str, str]:
    """Each patient's split: as `split_file` says, where one is given, else `split_patients`.

    Raises `DataError` unless the file names every patient; worth asking before long work.
    """
    if split_file is None:
        return split_patients(patients, seed, sizes)
    assigned = read_splits(split_file)
    missing = set(patients) - set(assigned)
    if missing:
        raise DataError(
            f"The split file names no split for {counted(len(missing), 'patient')}, such as {min(missing)}: add them to it."
        )
    return assigned


def read_splits(path: Path) -> dict[str, str]:
    """Patients' splits from a CSV with the columns `patient` and `split` (train, val or test)."""
    if not path.is_file():
        raise InputError(f"No split file {path}: expected a CSV with the columns patient,split.")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not {"patient", "split"} <= set(reader.fieldnames or ()):
            raise DataError(f"{path} has the columns {', '.join(reader.fieldnames or ())}: expected patient,split.")
        splits: dict[str, str] = {}
        for row in reader:
            if row["split"] not in SPLITS:
                raise DataError(f"{path}: split {row['split']!r} is not one of {', '.join(SPLITS)}.")
            if splits.setdefault(row["patient"], row["split"]) != row["split"]:
                raise DataError(
                    f"{path} puts a patient into two splits (line {reader.line_num}): give each patient one."
                )
    return splits
