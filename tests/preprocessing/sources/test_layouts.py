"""Crops as image files in folders: the layouts that many have, users' patterns, and what fits nothing or two things."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ambiseg.preprocessing.errors import AmbisegError, DataError, InputError, UsageError
from ambiseg.preprocessing.sources.packed.kinds import open_pack
from ambiseg.preprocessing.sources.packed.layout import layout_of
from ambiseg.preprocessing.sources.packed.pack import PackSettings
from ambiseg.preprocessing.sources.packed.packed_store import write_packed
from ambiseg.preprocessing.store.store import Store

SIZE = 16
RNG = np.random.default_rng(2)


def image() -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (SIZE, SIZE), np.uint8)


def mask() -> NDArray[np.uint8]:
    """White blocks of 8 x 8, which JPEG keeps."""
    return np.kron(RNG.integers(0, 2, (2, 2), np.uint8), np.full((8, 8), 255, np.uint8))


def put(path: Path, pixels: NDArray[Any]) -> NDArray[Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        nib.save(nib.Nifti1Image(pixels, np.eye(4)), path)
    else:
        Image.fromarray(pixels).save(path)
    return pixels


def imported(source: Path | list[Path], out: Path, *layout: str, **options: Any) -> tuple[Store, str]:
    settings = PackSettings(layout=layout, **options)
    inputs = source if isinstance(source, list) else [source]
    report = write_packed(open_pack(inputs, settings), out, settings)
    return Store.open(report.store), "\n".join(report.notes)


def test_hpu_nets_layout(tmp_path: Path) -> None:
    drawn = {}
    for number, split in enumerate(("train", "train", "val", "test")):
        top, patient, name = tmp_path / "in" / split, f"LIDC-IDRI-000{number}", "z-105.5_c0"
        put(top / "images" / patient / f"{name}.png", image())
        for reader in range(4):
            drawn[patient, reader] = put(top / "gt" / patient / f"{name}_l{reader}.png", mask())
    store, notes = imported(tmp_path / "in", tmp_path / "out")
    for row in store.index:
        expected = [drawn[row.patient, reader] > 0 for reader in range(4)]
        np.testing.assert_array_equal(store.masks(np.array([int(row["row"])]))[0], expected)
    assert {row.patient: row.split for row in store.index}["LIDC-IDRI-0002"] == "val"
    assert (store.index[0].z_mm, store.readers, len(store)) == (-105.5, 4, 4)
    assert "4 crops of 4 patients of LIDC-IDRI; the published set has 12,816" in notes
    assert "own split is kept: train 2, val 1, test 1 crops" in notes


def test_cimds_layout_in_jpeg(tmp_path: Path) -> None:
    drawn = []
    for split, case in (("training", 0), ("training", 1), ("testing", 2)):
        folder = tmp_path / "in" / split / str(case)
        put(folder / f"image_{case + 1}.jpg", image())
        drawn += [[put(folder / f"label{reader}_.jpg", mask()) for reader in range(4) if (case, reader) != (1, 2)]]
    store, notes = imported(tmp_path / "in", tmp_path / "out")
    cases = [int(case) for case in store.column("case")]
    assert (cases, [row.split for row in store.index if row["case"] == "2"]) == ([2, 0, 1], ["test"])
    np.testing.assert_array_equal(store.masks(np.arange(2)), np.array([drawn[2], drawn[0]]) > 0)
    assert store.present.tolist() == [[True] * 4, [True] * 4, [True, True, False, True]]
    assert "The patients of 3 images are not given" in notes
    assert "1 mask files are not there" in notes
    assert "This split has no val" in notes


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (SIZE, SIZE, 1), (SIZE, SIZE, 3)])
def test_qubiqs_layout(shape: tuple[int, ...], tmp_path: Path) -> None:
    for number, split in enumerate(("Training", "Training", "Validation", "Training")):
        folder = tmp_path / "in" / split / f"case0{number}"
        put(folder / "image.nii.gz", RNG.random(shape).astype(np.float32))
        for reader in range(3):
            put(folder / f"task01_seg0{reader + 1}.nii.gz", (mask() > 0).astype(np.uint8))
    store, notes = imported(tmp_path / "in", tmp_path / "out")
    assert (len(store), store.readers, store.channels) == (4, 3, 3 if shape[-1] == 3 else 1)
    assert [row["case"] for row in store.index if row.split == "val"] == ["case02"]
    assert "own split is kept: train 3, val 1 crops" in notes


def test_tasks_of_qubiq_are_not_mixed(tmp_path: Path) -> None:
    for case in ("case1", "case2"):
        put(tmp_path / case / "image.nii.gz", image())
        put(tmp_path / case / "task01_seg01.nii.gz", (mask() > 0).astype(np.uint8))
        put(tmp_path / case / "task02_seg01.nii.gz", np.zeros((SIZE, SIZE), np.uint8))
    with pytest.raises(UsageError, match=r"tasks 01, 02, which are different things: choose one with `layout`"):
        open_pack([tmp_path], PackSettings())
    store, _ = imported(tmp_path, tmp_path.parent / "out", "{case}/image.nii.gz;{case}/task02_seg{reader}.nii.gz")
    assert (len(store), store.masks(np.arange(2)).any()) == (2, False)


def test_a_volume_is_no_crop(tmp_path: Path) -> None:
    put(tmp_path / "case1" / "image.nii.gz", np.zeros((SIZE, SIZE, 20), np.int16))
    put(tmp_path / "case1" / "task01_seg01.nii.gz", np.zeros((SIZE, SIZE, 20), np.uint8))
    with pytest.raises(DataError, match="has 20 slices: expected an image of one; use `ambiseg preprocess nifti`"):
        imported(tmp_path, tmp_path.parent / "out")


PATTERNS = ("{split}/{patient}/image_{slice}.png", "{split}/{patient}/mask_{slice}_{reader}.png")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Two patients in three splits, with slices a_1 and a_2 and the readers anna and ben."""
    for split in ("train", "val", "test"):
        for patient in ("p", "q"):
            for name in ("a_1", "a_2"):
                folder = tmp_path / "mine" / split / f"{patient}-{split}"
                put(folder / f"image_{name}.png", image())
                for reader in ("anna", "ben"):
                    put(folder / f"mask_{name}_{reader}.png", mask())
    return tmp_path / "mine"


