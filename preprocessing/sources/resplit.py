"""Another split of a dataset store by patient: one new store, or one per fold of a cross-validation.

The crops stay as they are. A new store shares their files with the old one by hard links where the disk has such, so it takes
next to no room.
"""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..counted import counted
from ..errors import DataError, InputError, UsageError
from ..files import disk_errors, sha256, whole_folder
from ..store.manifest import FILE, INDEX
from ..store.splits import USUAL_SPLIT, assign_splits, split_patients
from ..store.store import Store
from ..store.store_card import dataset_card
from ..store.store_writer import check_place
from ..tables import table_text, write_table

FOLDS = "folds.csv"


def fold_patients(patients: Sequence[str], count: int, seed: int = 0) -> dict[str, int]:
    """The fold of each patient, from 1: a seeded shuffle is dealt out, so folds differ by one patient at most.

    >>> sorted(fold_patients(["a", "b", "c", "d"], 2).values())
    [1, 1, 2, 2]
    """
    unique = sorted(set(patients))
    order = np.random.default_rng(seed).permutation(len(unique))
    return {unique[patient]: 1 + place % count for place, patient in enumerate(order)}


def fold_splits(folds: Mapping[str, int], fold: int, seed: int = 0) -> dict[str, str]:
    """The split of each patient when `fold` is the test split: of the others, drawn with the seed, an eighth are val.

    >>> sorted(fold_splits({"a": 1, "b": 1, "c": 2, "d": 2, "e": 2}, 1).values())
    ['test', 'test', 'train', 'train', 'val']
    """
    train, val, _ = USUAL_SPLIT
    others = [patient for patient, own in folds.items() if own != fold]
    held = {patient: "test" for patient, own in folds.items() if own == fold}
    return held | split_patients(others, seed, (train, val, 0))


def write_split(
    store: Store,
    output: Path,
    sizes: tuple[int, int, int] = USUAL_SPLIT,
    *,
    seed: int = 0,
    split_file: Path | None = None,
) -> Store:
    """Write a store with another split.

    Args:
        store: The store whose crops are taken.
        output: The folder of the new store.
        sizes: Shares of train, val and test.
        seed: By it patients are drawn.
        split_file: A CSV of patients and splits, used instead of shares and seed.

    Returns:
        The new store.

    Raises:
        InputError: Something other than a store stands at `output`, or it is the store itself.
        DataError: The file lacks a patient, or the store is damaged.
        ResourceError: The disk has no room.
    """
    _check(store, [output])
    splits = assign_splits(_patients(store), seed, sizes, split_file)
    text = split_file.name if split_file else "/".join(map(str, sizes))
    return _written(store, output, splits, {"split": text, "seed": seed})


def write_folds(store: Store, output: Path, count: int, *, seed: int = 0) -> list[Store]:
    """Write the stores of a cross-validation by patient: `output`/fold-1, fold-2, ... and `output`/folds.csv.

    Each patient is in the test split of one fold. Of the other patients of a fold, an eighth are in val, the rest in train.

    Args:
        store: The store whose crops are taken.
        output: The folder of the new stores.
        count: The number of folds (K), 2 or more.
        seed: By it patients are dealt out to folds, and drawn for val.

    Returns:
        The new stores, by fold.

    Raises:
        UsageError: There are fewer than two folds, or not enough patients for a train, a val and a test split in each.
        InputError: Something other than a store stands where a fold goes, or it is the store itself.
        DataError: The store is damaged.
        ResourceError: The disk has no room.
    """
    patients = _patients(store)
    if count < 2:
        raise UsageError(f"`folds` is a number of folds, 2 or more, got {count}.")
    if (held := len(set(patients))) < count or held - -(-held // count) < 3:
        raise UsageError(
            f"{count} folds of {counted(held, 'patient')} leave too few for train, val and test: give fewer `folds`, or "
            "a store with more patients."
        )
    folds = fold_patients(patients, count, seed)
    places = {fold: output / f"fold-{fold}" for fold in range(1, count + 1)}
    _check(store, places.values())
    stores = []
    for fold, place in places.items():
        about: dict[str, str | int] = {"split": f"fold {fold} of {count}", "seed": seed}
        stores.append(_written(store, place, fold_splits(folds, fold, seed), about))
    rows = [{"patient": patient, "fold": folds[patient]} for patient in sorted(folds)]
    write_table(output / FOLDS, rows, ["patient", "fold"])
    return stores


def _patients(store: Store) -> list[str]:
    return [row.patient for row in store.index]


def _check(store: Store, outputs: Iterable[Path]) -> None:
    """Raise an error, before anything is written, unless the store is whole and new stores may stand at `outputs`."""
    for output in outputs:
        check_place(output)
        if output.exists() and output.samefile(store.path):
            raise InputError(f"{output} is the store itself: choose another `output`.")
    for name in store.damaged():
        raise DataError(f"{store.path / name} is missing or damaged: make the dataset again.")


def _written(store: Store, output: Path, splits: Mapping[str, str], about: Mapping[str, str | int]) -> Store:
    """A store of the same crops, each in its patient's split."""
    rows = [{**row, "split": splits[row.patient]} for row in store.index]
    with disk_errors(output), whole_folder(output) as folder:
        for name in store.manifest.hashes:
            if name != INDEX:
                _share(store.path / name, folder / name)
        (folder / INDEX).write_text(table_text(rows, list(rows[0])), encoding="utf-8", newline="")
        settings = {**store.manifest.settings, **about}
        manifest = store.manifest.model_copy(update={"settings": settings, "index_sha256": sha256(folder / INDEX)})
        (folder / FILE).write_text(manifest.text(), encoding="utf-8")
        (folder / "README.md").write_text(dataset_card(Store.open(folder)), encoding="utf-8")
    return Store.open(output)


def _share(file: Path, place: Path) -> None:
    """One file under two names; a copy where the disk has no hard links, or the other name lies on another disk."""
    try:
        os.link(file, place)
    except OSError:
        shutil.copyfile(file, place)
