"""The dataset store: what is written is read back, the same crops give the same bytes, and damage is found."""

import errno
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ambiseg.preprocessing.errors import DataError, InputError, ResourceError, UsageError
from ambiseg.preprocessing.files import check_place, sha256, whole_file, whole_folder
from ambiseg.preprocessing.sources.papers.guessing_game import example_drawer
from ambiseg.preprocessing.store import intact, store_writer
from ambiseg.preprocessing.store.flips import Flip
from ambiseg.preprocessing.store.intensity import BYTES
from ambiseg.preprocessing.store.store import IGNORE, Store, default_store, pool_file
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store

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
    expected = {"split": "test", "z_mm": "3.0", "readers": "111", "diameter_mm": "3;4"}
    assert dict(store.index[2]) | expected == dict(store.index[2])
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
    with pytest.raises(
        DataError, match=r"manifest.json is damaged, no JSON from here on: .* line 1 column 1; make the dat"
    ):
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


SCENES = StoreInfo("scenes", "numbers", BYTES, class_names=("sky", "road", "car", "road 2", "car 2"))
FLIPS = (Flip(1, 3, 0.25), Flip(2, 4, 0.1))


def scene(number: int, **parts: Any) -> Crop:
    """A label map of three classes with ignored pixels, under an image of noise."""
    rng = np.random.default_rng(number)
    masks = rng.choice(np.array([0, 1, 2, IGNORE], np.uint8), (1, 6, 5))
    image = rng.integers(0, 256, (1, 6, 5), dtype=np.uint8)
    return replace(Crop(image, masks, "abc"[number % 3], f"scene-{number}"), **parts)


def keep(path: Path, info: StoreInfo, *given: Crop) -> Store:
    with write_store(path, info, SPLITS) as writer:
        for crop in given:
            writer.add(crop)
    return Store.open(path)


def test_known_probabilities_come_back_to_the_last_bit(tmp_path: Path) -> None:
    odds = [np.array([0.1, 0.2, 0.7]), np.array([1 / 3, 2 / 3, 0.0])]
    given = [replace(crop, present=None, mask_probabilities=each) for crop, each in zip(crops(2), odds, strict=True)]
    store = keep(tmp_path / "store", replace(StoreInfo("made", "numbers", BYTES), group="case"), *given)
    assert store.manifest.known_odds
    assert np.array_equal(store.truth.probabilities(np.array([1, 0, 1])), np.stack([odds[1], odds[0], odds[1]]))
    assert store.index[1]["odds"] == "0.3333333333333333 0.6666666666666666 0.0"
    assert (store.manifest.group, store.manifest.scored, store.manifest.flips, store.readers) == ("case", None, (), 3)
    with pytest.raises(DataError, match=r"does not say how probable"):
        make(tmp_path / "readers", crops()).truth.probabilities(np.array([0]))


def test_flips_make_all_modes_of_one_label_map(tmp_path: Path) -> None:
    info = replace(SCENES, flips=FLIPS, scored=("road", "road 2"))
    given = [scene(number) for number in range(4)]
    store = keep(tmp_path / "store", info, *given)
    rows = np.array([2, 0])
    assert (store.readers, store.manifest.scored_labels, store.manifest.flips, store.manifest.known_odds) == (
        4,
        (1, 3),
        FLIPS,
        True,
    )
    assert store.truth.probabilities(rows) == pytest.approx(
        np.tile([0.75 * 0.9, 0.25 * 0.9, 0.75 * 0.1, 0.25 * 0.1], (2, 1))
    )
    assert store.present.shape == (4, 4)
    assert store.present.all()
    base = np.stack([given[row].masks for row in rows])
    assert np.array_equal(store.labels(rows), base)
    for number, applied in enumerate(((), FLIPS[:1], FLIPS[1:], FLIPS)):
        expected = base[:, 0].copy()
        for flip in applied:
            expected[expected == flip.source] = flip.target
        assert np.array_equal(store.masks(rows)[:, number], expected)
    assert list(store.damaged()) == []


