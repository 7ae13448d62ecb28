"""The dataset store: what goes in comes out, the same crops give the same bytes, and damage is found."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from ambiseg.preprocessing import store_writer
from ambiseg.preprocessing.errors import DataError, InputError, ResourceError
from ambiseg.preprocessing.files import whole_file, whole_folder
from ambiseg.preprocessing.store import BYTES, Store, default_store
from ambiseg.preprocessing.store_writer import Crop, StoreInfo, write_store

SPLITS = {"a": "train", "b": "val", "c": "test"}


def crops(count: int = 7, seed: int = 0) -> list[Crop]:
    rng = np.random.default_rng(seed)
    return [
        Crop(
            image=rng.integers(0, 256, (2, 6, 5), dtype=np.uint8),
            masks=rng.integers(0, 2, (3, 6, 5), dtype=np.uint8),
            present=np.array([True, number % 2 == 0, True]),
            patient="abc"[number % 3],
            case=f"case-{number}",
            slice=number,
            z_mm=1.5 * number,
            spacing_mm=(0.7, 0.8),
            provenance={"diameter_mm": f"{number + 1};{number + 2}"},
        )
        for number in range(count)
    ]


def make(path: Path, given: list[Crop]) -> Store:
    with write_store(path, StoreInfo("made", "numbers", BYTES, settings={"seed": 0}), SPLITS) as writer:
        for crop in given:
            writer.add(crop)
    return Store.open(path)


def test_what_goes_in_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_writer, "SHARD_ROWS", 3)  # seven crops in three shards
    given = crops()
    store = make(tmp_path / "store", given)
    assert (len(store), store.channels, store.size, store.readers) == (7, 2, (6, 5), 3)
    rows = np.array([6, 0, 3, 3])
    assert np.array_equal(store.images(rows), np.stack([given[row].image for row in rows]))
    assert np.array_equal(store.masks(rows), np.stack([given[row].masks for row in rows]))
    assert np.array_equal(store.present, np.stack([crop.present for crop in given]))
    assert store.rows("val").tolist() == [1, 4]
    assert store.rows("all").tolist() == list(range(7))
    assert store.index[2] | {"split": "test", "z_mm": "3.0", "readers": "111", "diameter_mm": "3;4"} == store.index[2]
    assert list(store.damaged()) == []


def test_the_same_crops_give_the_same_bytes(tmp_path: Path) -> None:
    one, two, other = (make(tmp_path / str(n), crops(seed=seed)) for n, seed in enumerate((0, 0, 1)))
    for file in one.path.iterdir():
        assert file.read_bytes() == (two.path / file.name).read_bytes(), file.name
    assert one.content_hash == two.content_hash != other.content_hash


def test_damage_is_found(tmp_path: Path) -> None:
    store = make(tmp_path / "store", crops())
    masks = store.path / "masks_000.npy"
    content = bytearray(masks.read_bytes())
    content[-1] ^= 1
    masks.write_bytes(content)
    (store.path / "index.csv").unlink()
    assert set(store.damaged()) == {"masks_000.npy", "index.csv"}
    masks.write_bytes(content[:50])
    with pytest.raises(DataError, match=r"masks_000.npy is missing or corrupt: `ambiseg data verify"):
        Store.open(store.path).masks(np.array([0]))


def test_what_is_no_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No dataset store at"):
        Store.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="is not a dataset manifest"):
        Store.open(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": 99}))
    with pytest.raises(DataError, match="dataset schema 99; this version reads 1"):
        Store.open(tmp_path)


def test_a_bad_crop_leaves_nothing(tmp_path: Path) -> None:
    good = crops(2)
    small = Crop(good[0].image[:, :3], good[0].masks[:, :3], "a", "small")
    labels = Crop(good[0].image, good[0].masks + 5, "a", "odd")
    stranger = Crop(good[0].image, good[0].masks, "z", "odd")
    for bad, message in ((small, "one shape"), (labels, "outside the 2 classes"), (stranger, "has no split")):
        with pytest.raises(DataError, match=message):
            make(tmp_path / "store", [*good, bad])
    with pytest.raises(InputError, match="no crop to write"):
        make(tmp_path / "store", [])
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="exists and is no dataset store"):
        make(tmp_path / "mine", crops())
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
    make(tmp_path / "store", crops())
    assert len(make(tmp_path / "store", crops(3))) == 3  # an earlier store is


def test_the_card_counts(tmp_path: Path) -> None:
    card = (make(tmp_path / "store", crops()).path / "README.md").read_text()
    assert "| train | 1 | 3 | 3 |" in card
    assert "7 crops of 6 x 5 pixels, 2 channel(s)" in card
    assert "diameter of the readers' outlines (min, median, max): 1.0, 4.5, 8.0 mm" in card


def test_the_default_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make one with `ambiseg preprocess lidc`"):
        default_store(tmp_path)
    make(tmp_path / "one", crops())
    assert default_store(tmp_path) == tmp_path / "one"
    make(tmp_path / "two", crops())
    with pytest.raises(InputError, match=r"Several data sets .*one.*two"):
        default_store(tmp_path)
    make(tmp_path / "lidc", crops())
    assert default_store(tmp_path) == tmp_path / "lidc"


def write_half(path: Path, error: Exception) -> None:
    with whole_file(path) as aside:
        aside.write_text("half")
        raise error


def fill_half(path: Path, error: Exception) -> None:
    with whole_folder(path) as aside:
        (aside / "half").write_text("half")
        raise error


def test_files_and_folders_are_whole_or_as_they_were(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("before")
    for write, path in ((write_half, file), (fill_half, folder)):
        with pytest.raises(ResourceError, match=f"No room left on the disk while writing .*{path.name}"):
            write(path, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(ResourceError, match=f"Not allowed to write .*{path.name}"):
            write(path, OSError(errno.EACCES, "Permission denied"))
        with pytest.raises(KeyError):
            write(path, KeyError("stop"))
    assert file.read_text() == "before"
    assert [left.name for left in tmp_path.iterdir()] == ["file"]