@pytest.mark.parametrize("layout", [PATTERNS, ("; ".join(PATTERNS),)])
def test_patterns_of_a_users_own(layout: tuple[str, ...], mine: Path, tmp_path: Path) -> None:
    store, notes = imported(mine, tmp_path / "out", *layout)
    assert (len(store), store.readers) == (12, 2)
    assert {(row.patient, row.split) for row in store.index} == {
        (f"{name}-{split}", split) for name in "pq" for split in ("train", "val", "test")
    }
    assert sorted(set(store.column("slice"))) == ["1", "2"]
    assert store.reader_names == ("anna", "ben")
    assert notes.startswith("The store keeps who drew: anna, ben.")
    assert notes.endswith("The data's own split is kept: train 4, val 4, test 4 crops.")
    first = store.index[0]["file"]
    np.testing.assert_array_equal(store.images(np.array([0]))[0, 0], np.asarray(Image.open(mine / first)))
    drawn = np.asarray(Image.open(mine / first.replace("image_", "mask_").replace(".png", "_ben.png")))
    np.testing.assert_array_equal(store.masks(np.array([0]))[0, 1], drawn > 0)


@pytest.mark.parametrize("pattern", ["{patient}/{reader}.png", "{patient}/image.png"])
def test_one_pattern_for_both(pattern: str, tmp_path: Path) -> None:
    for case in ("c1", "c2", "c3"):
        for reader in ("image", "anna", "imagesque"):
            put(tmp_path / "in" / case / f"{reader}.png", image() if reader == "image" else mask())
    store, _ = imported(tmp_path / "in", tmp_path / "out", pattern)
    assert (len(store), store.readers) == (3, 2)