def test_a_flip_into_a_class_that_another_flips_goes_one_step(tmp_path: Path) -> None:
    store = keep(tmp_path / "store", replace(SCENES, flips=(Flip(1, 2, 0.5), Flip(2, 1, 0.5))), scene(0))
    base, modes = store.labels(np.array([0]))[0, 0], store.masks(np.array([0]))[0]
    assert np.array_equal(modes[3] == 1, base == 2)
    assert np.array_equal(modes[3] == 2, base == 1)
    assert np.array_equal(modes[3] == IGNORE, base == IGNORE)


def test_class_probabilities_are_kept_in_255ths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_writer, "SHARD_ROWS", 2)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(5), (3, 6, 5)).transpose(0, 3, 1, 2)
    store = keep(tmp_path / "store", SCENES, *(scene(n, class_probabilities=probabilities[n]) for n in range(3)))
    assert store.manifest.has_class_probabilities
    found = store.class_probabilities(np.array([2, 0]))
    assert (found.dtype, found.shape) == (np.uint8, (2, 5, 6, 5))
    assert np.abs(found / 255 - probabilities[[2, 0]]).max() <= 0.5 / 255 + 1e-6
    other = keep(tmp_path / "other", SCENES, *(scene(number) for number in range(3)))
    assert not other.manifest.has_class_probabilities
    assert other.content_hash != store.content_hash
    with pytest.raises(DataError, match="holds no class probabilities of another segmenter"):
        other.class_probabilities(np.array([0]))
    (store.path / "probabilities_001.npy").write_bytes(b"short")
    assert list(store.damaged()) == ["probabilities_001.npy"]


def test_a_pool_is_part_of_the_store(tmp_path: Path) -> None:
    stores = []
    for name, digits in (("a", np.arange(5)), ("b", np.arange(5)), ("c", np.arange(6))):
        with write_store(tmp_path / name, replace(SCENES, game="game"), SPLITS) as writer:
            writer.add(scene(0))
            writer.put_pool(digits=digits)
        stores.append(Store.open(tmp_path / name))
    one, two, other = stores
    assert one.manifest.deal == "game"
    assert np.load(pool_file(other))["digits"].tolist() == list(range(6))
    assert one.content_hash == two.content_hash != other.content_hash
    (one.path / "bank.npz").write_bytes(b"")
    assert list(one.damaged()) == ["bank.npz"]
    with pytest.raises(DataError, match="needs a pool"):
        keep(tmp_path / "none", replace(SCENES, game="game"), scene(0))


def test_the_hash_covers_what_makes_the_masks(tmp_path: Path) -> None:
    infos = (SCENES, replace(SCENES, flips=FLIPS), replace(SCENES, flips=FLIPS[:1]), replace(SCENES, scored=("car",)))
    stores = [keep(tmp_path / str(number), info, scene(0)) for number, info in enumerate(infos)]
    assert len({store.content_hash for store in stores}) == len(stores)


def test_stores_of_before_are_read_as_they_were(tmp_path: Path) -> None:
    """A manifest without the keys of probabilities, flips, scored classes and games, and the hash that it always had."""
    store = make(tmp_path / "store", crops())
    file = store.path / "manifest.json"
    manifest = json.loads(file.read_text())
    for key in ("known_odds", "scored", "group", "flips", "deal", "bank_sha256"):
        del manifest[key]
    file.write_text(json.dumps(manifest))
    old = Store.open(store.path)
    facts = old.manifest
    assert (facts.known_odds, facts.has_class_probabilities, facts.scored, facts.group, facts.flips) == (
        *(False, False, None, None),
        (),
    )
    assert not old.truth.known
    (shard,) = manifest["shards"]
    hashes = (manifest["index_sha256"], shard["images_sha256"], shard["masks_sha256"])
    assert old.content_hash == hashlib.sha256("\n".join(hashes).encode()).hexdigest() == store.content_hash
    assert np.array_equal(old.labels(np.arange(7)), old.masks(np.arange(7)))
    assert list(old.damaged()) == []


