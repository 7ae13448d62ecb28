"""Importing packed crops: shards, plain npz, PNG folders; patients, splits, absent readers, and what is refused."""

import bz2
import csv
import gzip
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner, Result

from ambiseg.commands.preprocess.packed import packed
from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.sources.packed.kinds import open_pack
from ambiseg.preprocessing.sources.packed.pack import PackSettings
from ambiseg.preprocessing.sources.packed.packed_store import write_packed
from ambiseg.preprocessing.store.lesion_rows import keeps_readers, lesions_of
from ambiseg.preprocessing.store.store import Store

SIZE = 16


def made(count: int = 6, readers: int = 4) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Random images [N, 16, 16] and masks [N, R, 16, 16]; the last reader of the first image marked nothing."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (count, SIZE, SIZE), np.uint8)
    masks = rng.random((count, readers, SIZE, SIZE)) < 0.4
    masks[0, -1] = False
    return images, masks


def imported(source: Path | list[Path], out: Path, settings: PackSettings | None = None, **options: Any) -> Store:
    settings = settings or PackSettings()
    inputs = source if isinstance(source, list) else [source]
    return Store.open(write_packed(open_pack(inputs, settings), out, settings, **options).store)


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(packed)
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two shards of three crops each, with a table that lacks the last crop."""
    folder = tmp_path / "shards"
    folder.mkdir()
    images, masks = made()
    patient, nodule, number = np.array([1, 1, 2, 2, 3, 40]), np.array([0, 0, 0, 1, 0, 0]), np.array([0, 1, 0, 0, 5, 0])
    along_rows = np.diff(images, axis=1, prepend=np.uint8(0))
    differences = np.diff(along_rows, axis=2, prepend=np.uint8(0))
    for shard, part in enumerate((slice(0, 3), slice(3, 6))):
        np.savez(
            folder / f"shard_{shard}.npz",
            images=np.frombuffer(bz2.compress(differences[part].tobytes()), np.uint8),
            masks=np.frombuffer(bz2.compress(np.packbits(masks[part].reshape(3, 4, -1), axis=-1).tobytes()), np.uint8),
            patient=patient[part].astype(np.int16),
            nodule=nodule[part].astype(np.int16),
            slice=number[part].astype(np.int16),
        )
    with gzip.open(folder / "slices.csv.gz", "wt", newline="") as file:
        names = ["patient_id", "nodule", "slice", "series_instance_uid", "pixel_spacing_mm", "slice_thickness_mm"]
        names += ["z_position_mm", "crop_row0", "crop_col0"]
        names += [f"{name}_{reader}" for name in ("pylidc_ann", "malignancy") for reader in range(4)]
        writer = csv.writer(file)
        writer.writerow(names)
        for row in range(5):
            place = [
                f"LIDC-IDRI-{patient[row]:04d}",
                nodule[row],
                number[row],
                "1.2.3",
                0.7,
                2.5,
                -100.5 + row,
                300,
                250,
            ]
            writer.writerow([*place, 84, 85, 86, "", 5, 4, 3, ""])
    return folder


def test_shards_come_out_as_they_went_in(shards: Path, tmp_path: Path) -> None:
    store = imported(shards, tmp_path / "out")
    images, masks = made()
    np.testing.assert_array_equal(store.images(np.arange(6))[:, 0], images)
    np.testing.assert_array_equal(store.masks(np.arange(6)), masks)
    assert store.column("patient").tolist() == [f"LIDC-IDRI-{number:04d}" for number in (1, 1, 2, 2, 3, 40)]
    assert store.column("lesion").tolist() == ["0", "0", "0", "1", "0", "0"]
    assert store.present.all()
    assert (store.manifest.name, store.intensity.unit, store.spacing_mm) == ("lidc-128-repack", "relative", None)
    assert "min-max scaled" in store.manifest.attribution
    assert "CC BY 3.0" in store.manifest.attribution
    assert keeps_readers(store)
    (first, *_) = lesions_of(store, store.rows("all"))
    assert (first.rows.tolist(), first.spacing_mm) == ([0, 1], (1.0, 0.7, 0.7))


def test_readers_who_are_absent_from_some_slices_have_no_volumes(shards: Path, tmp_path: Path) -> None:
    assert not keeps_readers(imported(shards, tmp_path / "out", absent_when_empty=True))


def test_the_table_says_where_crops_come_from(shards: Path, tmp_path: Path) -> None:
    store = imported(shards, tmp_path / "out")
    known, unknown = store.index[1], store.index[5]
    assert (known["z_mm"], known["spacing_x_mm"], known["series_uid"]) == ("-99.5", "0.7", "1.2.3")
    assert (known["malignancy"], known["marks"], known["crop_row0"]) == ("5;4;3", "84;85;86", "300")
    assert (unknown["z_mm"], unknown["series_uid"], unknown["malignancy"]) == ("", "", "")
    assert open_pack([shards], PackSettings()).notes == [
        "No table slices.csv(.gz) says where 1 of 6 crops come from: no spacing, z or ratings."
    ]


def test_shards_hold_no_hounsfield_units(shards: Path) -> None:
    with pytest.raises(UsageError, match=r"scaled to 0\.\.255 one by one, so that no HU are left"):
        open_pack([shards], PackSettings(intensity="hu"))


def test_a_damaged_shard_is_told_and_leaves_nothing(shards: Path, tmp_path: Path) -> None:
    with np.load(shards / "shard_1.npz") as shard:
        arrays = dict(shard)
    np.savez(shards / "shard_1.npz", **{**arrays, "images": arrays["images"][:40]})
    with pytest.raises(DataError, match=r"shard_1\.npz is not a whole npz file"):
        imported(shards, tmp_path / "new" / "out")
    assert not (tmp_path / "new").exists()
    (shards / "shard_1.npz").write_bytes((shards / "shard_0.npz").read_bytes()[:100])
    with pytest.raises(DataError, match=r"shard_1\.npz is not a whole npz file"):
        open_pack([shards], PackSettings())


def test_plain_npz_with_all_it_may_hold(tmp_path: Path) -> None:
    images, masks = made(4, 3)
    present = np.ones((4, 3), bool)
    present[2, 0] = False
    colours = np.stack([images, images // 2, images // 3], 1).astype(np.float32) / 10
    np.savez(
        tmp_path / "many.npz",
        images=colours,
        masks=masks.astype(np.uint8) * 2,
        patient=np.array([7, 7, 8, 9]),
        lesion=np.array(["a", "b", "a", "a"]),
        slice=np.arange(4) + 10,
        names=np.array(["w", "x", "y", "z"]),
        present=present,
        microscope=np.array(["A", "B", "A", "B"]),
        unused=np.zeros((4, 2)),
    )
    store = imported(tmp_path / "many.npz", tmp_path / "out", PackSettings(("background", "ring", "core")))
    np.testing.assert_array_equal(store.images(np.arange(4)), colours)
    np.testing.assert_array_equal(store.masks(np.arange(4)), masks * 2)
    np.testing.assert_array_equal(store.present, present)
    assert store.column("patient").tolist() == ["7", "7", "8", "9"]
    assert store.column("case").tolist() == ["w", "x", "y", "z"]
    assert store.column("slice").tolist() == ["10", "11", "12", "13"]
    assert store.column("microscope").tolist() == ["A", "B", "A", "B"]
    assert (store.intensity.low, store.intensity.high) == (colours.min(), colours.max())
    assert store.manifest.name == "many"


def test_hounsfield_units_are_rounded_and_clipped(tmp_path: Path) -> None:
    images = np.array([[[-2048.0, -700.6], [0.4, 5000.0]]], np.float32)
    np.savez(tmp_path / "ct.npz", images=images, masks=np.ones((1, 1, 2, 2), bool))
    store = imported(tmp_path / "ct.npz", tmp_path / "out", PackSettings(intensity="hu"))
    assert store.images(np.array([0])).tolist() == [[[[-1024, -701], [0, 3071]]]]
    assert store.intensity.unit == "HU"


def test_one_hot_pixel_changes_no_other_image(tmp_path: Path) -> None:
    images, masks = made(8, 2)
    values = images.astype(np.float32)
    np.savez(tmp_path / "cold.npz", images=values, masks=masks)
    hot = values.copy()
    hot[3, 1, 1] = 1e6
    np.savez(tmp_path / "hot.npz", images=hot, masks=masks)
    cold, store = (imported(tmp_path / name, tmp_path / f"{name}-out") for name in ("cold.npz", "hot.npz"))
    assert store.intensity == cold.intensity
    assert (store.intensity.low, store.intensity.high) == (values.min(), values.max())
    assert store.images(np.array([3])).max() == 1e6  # stored as it is
    assert store.manifest.channels[0].most == 1e6
    card = (tmp_path / "hot.npz-out" / "README.md").read_text()
    assert f"values of the images: {values.min():g} to {values.max():g} (some lie far outside" in card
    assert "far outside" not in (tmp_path / "cold.npz-out" / "README.md").read_text()


def test_each_channel_has_a_range_of_its_own(tmp_path: Path) -> None:
    plain, masks = made(6, 2)
    images = np.stack([plain / 255, plain * 20.0], 1).astype(np.float32)
    np.savez(tmp_path / "two.npz", images=images, masks=masks)
    store = imported(tmp_path / "two.npz", tmp_path / "out")
    assert [(each.low, each.high) for each in store.manifest.channels] == [
        (images[:, channel].min(), images[:, channel].max()) for channel in (0, 1)
    ]
    assert f"values of channel 2: {images[:, 1].min():g} to" in (tmp_path / "out" / "README.md").read_text()


def test_an_empty_mask_is_an_opinion_unless_said_otherwise(tmp_path: Path) -> None:
    images, masks = made(3, 2)
    masks[1] = False
    np.savez(tmp_path / "p.npz", images=images, masks=masks)
    whole = imported(tmp_path / "p.npz", tmp_path / "a")
    assert whole.present.all()
    assert not keeps_readers(whole)
    store = imported(tmp_path / "p.npz", tmp_path / "b", absent_when_empty=True)
    assert store.present.tolist() == [[True, False], [True, True]]
    np.testing.assert_array_equal(store.images(np.arange(2))[:, 0], images[[0, 2]])


def test_a_split_that_comes_with_an_npz_is_kept(tmp_path: Path) -> None:
    images, masks = made(6, 2)
    names = np.array(["Training", "training", "valid", "TEST", "test", "training"])
    np.savez(
        tmp_path / "p.npz", images=images, masks=masks, split=names, patient=np.array(["a", "b", "c", "d", "d ", "b"])
    )
    store = imported(tmp_path / "p.npz", tmp_path / "out")
    assert [row.split for row in store.index] == ["train", "train", "val", "test", "test", "train"]
    assert store.column("patient").tolist() == ["a", "b", "c", "d", "d", "b"]
    assert store.manifest.settings["split"] == "own"
    told = run(tmp_path / "p.npz", "-o", tmp_path / "told")
    assert "own split is kept: train 3, val 1, test 2 crops" in " ".join(told.output.split())
    other = run(tmp_path / "p.npz", "-o", tmp_path / "other", "--split", "2,1,1", "--seed", 3)
    assert "2,1,1 by patient, seed 3, overrides it" in " ".join(other.output.split())
    (tmp_path / "s.csv").write_text("patient,split\na,test\nb,train\nc,val\nd,val\n")
    filed = run(tmp_path / "p.npz", "-o", tmp_path / "filed", "--split-file", tmp_path / "s.csv")
    assert "the file s.csv overrides it" in " ".join(filed.output.split())
    assert Store.open(tmp_path / "filed").index[0].split == "test"


def test_a_split_without_val_gets_one_from_train(tmp_path: Path) -> None:
    images, masks = made(20, 2)
    np.savez(tmp_path / "p.npz", images=images, masks=masks, split=np.array(["train"] * 16 + ["test"] * 4))
    pack = open_pack([tmp_path / "p.npz"], PackSettings())
    report = write_packed(pack, tmp_path / "out", PackSettings())
    splits = [row.split for row in Store.open(report.store).index]
    assert [splits.count(split) for split in ("train", "val", "test")] == [14, 2, 4]
    assert splits[16:] == ["test"] * 4
    assert any("has no val: 2 patients of train, drawn with seed 0, go there" in note for note in report.notes)


def test_a_split_of_other_names_is_refused_and_can_be_overridden(tmp_path: Path) -> None:
    images, masks = made(4, 2)
    np.savez(tmp_path / "p.npz", images=images, masks=masks, split=np.arange(4))
    with pytest.raises(DataError, match="own split names '0': expected train, val, test"):
        imported(tmp_path / "p.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert len(imported(tmp_path / "p.npz", tmp_path / "out", split=(2, 1, 1))) == 4


def test_files_named_for_their_split_keep_it(tmp_path: Path) -> None:
    images, masks = made(6, 2)
    for name, part in (("my_train", slice(0, 3)), ("my_val", slice(3, 4)), ("my_test", slice(4, 6))):
        np.savez(tmp_path / f"{name}.npz", images=images[part], masks=masks[part])
    store = imported([tmp_path / f"my_{split}.npz" for split in ("val", "train", "test")], tmp_path / "out")
    assert [row.split for row in store.index] == ["val"] + ["train"] * 3 + ["test"] * 2


def test_a_mask_of_nan_is_an_absent_readers(tmp_path: Path) -> None:
    images, masks = made(3, 2)
    drawn = masks.astype(np.float32)
    drawn[1, 0] = np.nan
    np.savez(tmp_path / "p.npz", images=images, masks=drawn)
    store = imported(tmp_path / "p.npz", tmp_path / "out")
    assert store.present.tolist() == [[True, True], [False, True], [True, True]]
    np.testing.assert_array_equal(store.masks(np.arange(3))[[0, 2]], masks[[0, 2]])
    drawn[2, 1, 0, 0] = np.nan
    np.savez(tmp_path / "p.npz", images=images, masks=drawn)
    with pytest.raises(DataError, match="is NaN in some pixels: expected labels, or NaN in all pixels"):
        imported(tmp_path / "p.npz", tmp_path / "out")


def test_an_image_under_two_patients_in_different_splits_is_refused(tmp_path: Path) -> None:
    images, masks = made(5, 2)
    images[3] = images[0]  # in train and in test
    images[1] = images[2]  # both in train
    splits = np.array(["train", "train", "train", "test", "val"])
    np.savez(tmp_path / "p.npz", images=images, masks=masks, split=splits, patient=np.array(list("abcde")))
    pair = "under two patients in different splits: case p-00000 of patient a (train) and case p-00003 of patient d"
    with pytest.raises(DataError, match=re.escape(pair)):
        imported(tmp_path / "p.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    refused = run(tmp_path / "p.npz", "-o", tmp_path / "out")
    assert isinstance(refused.exception, DataError)
    told = run(tmp_path / "p.npz", "-o", tmp_path / "out", "--allow-duplicates")
    assert pair in " ".join(told.output.split())
    assert len(Store.open(tmp_path / "out")) == 5


def test_empty_images_and_those_of_one_patient_are_no_duplicates(tmp_path: Path) -> None:
    images, masks = made(6, 2)
    images[:2] = 0
    images[5] = images[4]
    splits = np.array(["train", "test", "val", "train", "test", "test"])
    np.savez(tmp_path / "p.npz", images=images, masks=masks, split=splits, patient=np.array(list("abcdee")))
    assert len(imported(tmp_path / "p.npz", tmp_path / "out")) == 6


def test_patients_as_bytes_are_names(tmp_path: Path) -> None:
    images, masks = made(3, 2)
    np.savez(tmp_path / "p.npz", images=images, masks=masks, patient=np.array([b"a", b"a ", b"b"]))
    assert imported(tmp_path / "p.npz", tmp_path / "out").column("patient").tolist() == ["a", "a", "b"]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_folders_named_for_their_split_are_no_patients(nested: bool, several: bool, tmp_path: Path) -> None:
    images, masks = made(4, 2)
    splits = ["Training", "val", "test", "test"]
    for number, (split, image, mask) in enumerate(zip(splits, images, masks, strict=True)):
        top = tmp_path / "in" / split / (f"p{number}/n0" if nested else "")
        write_png(top / "images" / f"{number // 3}.png", image)
        for reader in range(2):
            write_png(top / f"mask-{reader}" / f"{number // 3}.png", mask[reader].astype(np.uint8))
    inputs = [tmp_path / "in" / split for split in splits[:3]] if several else [tmp_path / "in"]
    store = imported(inputs, tmp_path / "out")
    held = {(row.patient, row.split) for row in store.index}
    flat = {("train-0", "train"), ("val-0", "val"), ("test-0", "test"), ("test-1", "test")}
    assert held == ({("p0", "train"), ("p1", "val"), ("p2", "test"), ("p3", "test")} if nested else flat)


def test_npz_files_of_one_name_in_folders_of_splits_are_told_apart(tmp_path: Path) -> None:
    images, masks = made(6, 2)
    for split, part in (("train", slice(0, 3)), ("val", slice(3, 4)), ("test", slice(4, 6))):
        (tmp_path / "in" / split).mkdir(parents=True)
        np.savez(tmp_path / "in" / split / "crops.npz", images=images[part], masks=masks[part])
    store = imported(tmp_path / "in", tmp_path / "out")
    assert sorted(row.split for row in store.index) == ["test"] * 2 + ["train"] * 3 + ["val"]
    assert len(set(store.column("patient"))) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": np.zeros((2, 2, 16, 16), bool)}, r"do not fit; expected images \[N, H, W\]"),
        ({"masks": np.full((3, 2, 16, 16), 2)}, "holds the label 2: expected 0..1"),
        ({"masks": np.full((3, 2, 16, 16), 0.5)}, "holds the label 0.5: expected 0..1"),
        ({"masks": np.full((3, 2, 16, 16), -1)}, "holds the label -1: expected 0..1"),
        ({"images": np.full((3, 16, 16), np.nan)}, "expected images of finite numbers"),
        ({"patient": np.arange(2)}, "patient has 2 entries for 3 images"),
        ({"present": np.ones((3, 5), bool)}, r"present has shape \[3, 5\], expected \[3, 2\]"),
    ],
)
def test_npz_that_do_not_fit_are_refused(change: dict[str, NDArray], message: str, tmp_path: Path) -> None:
    images, masks = made(3, 2)
    np.savez(tmp_path / "bad.npz", **{"images": images, "masks": masks, **change})
    with pytest.raises(DataError, match=message):
        imported(tmp_path / "bad.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_of_different_numbers_are_refused(tmp_path: Path) -> None:
    images, masks = made(3, 2)
    np.savez(tmp_path / "a.npz", images=images, masks=masks)
    np.savez(tmp_path / "b.npz", images=images / 2, masks=masks)
    with pytest.raises(DataError, match="uint8 in case a-00000 and float32 in case b-00000"):
        imported([tmp_path / "a.npz", tmp_path / "b.npz"], tmp_path / "out")


def write_png(path: Path, array: NDArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """images/ and mask-0/, mask-1/, with files a1 a2 a10 b1."""
    images, masks = made(4, 2)
    for name, image, mask in zip(("a1", "a2", "a10", "b1"), images, masks, strict=True):
        write_png(tmp_path / "flat" / "images" / f"{name}.png", image)
        for reader in range(2):
            write_png(tmp_path / "flat" / f"mask-{reader}" / f"{name}.png", mask[reader].astype(np.uint8) * 255)
    return tmp_path / "flat"


def test_png_folders(flat: Path, tmp_path: Path) -> None:
    store = imported(flat, tmp_path / "out")
    images, masks = made(4, 2)
    assert store.column("case").tolist() == ["a1", "a2", "a10", "b1"]
    assert len(set(store.column("patient"))) == 4
    np.testing.assert_array_equal(store.images(np.arange(4))[:, 0], images)
    np.testing.assert_array_equal(store.masks(np.arange(4)), masks)
    assert "The patients of 4 images are not given" in open_pack([flat], PackSettings()).notes[0]


def test_patients_of_png_files(flat: Path, tmp_path: Path) -> None:
    by_pattern = open_pack([flat], PackSettings(patient_pattern=r"([a-z])\d+\.png"))
    assert (by_pattern.patients, by_pattern.notes) == (["a", "a", "a", "b"], [])
    with pytest.raises(DataError, match=r"finds no patient in images/a1\.png"):
        open_pack([flat], PackSettings(patient_pattern="zebra"))
    with pytest.raises(UsageError, match="is no regular expression"):
        open_pack([flat], PackSettings(patient_pattern="("))
    (flat / "patients.csv").write_text("file,patient\na1.png,P\nimages/a2.png,P\na10.png,Q\n")
    with pytest.raises(DataError, match=r"has no patient for images/b1\.png"):
        open_pack([flat], PackSettings())
    (flat / "patients.csv").write_text("file,patient\na1.png,P\nimages/a2.png,P\na10.png,Q\nb1.png,R\n")
    assert open_pack([flat], PackSettings()).patients == ["P", "P", "Q", "R"]


def test_png_folders_for_every_lesion(tmp_path: Path) -> None:
    images, masks = made(5, 3)
    places = [
        "P1/nodule-0/slice-2",
        "P1/nodule-0/slice-10",
        "P1/nodule-1/slice-0",
        "P2/nodule-0/slice-0",
        "P3/n/slice-0",
    ]
    for place, image, mask in zip(places, images, masks, strict=True):
        lesion, name = (tmp_path / "top" / place).parent, f"{Path(place).name}.png"
        write_png(lesion / "images" / name, image)
        for reader in range(2 if place.startswith("P2") else 3):
            write_png(lesion / f"mask-{reader}" / name, mask[reader].astype(np.uint8))
    pack = open_pack([tmp_path / "top"], PackSettings())
    assert pack.notes == ["1 mask files are not there: those readers count as absent for those images."]
    store = imported(tmp_path / "top", tmp_path / "out")
    assert store.column("patient").tolist() == ["P1", "P1", "P1", "P2", "P3"]
    assert store.column("lesion").tolist() == ["nodule-0", "nodule-0", "nodule-1", "nodule-0", "n"]
    assert store.column("slice").tolist() == ["2", "10", "0", "0", "0"]
    assert store.present.tolist() == [[True] * 3] * 3 + [[True, True, False], [True] * 3]
    assert not store.masks(np.array([3]))[0, 2].any()
    np.testing.assert_array_equal(store.masks(np.array([0, 1, 2, 4])), masks[[0, 1, 2, 4]])


def test_png_files_that_do_not_fit_are_refused(flat: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no HU"):
        open_pack([flat], PackSettings(intensity="hu"))
    whole = (flat / "images" / "a2.png").read_bytes()
    (flat / "images" / "a2.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a2\.png is not a whole picture"):
        imported(flat, tmp_path / "out")
    (flat / "images" / "a2.png").write_bytes(whole)
    write_png(flat / "mask-1" / "b1.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(DataError, match=r"b1\.png has the shape \[8, 8\], its image \[16, 16\]"):
        imported(flat, tmp_path / "out")


def test_inputs_that_are_no_packs(tmp_path: Path, flat: Path, shards: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "bare" / "images").mkdir(parents=True)
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    for inputs, error, message in [
        (["nowhere"], InputError, "No such file or folder: .*nowhere"),
        (["empty"], InputError, "No packed crops in .*empty"),
        (["bare"], InputError, "No folder mask-0 beside"),
        (["text.npz"], DataError, r"text\.npz is not a whole npz file"),
        (["other.npz"], DataError, "has no array images, only x"),
        (["flat", "other.npz"], UsageError, "Folders of images and other inputs are given together"),
        (["shards", "other.npz"], UsageError, "several kinds are given together, plain npz files and shards"),
    ]:
        with pytest.raises(error, match=message):
            open_pack([tmp_path / name for name in inputs], PackSettings())


def test_the_same_seed_gives_the_same_store(shards: Path, tmp_path: Path) -> None:
    stores = [imported(shards, tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert stores[0].content_hash == stores[1].content_hash != stores[2].content_hash
    assert (tmp_path / "a" / "manifest.json").read_bytes() == (tmp_path / "b" / "manifest.json").read_bytes()


def test_the_command(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(shards, "--split", "50,25,25")
    assert result.exit_code == 0, result.output
    assert "data/lidc-128-repack: crops 6, patients 4" in result.stdout
    assert "Note: No table" in result.stderr
    by_patient = dict(
        zip(*(Store.open("data/lidc-128-repack").column(name) for name in ("patient", "split")), strict=True)
    )
    assert sorted(by_patient.values()) == ["test", "train", "train", "val"]
    (tmp_path / "splits.csv").write_text("patient,split\n" + "".join(f"{patient},test\n" for patient in by_patient))
    assert run(shards, "-o", "other", "--split-file", "splits.csv", "--name", "mine").exit_code == 0
    assert set(Store.open("other").column("split")) == {"test"}
    assert Store.open("other").manifest.name == "mine"
    (tmp_path / "splits.csv").write_text("patient,split\nLIDC-IDRI-0001,test\n")
    refused = run(shards, "-o", "third", "--split-file", "splits.csv").exception
    assert "names no split for 3 patients, such as LIDC-IDRI-0002" in str(refused)
    assert not Path("third").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--split", "70,30", "expected shares of train, val and test"),
        ("--split", "0,10,90", "expected shares of train, val and test"),
        ("--class-names", "lesion", "expected two or more different names"),
        ("--class-names", "a,,b", "expected two or more different names"),
    ],
)
def test_options_that_are_not_understood(option: str, value: str, message: str, shards: Path, tmp_path: Path) -> None:
    refused = run(shards, "-o", tmp_path / "out", option, value).exception
    assert isinstance(refused, UsageError)
    assert message in str(refused)


@pytest.mark.real
@pytest.mark.slow
def test_the_real_crops(real_data: Path, tmp_path: Path) -> None:
    """One shard of LIDC-IDRI crops; its table's mask areas are an independent count of the masks' pixels."""
    folder = real_data / "lidc128"
    with gzip.open(folder / "slices.csv.gz", "rt", newline="") as file:
        rows = {(row["patient_id"], row["nodule"], row["slice"]): row for row in csv.DictReader(file)}
    store = imported(folder / "shard_0.npz", tmp_path / "out")
    areas = store.masks(store.rows("all")).sum((2, 3), dtype=int)
    expected = [
        [int(rows[row["patient"], row["lesion"], row["slice"]][f"area_px_{reader}"]) for reader in range(4)]
        for row in store.index
    ]
    assert len(store) == 4307
    assert areas.tolist() == expected
    splits = {(row["patient"], row["split"]) for row in store.index}
    assert len(splits) == len({row["patient"] for row in store.index})


@pytest.mark.real
def test_the_real_cells(real_data: Path, tmp_path: Path) -> None:
    store = imported(real_data / "cells_multireader" / "bubil_128.npz", tmp_path / "out", absent_when_empty=True)
    assert (len(store), store.readers, store.size) == (151, 10, (128, 128))
    nine = store.column("subset") == "2B"
    assert (store.present.sum(1) == np.where(nine, 9, 10)).all()
    assert not store.present[nine, 9].any()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_damaged_byte_of_an_npz_changes_a_crop(tmp_path: Path, save: Callable[..., None]) -> None:
    rng = np.random.default_rng(0)
    images, masks = rng.integers(0, 255, (2, 8, 8)).astype(np.uint8), rng.random((2, 1, 8, 8)) < 0.5
    save(tmp_path / "a.npz", images=images, masks=masks)
    content, refused = (tmp_path / "a.npz").read_bytes(), 0
    for place in range(0, len(content), 3):
        (tmp_path / "a.npz").write_bytes(content[:place] + bytes([content[place] ^ 5]) + content[place + 1 :])
        try:
            crops = list(open_pack([tmp_path / "a.npz"], PackSettings()).crops())
        except (DataError, InputError):
            refused += 1
        else:
            assert all(np.array_equal(crop.image[0], image) for crop, image in zip(crops, images, strict=True))
            assert all(np.array_equal(crop.masks, mask) for crop, mask in zip(crops, masks, strict=True))
    assert refused > len(content) // 6


def test_a_damaged_or_huge_png_is_refused(tmp_path: Path) -> None:
    for folder in ("images", "mask-0"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.random.default_rng(1).integers(0, 2, (30, 30)).astype(np.uint8)).save(
            tmp_path / folder / "a.png"
        )
    path = tmp_path / "images" / "a.png"
    content = path.read_bytes()
    for place in range(41, len(content) - 12, 5):  # the packed pixels and their checksum
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(DataError, match=r"a.png is not a whole picture"):
            list(open_pack([tmp_path], PackSettings()).crops())
    head = b"IHDR" + struct.pack(">II", 60_000, 60_000) + content[24:29]
    path.write_bytes(content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:])
    with pytest.raises(DataError, match=r"a.png claims more pixels than a crop can have"):
        list(open_pack([tmp_path], PackSettings()).crops())


@pytest.fixture
def sizes(tmp_path: Path) -> Path:
    """Two pictures of different sizes, of a bright square on the lesion."""
    root = tmp_path / "sizes"
    for name, (height, width) in {"a": (20, 30), "b": (25, 16)}.items():
        image = np.full((height, width), 7, np.uint8)
        image[8:12, 6:12] = 200
        for folder, array in (("images", image), ("mask-0", (image > 99) * np.uint8(255))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / folder / f"{name}.png")
    return root


@pytest.mark.parametrize(("fit", "size", "marked"), [("pad", 30, 24), ("crop", 16, 24), ("resize", 40, None)])
def test_images_of_different_sizes_are_made_to_fit(fit: Any, size: int, marked: int | None, sizes: Path) -> None:
    asked = size if fit == "resize" else None
    store = imported(sizes, sizes.parent / "out", PackSettings(fit=fit, size=asked))
    images, masks = store.images(np.arange(2))[:, 0], store.masks(np.arange(2))[:, 0]
    assert store.size == (size, size)
    assert images.dtype == np.uint8
    assert (store.manifest.fit, store.manifest.settings["size"]) == (fit, size)
    if marked is not None:
        np.testing.assert_array_equal(images, np.where(masks, 200, 7))
    else:
        assert masks.sum((1, 2)) == pytest.approx([24 * 1600 / 600, 24 * 1600 / 400], rel=0.1)
        assert (images[masks > 0] > 95).mean() > 0.95


def test_sizes_that_do_not_fit_are_named(sizes: Path) -> None:
    out = sizes.parent / "none"
    with pytest.raises(DataError, match="Case b has 25 x 16 pixels, those before it 20 x 30: set `fit`"):
        imported(sizes, out)
    with pytest.raises(UsageError, match="Case a has 20 rows and 30 columns: `fit` pad needs a `size` not below"):
        imported(sizes, out, PackSettings(fit="pad", size=24))
    with pytest.raises(UsageError, match="`fit` crop needs a `size` not above"):
        imported(sizes, out, PackSettings(fit="crop", size=24))
    with pytest.raises(UsageError, match="give `fit` too"):
        imported(sizes, out, PackSettings(size=24))
    with pytest.raises(DataError, match="Expected a name for each of 1 channels, got 2"):
        imported(sizes, out, PackSettings(fit="pad", channel_names=("T1", "T2")))
    assert not out.exists()


def test_channels_have_names(tmp_path: Path) -> None:
    images, masks = made(3, 2)
    np.savez(tmp_path / "rgb.npz", images=np.stack([images] * 3, 1), masks=masks)
    np.savez(tmp_path / "mr.npz", images=np.stack([images] * 2, 1).astype(np.float32), masks=masks)
    colours = imported(tmp_path / "rgb.npz", tmp_path / "a")
    mr = imported(tmp_path / "mr.npz", tmp_path / "b", PackSettings(channel_names=("T1", "FLAIR")))
    assert [channel.name for channel in colours.manifest.channels] == ["red", "green", "blue"]
    assert [channel.name for channel in mr.manifest.channels] == ["T1", "FLAIR"]
