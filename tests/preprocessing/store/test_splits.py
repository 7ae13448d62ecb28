"""Splits by patient, by seed and from a file."""

from collections import Counter
from pathlib import Path

import pytest

from ambiseg.preprocessing.errors import DataError, InputError
from ambiseg.preprocessing.store.splits import read_splits, split_patients

PATIENTS = [f"p{number:04d}" for number in range(1010)]


def test_lidcs_patients_fall_as_in_the_paper() -> None:
    assert Counter(split_patients(PATIENTS, seed=0).values()) == {"train": 722, "val": 144, "test": 144}


def test_fewer_patients_keep_the_proportions_and_no_split_is_empty() -> None:
    assert Counter(split_patients(PATIENTS[:101], seed=0).values()) == {"train": 73, "val": 14, "test": 14}
    assert Counter(split_patients(PATIENTS[:3], seed=0).values()) == {"train": 1, "val": 1, "test": 1}


def test_the_seed_decides_and_the_order_does_not() -> None:
    assert split_patients(PATIENTS, 1) == split_patients(PATIENTS[::-1] + PATIENTS, 1)
    assert split_patients(PATIENTS, 1) != split_patients(PATIENTS, 2)


def test_a_split_file(tmp_path: Path) -> None:
    file = tmp_path / "splits.csv"
    file.write_text("patient,split\na,train\nb,val\na,train\n", encoding="utf-8-sig")
    assert read_splits(file) == {"a": "train", "b": "val"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("who,split\na,train\n", "expected patient,split"),
        ("patient,split\na,training\n", "'training' is not one of train, val, test"),
        ("patient,split\na,train\na,test\n", "puts a patient into two splits"),
    ],
)
def test_a_bad_split_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_splits(tmp_path / "splits.csv")
    with pytest.raises(InputError, match=r"No file .*expected a CSV with the columns patient,split"):
        read_splits(tmp_path / "none.csv")