def test_ignored_pixels_are_no_class_and_mark_nothing(tmp_path: Path) -> None:
    masks = np.full((2, 6, 5), IGNORE, np.uint8)
    masks[1, 0, 0] = 2
    store = keep(tmp_path / "store", SCENES, scene(0, masks=masks))
    assert store.index[0]["marked"] == "1"
    assert np.array_equal(store.masks(np.array([0]))[0], masks)


MASKS = np.zeros((3, 6, 5), np.uint8)
EVEN = np.full((5, 6, 5), 0.2)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"masks": np.full((1, 6, 5), 5, np.uint8)}, r"label 5 is outside the 5 classes 0..4 \(255: ignored\)"),
        ({"masks": np.full((1, 6, 5), -1, np.int16)}, "label -1 is outside the 5 classes"),
        (
            {"masks": MASKS, "mask_probabilities": np.array([0.2, 0.2, 0.2])},
            r"expected probabilities of the masks that sum to 1, got 0.2, 0.2, 0.2: correct",
        ),
        ({"masks": MASKS, "mask_probabilities": np.array([1.2, 0.0, -0.2])}, "that sum to 1, got 1.2, 0, -0.2"),
        ({"masks": MASKS, "mask_probabilities": np.array([np.nan, 0.5, 0.5])}, "that sum to 1, got nan, 0.5, 0.5"),
        ({"masks": MASKS, "mask_probabilities": np.array([0.5, 0.5])}, "one probability per mask, got 2 for 3 masks"),
        (
            {"masks": MASKS[:1], "mask_probabilities": np.ones(1), "present": np.array([False])},
            "have no absent readers",
        ),
        ({"class_probabilities": EVEN[:4]}, r"shape \[4, 6, 5\], expected \[5, 6, 5\]: 5 classes of the image's size"),
        ({"class_probabilities": EVEN[:, :5]}, r"shape \[5, 5, 5\], expected \[5, 6, 5\]"),
        ({"class_probabilities": EVEN * 1.2}, "of a pixel sum to 1.2, expected 1: give the softmax"),
        (
            {"class_probabilities": np.stack([EVEN[0] * 7, *(EVEN[1:] - 0.3)])},
            "probabilities from -0.1 to 1.4: expected 0 to 1",
        ),
        ({"class_probabilities": np.full((5, 6, 5), np.nan)}, "probabilities from nan to nan: expected 0 to 1"),
    ],
)
def test_what_a_crop_may_not_hold_is_told(tmp_path: Path, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        keep(tmp_path / "store", SCENES, scene(0, **parts))


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"flips": (Flip(1, 7, 0.5),)}, r"flip from class 1 to 7: expected classes 0..4"),
        ({"flips": (Flip(1, 3, 1.5),)}, "flip of road has probability 1.5: expected 0 to 1"),
        ({"flips": (Flip(1, 3, 0.5), Flip(1, 4, 0.5))}, "Two flips change the same class"),
        ({"scored": ("car", "tree")}, "scored class 'tree' is not one of the foreground classes road, car"),
        ({"scored": ("sky",)}, "scored class 'sky' is not one of the foreground classes"),
        ({"class_names": tuple(map(str, range(256)))}, "at most 255 classes in a store, got 256"),
    ],
)
def test_what_a_store_may_not_be_is_told(tmp_path: Path, info: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        keep(tmp_path / "store", replace(SCENES, **info), scene(0))


def test_flips_go_with_one_label_map_alone(tmp_path: Path) -> None:
    flipping = replace(SCENES, flips=FLIPS)
    with pytest.raises(DataError, match=r"one label map per row.*; got 3 masks"):
        keep(tmp_path / "store", flipping, scene(0, masks=MASKS))
    with pytest.raises(DataError, match="got 1 mask with probabilities"):
        keep(tmp_path / "store", flipping, scene(0, mask_probabilities=np.ones(1)))


def test_all_crops_have_odds_and_probabilities_or_none_has(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="scene-1 has no `class_probabilities`, the crops before it have them"):
        keep(tmp_path / "store", SCENES, scene(0, class_probabilities=EVEN), scene(1))
    with pytest.raises(
        DataError, match="scene-1 has `mask_probabilities`, the crops before it have none: give them for all"
    ):
        keep(tmp_path / "store", SCENES, scene(0), scene(1, mask_probabilities=np.ones(1)))


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
    assert "7 crops of 6 x 5 pixels, 2 channels" in card
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


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("before")
    with pytest.raises(UsageError, match="is a folder: name a file"):
        write_half(tmp_path, OSError())
    with pytest.raises(ResourceError, match=r"Cannot make the folder .*file, File exists: choose another `output`"):
        write_half(file / "below", OSError())
    with pytest.raises(ResourceError, match="file is a file, expected a folder"):
        check_place(file / "below" / "that")
    check_place(tmp_path / "new" / "folder")
    assert [left.name for left in tmp_path.iterdir()] == ["file"]


def changed(path: Path, place: int = -1) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_each_file_is_held_against_its_hash_when_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_writer, "SHARD_ROWS", 3)
    store = make(tmp_path / "store", crops())
    for name in ("images_001.npy", "masks_002.npy"):
        changed(store.path / name)
    store = Store.open(store.path)
    assert store.images(np.array([0, 2, 6])).shape[0] == 3  # of whole shards
    with pytest.raises(DataError, match=r"images_001\.npy was changed since it was written"):
        store.images(np.array([0, 4]))
    assert store.masks(np.array([5])).shape[0] == 1
    with pytest.raises(DataError, match=r"masks_002\.npy was changed since it was written"):
        store.masks(np.array([6]))


