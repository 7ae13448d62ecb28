"""Crops in the files that others share: Knegt's pickle, PHiSeg's and CCDM's HDF5; what they hold and what is refused."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.lidc.annotations import patients_by_series
from ambiseg.preprocessing.sources.packed.kinds import open_pack
from ambiseg.preprocessing.sources.packed.lidc_identity import PUBLISHED, published_note, python2_hash
from ambiseg.preprocessing.sources.packed.pack import PackSettings
from ambiseg.preprocessing.sources.packed.packed_store import write_packed
from ambiseg.preprocessing.store.store import Store

SIZE, READERS = 16, 4
KNOWN = patients_by_series()
TWICE = sorted(patient for patient in set(KNOWN.values()) if list(KNOWN.values()).count(patient) == 2)
SERIES = [uid for patient in [*TWICE[:2], "LIDC-IDRI-0001"] for uid, owner in sorted(KNOWN.items()) if owner == patient]


def crop(number: int, series: str) -> dict[str, Any]:
    rng = np.random.default_rng(number)
    masks = [(rng.random((SIZE, SIZE)) < 0.3).astype(np.float64) for _ in range(READERS)]
    return {"image": rng.random((SIZE, SIZE)), "masks": masks, "series_uid": series}


def knegt(path: Path, series: list[str] = SERIES) -> dict[str, Any]:
    crops = {f"{uid}_{number}": crop(number, uid) for number, uid in enumerate(series)}
    path.write_bytes(pickle.dumps(crops, 2))
    return crops


def imported(source: Path, out: Path, **options: Any) -> tuple[Store, str]:
    settings = PackSettings()
    report = write_packed(open_pack([source], settings), out, settings, **options)
    return Store.open(report.store), "\n".join([*report.notes, *report.warnings])


def test_a_pickle_gives_its_crops_and_their_patients(tmp_path: Path) -> None:
    crops = knegt(tmp_path / "whatever.bin")
    store, notes = imported(tmp_path / "whatever.bin", tmp_path / "out")
    rows = np.arange(len(crops))
    np.testing.assert_array_equal(store.images(rows)[:, 0], np.float32([each["image"] for each in crops.values()]))
    np.testing.assert_array_equal(store.masks(rows), np.uint8([each["masks"] for each in crops.values()]))
    assert store.column("patient").tolist() == [KNOWN[uid] for uid in SERIES]
    assert len({row.split for row in store.index if row.patient == TWICE[0]}) == 1
    assert "5 crops of 3 patients of LIDC-IDRI; the published set has 15,096" in notes
    assert "CC BY 3.0" in store.manifest.attribution
    assert store.index[0]["series_uid"] == SERIES[0]


def test_the_published_number_of_crops_is_known() -> None:
    patients = [f"LIDC-IDRI-{number % 875:04d}" for number in range(PUBLISHED)]
    assert (
        published_note(patients, "a")
        == "a: 15,096 crops of 875 patients of LIDC-IDRI, as many as the published set has."
    )
    assert "15,095 crops of 875 patients of LIDC-IDRI; the published set has 15,096" in published_note(
        patients[1:], "a"
    )


def test_mose_splits_series_and_the_note_counts_the_patients_on_both_sides(tmp_path: Path) -> None:
    knegt(tmp_path / "a.pickle", [uid for uid, patient in sorted(KNOWN.items()) if patient in TWICE])
    store, notes = imported(tmp_path / "a.pickle", tmp_path / "out", split="mose")
    sides = {patient: {row.split for row in store.index if row.patient == patient} for patient in TWICE}
    both = sum(len(each) > 1 for each in sides.values())
    assert both > 0
    assert f"{both} of 8 patients lie on both sides" in notes
    assert store.manifest.settings["split"] == "mose"
    with pytest.raises(UsageError, match="bring no split of their own"):
        imported(tmp_path / "a.pickle", tmp_path / "b", split="own")
    with pytest.raises(UsageError, match="No `split` 'paper' of these data: expected mose or shares of train"):
        imported(tmp_path / "a.pickle", tmp_path / "b", split="paper")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"weights": np.zeros(3)}, "a PickledArray under 'weights'"),
        ([1, 2], "a int under '0'"),
        ({"a": {"image": np.zeros((2, 2)), "label": 1}}, "the keys image, label under 'a'"),
        ({}, "an empty dict"),
        ("text", "a str"),
    ],
)
def test_a_sound_pickle_of_another_kind_is_not_called_damaged(value: object, found: str, tmp_path: Path) -> None:
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(value, 4))
    with pytest.raises(InputError, match=r"is a sound pickle of another kind|is of no kind") as refused:
        open_pack([tmp_path / "a.pickle"], PackSettings())
    assert "damaged" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pickle.gz", b"\x1f\x8b\x08\0\0\0", "is packed by gzip: unpack it"),
        ("a.npz", b"\x93NUMPY\x01\0", "is a single array: expected images and masks in one npz"),
        ("a.mat", b"MATLAB 5.0 MAT-file", "is of no kind that is known here"),
        ("a.pkl", b"", "is empty"),
    ],
)
def test_files_of_other_kinds_are_not_called_damaged(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as refused:
        open_pack([tmp_path / name], PackSettings())
    assert "damaged" not in str(refused.value)


def test_npz_of_objects_are_sound_and_refused(tmp_path: Path) -> None:
    arrays = {"images": np.zeros((2, 4, 4), np.uint8), "masks": np.zeros((2, 1, 4, 4), bool)}
    np.savez(tmp_path / "a.npz", patient=np.array([{}, {}], object), **arrays)
    with pytest.raises(InputError, match="patient holds Python objects, which are not read") as refused:
        open_pack([tmp_path / "a.npz"], PackSettings())
    assert "damaged" not in str(refused.value)


def test_what_does_not_fit_in_a_pickle_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.pickle").write_bytes(pickle.dumps({"k": {"image": np.zeros((4, 4)), "masks": np.zeros((2, 5, 4))}}))
    with pytest.raises(DataError, match=r"k in .*a\.pickle: image \[4, 4\] and masks \[2, 5, 4\] do not fit"):
        imported(tmp_path / "a.pickle", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def hdf5(path: Path, groups: dict[str, list[Any]], readers_first: bool = False, **changed: Any) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for number, (split, series) in enumerate(groups.items()):
            rng = np.random.default_rng(number)
            labels = rng.integers(0, 2, (len(series), SIZE, SIZE, READERS), np.uint8)
            arrays = {
                "images": rng.random((len(series), SIZE, SIZE)) - 0.5,
                "labels": labels.transpose(0, 3, 1, 2) if readers_first else labels,
                "uids": np.array(series, object if isinstance(series[0], str) else None),
            }
            for name, array in {**arrays, **changed}.items():
                file[f"{split}/{name}"] = array


@pytest.mark.parametrize("readers_first", [False, True])
def test_hdf5_keeps_its_split_and_finds_patients_by_python_2s_hash(readers_first: bool, tmp_path: Path) -> None:
    hashes = [python2_hash(uid) for uid in SERIES]
    hdf5(tmp_path / "a.hdf5", {"train": hashes[:2], "val": hashes[2:4], "test": hashes[4:]}, readers_first)
    store, notes = imported(tmp_path / "a.hdf5", tmp_path / "out")
    assert [row.split for row in store.index] == ["train"] * 2 + ["val"] * 2 + ["test"]
    assert store.column("patient").tolist() == [KNOWN[uid] for uid in SERIES]
    first = np.random.default_rng(0)
    labels = first.integers(0, 2, (2, SIZE, SIZE, READERS), np.uint8)
    np.testing.assert_array_equal(store.masks(np.arange(2)), labels.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(store.images(np.arange(2))[:, 0], np.float32(first.random((2, SIZE, SIZE)) - 0.5))
    assert "own split is kept: train 2, val 2, test 1 crops" in notes
    assert "both sides" not in notes


def test_patients_on_both_sides_of_hdf5s_split_are_counted(tmp_path: Path) -> None:
    hdf5(tmp_path / "a.hdf5", {"train": [1, 2, 3], "val": [4, 3], "test": [1, 5]})
    kept, notes = imported(tmp_path / "a.hdf5", tmp_path / "out")
    assert "2 of 5 patients lie on both sides" in notes
    assert "patients on both sides of the split: 2" in (tmp_path / "out" / "README.md").read_text()
    assert [row.split for row in kept.index] == ["train"] * 3 + ["val"] * 2 + ["test"] * 2
    by_patient, notes = imported(tmp_path / "a.hdf5", tmp_path / "b", split=(2, 1, 1))
    assert "train 3, val 2, test 2 crops: `split` 2,1,1 by patient, seed 0, overrides it" in notes
    assert len({(row.patient, row.split) for row in by_patient.index}) == 5


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": np.zeros((2, 3, 3, 4))}, "do not fit"),
        ({"uids": np.arange(3)}, r"train/uids \[3\] does not fit"),
        ({"images": np.zeros((2, SIZE, SIZE), complex)}, "holds complex128 values"),
        ({"images": np.full((2, SIZE, SIZE), np.nan)}, "finite numbers"),
    ],
)
def test_hdf5_that_does_not_fit_is_named(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    hdf5(tmp_path / "a.h5", {"train": [1, 2]}, **changed)
    with pytest.raises(DataError, match=message):
        imported(tmp_path / "a.h5", tmp_path / "out")


def test_hdf5_with_series_as_texts(tmp_path: Path) -> None:
    hdf5(tmp_path / "a.h5", {"train": SERIES[:2], "val": SERIES[2:3], "test": SERIES[3:]})
    store, _ = imported(tmp_path / "a.h5", tmp_path / "out")
    assert store.column("patient").tolist() == [KNOWN[uid] for uid in SERIES]
    assert store.index[0]["series_uid"] == SERIES[0]


def test_hdf5_without_the_fields_is_sound_and_unknown(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = np.zeros(3)
    with pytest.raises(InputError, match="sound HDF5 of another kind, with raw"):
        open_pack([tmp_path / "a.h5"], PackSettings())
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["train/images"] = np.zeros((3, 4, 4))
    with pytest.raises(InputError, match="has no labels in its group train"):
        open_pack([tmp_path / "b.h5"], PackSettings())


def test_hdf5_that_leads_elsewhere_or_claims_too_much_is_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    hdf5(tmp_path / "other.h5", {"train": [1, 2]})
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["train"] = h5py.ExternalLink("other.h5", "/train")
    with pytest.raises(DataError, match="train leads to another file"):
        open_pack([tmp_path / "link.h5"], PackSettings())
    with h5py.File(tmp_path / "soft.h5", "w") as file:
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/")
        file["train"] = h5py.SoftLink("/elsewhere/train")
    with pytest.raises(DataError, match="train leads to another file"):
        open_pack([tmp_path / "soft.h5"], PackSettings())
    hdf5(tmp_path / "long.h5", {"train": ["1.2", "3" * 300]})
    with pytest.raises(DataError, match="train/uids holds a text of over 256 characters"):
        open_pack([tmp_path / "long.h5"], PackSettings())
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("train/images", (10**6, 128, 128), "f8", chunks=(1, 128, 128))
        file.create_dataset("train/labels", (10**6, 128, 128, 4), "u1", chunks=(1, 128, 128, 4))
    with pytest.raises(DataError, match=r"train/images claims 131\.1 GB"):
        open_pack([tmp_path / "bomb.h5"], PackSettings())
    whole = (tmp_path / "other.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="no whole HDF5 file"):
        open_pack([tmp_path / "cut.h5"], PackSettings())


def test_python_2s_hash() -> None:
    """Values of Python 2.7 on 64 bits: hash("a") and hash("")."""
    assert (python2_hash("a"), python2_hash("")) == (12416037344, 0)