def test_a_pattern_of_the_patient_counts_before_the_layout(mine: Path, tmp_path: Path) -> None:
    store, _ = imported(mine, tmp_path / "out", *PATTERNS, patient_pattern="/(.)-")
    assert set(store.column("patient")) == {"p", "q"}


def test_images_and_masks_without_each_other_are_left_out_and_said(mine: Path, tmp_path: Path) -> None:
    put(mine / "train" / "p-train" / "image_b_3.png", image())
    put(mine / "train" / "p-train" / "mask_c_4_ben.png", mask())
    store, notes = imported(mine, tmp_path / "out", *PATTERNS)
    assert len(store) == 12
    assert "1 image for which there is no mask, such as train/p-train/image_b_3.png" in notes
    assert "1 mask for which there is no image, such as train/p-train/mask_c_4_ben.png" in notes


@pytest.mark.parametrize(
    ("layout", "error", "message"),
    [
        (("{patient}/x_{slice}.png", "y_{slice}_{reader}.png"), InputError, "fits the pattern of the images"),
        (("{split}/{patient}/image_{slice}.png", "{split}/{patient}/y_{reader}"), InputError, "fits the pattern of the masks"),
        (("{split}/{patient}/{slice}.png", PATTERNS[1]), UsageError, "fits both patterns"),
        (("{split}/*/image_{slice}.png", "{split}/*/mask_{slice}_{reader}.png"), DataError, "masks would belong to both"),
        ((PATTERNS[0], "{split}/{patient}/mask_*_{slice}_{reader:a|b}*.png"), InputError, "no mask belongs to an image"),
        ((*PATTERNS, "{reader}"), UsageError, "one pattern of the images and one of the masks"),
        (("{split}/{patient}/x_{slice}.png",), UsageError, "one pattern of the images and one of the masks"),
        (("{patient/x.png", "{reader}.png"), UsageError, "a brace without its partner"),
        (("{who}.png", "{reader}.png"), UsageError, "a field 'who': expected one of split, patient"),
        (("{slice:[}.png", "{reader}.png"), UsageError, "an expression that is none"),
    ],
)  # fmt: skip
def test_layouts_that_fit_nothing_or_two_things(
    layout: tuple[str, ...], error: type[AmbisegError], message: str, mine: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        imported(mine, tmp_path / "out", *layout)
    assert not (tmp_path / "out").exists()


def test_two_masks_of_one_reader_are_refused(mine: Path, tmp_path: Path) -> None:
    put(mine / "train" / "p-train" / "mask_a_1_ben.jpg", mask())
    with pytest.raises(DataError, match="are both the mask of reader ben"):
        imported(mine, tmp_path / "out", PATTERNS[0], "{split}/{patient}/mask_{slice}_{reader}.*")


def test_folders_that_fit_two_layouts_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "images" / "p" / "1.png", image())
    put(tmp_path / "gt" / "p" / "1_l0.png", mask())
    put(tmp_path / "mask-0" / "p" / "1.png", mask())
    with pytest.raises(UsageError, match=r"fit HPU-Net's layout and images/ and mask-0/.*: say with `layout` which"):
        open_pack([tmp_path], PackSettings())


def test_a_mask_of_another_size_is_named(mine: Path, tmp_path: Path) -> None:
    put(mine / "train" / "p-train" / "mask_a_1_ben.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match=r"mask_a_1_ben\.png has the shape \[4, 4\], its image \[16, 16\]"):
        imported(mine, tmp_path / "out", *PATTERNS)


def test_a_star_and_expressions_in_a_pattern() -> None:
    layout = layout_of(["{case:[0-9]{2}}/*.png", "{case:[0-9]{2}}/m{reader}"])
    assert layout.image.fullmatch("12/a.png")
    assert not layout.image.fullmatch("123/a.png")
    assert not layout.image.fullmatch("12/a/b.png")