def test_a_shard_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, hashed = make(tmp_path / "store", crops()), []
    monkeypatch.setattr(intact, "sha256", lambda path: hashed.append(path.name) or sha256(path))
    for _ in range(3):
        Store.open(store.path).images(np.array([0, 1]))
        store.images(np.array([2]))
    assert hashed == ["images_000.npy"]
    changed(store.path / "images_000.npy")
    with pytest.raises(DataError, match="was changed"):
        store.images(np.array([2]))


def test_a_damaged_pool_gives_nothing(tmp_path: Path) -> None:
    with write_store(tmp_path / "store", replace(SCENES, game="mnist-guess"), SPLITS) as writer:
        writer.add(scene(0))
        writer.put_pool(digits=np.zeros((3, 4, 4), np.uint8), labels=np.arange(3))
    store = Store.open(tmp_path / "store")
    assert pool_file(store) == store.path / "bank.npz"
    changed(store.path / "bank.npz", 50)
    with pytest.raises(DataError, match=r"bank\.npz is missing or was changed"):
        example_drawer(store)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("0,train,a", "1,train,a", r"line 2, column 'row': expected 0, got '1'"),
        ("train", "trian", r"line 2, column 'split': expected train or val or test, got 'trian'"),
        (",0,0.0,0.7", ",x,0.0,0.7", r"line 2, column 'slice': expected a whole number, got 'x'"),
        (",0.7,0.8,111", ",a,0.8,111", r"line 2, column 'spacing_y_mm': expected a number"),
        ("0.8,111,", "0.8,11,", r"line 2, column 'readers': expected 3 digits 0 or 1, got '11'"),
        ("0.8,111,", "0.8,112,", r"line 2, column 'readers': expected 3 digits 0 or 1, got '112'"),
        ("111,3,", "111,4,", r"line 2, column 'marked': expected 3 at most, got '4'"),
        ("row,split", "row,slpit", r"has no column 'split'"),
        ("2,test,c,", "2,test,c", r"line 4: 11 cells, expected 12"),
        ("case-0", "case-X", r"was changed since it was written, its SHA-256 is not the manifest's"),
        ("case-0", 'cas"-0', r"was changed since it was written"),
        ("row,", "", r"has no column 'row'|no column|cells, expected"),
    ],
)
def test_a_damaged_index_is_named_with_line_and_column(tmp_path: Path, old: str, new: str, says: str) -> None:
    file = make(tmp_path / "store", crops()).path / "index.csv"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=rf"index\.csv.*({says})"):
        Store.open(tmp_path / "store").rows("train")


