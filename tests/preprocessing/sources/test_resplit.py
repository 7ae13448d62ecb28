"""Another split of a store: the same crops, each patient on one side, and each in the test split of one fold."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
from ambiseg.preprocessing.sources.resplit import FOLDS, fold_patients, fold_splits, write_folds, write_split
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.tables import read_table

patients = st.lists(st.text(min_size=1, max_size=4), min_size=6, max_size=60, unique=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_known_truth(tmp_path_factory.mktemp("made") / "store", crops=80, size=8)


def splits_of(store: Store) -> dict[str, str]:
    return {row.patient: row.split for row in store.index}


@given(patients, st.integers(2, 10), st.integers(0, 3))
def test_each_patient_is_tested_in_one_fold(names: Sequence[str], count: int, seed: int) -> None:
    folds = fold_patients([*names, *names[:3]], count, seed)
    assert set(folds) == set(names)
    assert folds == fold_patients(sorted(names, reverse=True), count, seed), "the order of the patients means nothing"
    sizes = Counter(folds.values())
    assert max(sizes.values()) - min(sizes[fold] for fold in range(1, count + 1)) <= 1
    tested = Counter[str]()
    for fold in range(1, count + 1):
        splits = fold_splits(folds, fold, seed)
        assert set(splits) == set(names)
        assert {"train", "val"} <= set(splits.values())
        tested.update(name for name, split in splits.items() if split == "test")
    assert tested == Counter(names)


def test_folds_hold_the_same_crops_with_other_splits(store: Store, tmp_path: Path) -> None:
    folds = write_folds(store, tmp_path, 3, seed=1)
    assert [fold.path.name for fold in folds] == ["fold-1", "fold-2", "fold-3"]
    assert len({fold.content_hash for fold in (store, *folds)}) == 4
    rows = np.arange(len(store))
    for fold in folds:
        assert not list(fold.damaged())
        assert (fold.images(rows) == store.images(rows)).all()
        assert (fold.masks(rows) == store.masks(rows)).all()
        assert [{**row, "split": ""} for row in fold.index] == [{**row, "split": ""} for row in store.index]
        assert fold.manifest.settings["split"] == f"fold {fold.path.name[-1]} of 3"
        assert f"split = fold {fold.path.name[-1]} of 3" in (fold.path / "README.md").read_text()
    table = read_table(tmp_path / FOLDS, "one row per patient")
    told = {row["patient"]: int(row["fold"]) for row in table.rows}
    for number, fold in enumerate(folds, 1):
        assert {who for who, split in splits_of(fold).items() if split == "test"} == {
            who for who, own in told.items() if own == number
        }


def test_files_are_shared_where_the_disk_can_and_copied_elsewhere(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked = write_split(store, tmp_path / "linked")
    assert (linked.path / "images_000.npy").samefile(store.path / "images_000.npy")

    def refuse(*given: object) -> None:
        raise OSError("no links on this disk")

    monkeypatch.setattr(os, "link", refuse)
    copied = write_split(store, tmp_path / "copied")
    assert not (copied.path / "images_000.npy").samefile(store.path / "images_000.npy")
    assert copied.content_hash == linked.content_hash


def test_a_split_is_drawn_or_given(store: Store, tmp_path: Path) -> None:
    drawn = write_split(store, tmp_path / "drawn", (50, 25, 25), seed=3)
    assert Counter(splits_of(drawn).values()) == {"train": 10, "val": 5, "test": 5}
    assert splits_of(write_split(store, tmp_path / "drawn", (50, 25, 25), seed=4)) != splits_of(drawn)
    asked = {patient: ("test", "val", "train")[place % 3] for place, patient in enumerate(splits_of(store))}
    file = tmp_path / "mine.csv"
    file.write_text("patient,split\n" + "".join(f"{who},{split}\n" for who, split in asked.items()))
    given_ = write_split(store, tmp_path / "given", split_file=file)
    assert splits_of(given_) == asked
    assert given_.manifest.settings["split"] == "mine.csv"


def test_a_store_keeps_what_else_it_holds(tmp_path: Path) -> None:
    store = write_known_truth(tmp_path / "store", crops=12, size=16)
    again = write_split(store, tmp_path / "again")
    held, kept = (one.manifest.model_dump(exclude={"settings", "index_sha256"}) for one in (store, again))
    assert held == kept


@pytest.mark.parametrize("count", [10, 20, 21])
def test_too_many_folds_are_refused(tmp_path: Path, count: int) -> None:
    few = write_known_truth(tmp_path / "few", crops=80, size=8)
    if count <= len(set(splits_of(few))):
        assert len(write_folds(few, tmp_path / "folds", count)) == count
    else:
        with pytest.raises(UsageError, match=f"{count} folds of 20 patients leave too few for train, val and test"):
            write_folds(few, tmp_path / "folds", count)
        assert not (tmp_path / "folds").exists()


def test_what_cannot_be_split_is_refused_and_stays(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is the store itself: choose another `output`"):
        write_split(store, store.path)
    with pytest.raises(UsageError, match=r"a number of folds, 2 or more, got 1"):
        write_folds(store, tmp_path, 1)
    damaged = write_known_truth(tmp_path / "damaged", crops=12, size=16)
    (damaged.path / "masks_000.npy").unlink()
    with pytest.raises(DataError, match=r"masks_000.npy is missing or damaged: make the dataset again"):
        write_split(damaged, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_place_that_is_taken_leaves_no_fold(store: Store, tmp_path: Path) -> None:
    taken = tmp_path / "fold-3" / "mine.txt"
    taken.parent.mkdir()
    taken.write_text("mine")
    with pytest.raises(InputError, match=r"fold-3 exists and is no dataset store"):
        write_folds(store, tmp_path, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["fold-3"]