def test_a_missing_a_short_and_an_empty_index_are_named(tmp_path: Path) -> None:
    file = make(tmp_path / "store", crops()).path / "index.csv"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"index\.csv has 6 rows, its manifest says 7"):
        Store.open(tmp_path / "store").rows("train")
    file.write_text("")
    with pytest.raises(DataError, match=r"index\.csv is empty"):
        Store.open(tmp_path / "store").rows("train")
    file.unlink()
    with pytest.raises(DataError, match=r"index\.csv is missing"):
        Store.open(tmp_path / "store").rows("train")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("rows", "7", r"`rows`: expected a valid integer, got '7'"),
        ("rows", 0, r"`rows`: expected greater than or equal to 1, got 0"),
        ("rows", 8, r"`the whole`: expected `rows` as many as the shards have, 8 and 7 stand there"),
        ("image_shape", [6, 5], r"`image_shape.2` is missing"),
        ("image_shape", [2, 6, 0], r"`image_shape.2`: expected greater"),
        ("image_shape", [2, 6, 6], r"`image_shape` and `masks_shape` of one height and width"),
        ("masks_shape", [10**30, 6, 5], r"`masks_shape.0`"),
        ("class_names", "lesion", r"`class_names`: expected a valid list, got 'lesion'"),
        ("class_names", [], r"`class_names`"),
        ("intensity", {"unit": "HU"}, r"`intensity.low` is missing"),
        ("intensity", {"unit": "Hu", "low": 0, "high": 1}, r"`intensity.unit`: expected 'HU' or 'relative', got 'Hu'"),
        ("intensity", {"unit": "HU", "low": 1, "high": 0}, r"`intensity`: expected `low` not above `high`"),
        ("spacing_mm", -0.5, r"`spacing_mm`"),
        ("settings", [], r"`settings`: expected a valid dictionary, got a list"),
        ("scored", ["bone"], r"`scored` to name foreground classes"),
        ("flips", [{"source": 0, "target": 1, "probability": 0.5}], r"one label map per row, with known probabilities"),
        ("flips", [{"source": 0}], r"`flips.0.target` is missing"),
        ("deal", "game", r"`deal` and `bank_sha256` together"),
        ("index_sha256", "f" * 63, r"`index_sha256`"),
        ("shards", [], r"`shards`"),
        ("shards", [{"rows": 7}], r"`shards.0.images_sha256` is missing"),
        ("schema", "1", r"`schema`"),
    ],
)
def test_a_damaged_manifest_is_named_with_its_key(tmp_path: Path, key: str, value: Any, says: str) -> None:
    file = make(tmp_path / "store", crops()).path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(
        DataError, match=rf"manifest\.json is damaged or of another version: .*{says}.*make the dataset"
    ):
        Store.open(tmp_path / "store")


def test_shards_of_other_shapes_or_types_are_refused(tmp_path: Path) -> None:
    store = make(tmp_path / "store", crops())
    np.save(store.path / "images_000.npy", np.zeros((7, 2, 6, 4), np.uint8))
    with pytest.raises(DataError, match=r"has shape \[7, 2, 6, 4\], its manifest says \[7, 2, 6, 5\]"):
        Store.open(store.path).images(np.array([0]))
    np.save(store.path / "images_000.npy", np.zeros((7, 2, 6, 5), np.float64))
    with pytest.raises(DataError, match=r"holds float64, expected int16 or uint8 or float32"):
        Store.open(store.path).images(np.array([0]))
    (store.path / "images_000.npy").write_bytes(b"\x93NUMPY\x01\x00\x10\x00" + b"{" * 16)
    with pytest.raises(DataError, match=r"images_000.npy is missing or corrupt"):
        Store.open(store.path).images(np.array([0]))
