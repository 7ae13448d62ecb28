"""Who drew: names of readers in npz, HDF5, tables and file names reach the store, each at one place among the masks."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.sources.nifti.nifti_crops import NiftiSettings
from ambiseg.preprocessing.sources.nifti.nifti_store import preprocess_nifti
from ambiseg.preprocessing.sources.packed.kinds import open_pack
from ambiseg.preprocessing.sources.packed.pack import Naming, PackSettings
from ambiseg.preprocessing.sources.packed.packed_store import write_packed
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_card import crops_by_reader

SIZE, IMAGES = 12, 6


def masks_of(readers: int) -> NDArray[np.uint8]:
    """Masks [N, R, H, W] that tell who drew: reader number r of image n marks n + 1 pixels of row r."""
    masks = np.zeros((IMAGES, readers, SIZE, SIZE), np.uint8)
    for image in range(IMAGES):
        for reader in range(readers):
            masks[image, reader, reader, : image + 1] = 1
    return masks


def imported(path: Path, naming: Naming = "auto", **arrays: NDArray) -> Store:
    """A store of an npz file of six images with these arrays."""
    images = np.random.default_rng(0).integers(0, 255, (IMAGES, SIZE, SIZE), np.uint8)
    np.savez(path / "mine.npz", images=images, **arrays)
    return opened(path, path / "mine.npz", naming=naming)


def opened(path: Path, *inputs: Path, naming: Naming = "auto") -> Store:
    settings = PackSettings(readers=naming)
    write_packed(open_pack(inputs, settings), path / "store", settings)
    return Store.open(path / "store")


def test_names_for_all_images(tmp_path: Path) -> None:
    store = imported(tmp_path, masks=masks_of(2), readers=np.array(["ben", "anna"]))
    assert store.reader_names == ("anna", "ben")  # in their natural order, and the masks with them
    np.testing.assert_array_equal(store.masks(np.arange(IMAGES)), masks_of(2)[:, ::-1])
    assert store.manifest.same_readers
    assert crops_by_reader(store) == {"anna": 6, "ben": 6}
    assert "| anna | 6 |" in (store.path / "README.md").read_text()


def test_names_for_each_image_give_every_reader_one_place(tmp_path: Path) -> None:
    names = [["ben", "anna"], ["carl", "ben"], ["anna", "carl"], ["ben", ""], ["", "anna"], ["ben ", "anna"]]
    store = imported(tmp_path, masks=masks_of(2), readers=np.array(names))
    assert store.reader_names == ("anna", "ben", "carl", "")
    for row, drawn in enumerate(names):
        assert store.present[row].sum() == 2
        for number, name in enumerate(drawn):
            place = store.reader_names.index(name.strip())
            np.testing.assert_array_equal(store.masks(np.array([row]))[0, place], masks_of(2)[row, number])
    assert crops_by_reader(store) == {"anna": 4, "ben": 4, "carl": 2}
    assert not store.manifest.same_readers  # the place without a name may be anybody's


def test_an_absent_reader_needs_no_place(tmp_path: Path) -> None:
    masks = masks_of(2).astype(np.float32)
    masks[1, 1] = np.nan
    names = np.array([["anna", "ben"], ["anna", ""], *[["anna", "ben"]] * 4])
    assert imported(tmp_path, masks=masks, readers=names).reader_names == ("anna", "ben")
    present = np.ones((IMAGES, 2), bool)
    present[1, 1] = False
    store = imported(tmp_path, masks=masks_of(2), readers=names, present=present)
    assert store.reader_names == ("anna", "ben")
    np.testing.assert_array_equal(store.present, present)


def test_numbers_are_names_only_if_the_user_says_so(tmp_path: Path) -> None:
    assert imported(tmp_path, masks=masks_of(2)).reader_names == ()
    assert imported(tmp_path, "named", masks=masks_of(2)).reader_names == ("reader_1", "reader_2")
    assert imported(tmp_path, "anonymous", masks=masks_of(2), readers=np.array(["a", "b"])).reader_names == ()
    names = np.array([["a", "b"], *[["b", "c"]] * 5])
    store = imported(tmp_path, "anonymous", masks=masks_of(2), readers=names)
    assert (store.reader_names, store.readers) == ((), 2)


def test_names_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="image 0 has 2 masks of reader 'anna': keep one of them"):
        imported(tmp_path, masks=masks_of(2), readers=np.array(["anna", "anna"]))
    with pytest.raises(
        DataError, match=r"readers is <U1 of shape \[3\]; expected texts or whole numbers \[R\] or \[N, R\]"
    ):
        imported(tmp_path, masks=masks_of(2), readers=np.array(["a", "b", "c"]))
    with pytest.raises(DataError, match="is not a line of at most 100 characters"):
        imported(tmp_path, masks=masks_of(2), readers=np.array(["a\nb", "c"]))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("by_image", [False, True])
def test_names_in_hdf5(by_image: bool, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    names = [b"ben", b"anna"]
    with h5py.File(tmp_path / "mine.hdf5", "w") as file:
        for split in ("train", "val", "test"):
            group = file.create_group(split)
            group["images"] = np.full((IMAGES, SIZE, SIZE), ["train", "val", "test"].index(split), np.uint8)
            group["labels"] = masks_of(2).transpose(0, 2, 3, 1)
            group["readers"] = [names, *[names[::-1]] * (IMAGES - 1)] if by_image else names
    store = opened(tmp_path, tmp_path / "mine.hdf5")
    assert store.reader_names == ("anna", "ben")
    expected = masks_of(2)[:, ::-1].copy()
    expected[1:] = masks_of(2)[1:] if by_image else expected[1:]
    np.testing.assert_array_equal(store.masks(np.arange(IMAGES)), expected)


def test_numbered_folders_are_anonymous_and_named_ones_are_not(tmp_path: Path) -> None:
    for name in ("mask-anna", "mask-ben", "images"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for number in range(IMAGES):
            Image.fromarray(np.full((SIZE, SIZE), 255 * (number % 2), np.uint8)).save(
                tmp_path / "mine" / name / f"{number}.png"
            )
    assert opened(tmp_path, tmp_path / "mine").reader_names == ("anna", "ben")
    for number, name in enumerate(("anna", "ben")):
        (tmp_path / "mine" / f"mask-{name}").rename(tmp_path / "mine" / f"mask-{number}")
    assert opened(tmp_path, tmp_path / "mine").reader_names == ()
    assert opened(tmp_path, tmp_path / "mine", naming="named").reader_names == ("reader_0", "reader_1")


def volume(path: Path, pixels: int) -> None:
    """A volume with so many marked pixels in its only row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros((SIZE, SIZE, 1), np.uint8)
    array[5, 4 : 4 + pixels] = 1
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)


TABLES = {
    "names beside the masks": "case,image,mask_1,reader_1,mask_2,reader_2\n"
    "a,i.nii,1.nii,ben,2.nii,anna\nb,i.nii,3.nii,carl,,\nc,i.nii,1.nii,anna,3.nii,\n",
    "one row for each mask": "case,image,mask,reader\n"
    "a,i.nii,1.nii,ben\na,i.nii,2.nii,anna\nb,i.nii,3.nii,carl\nc,i.nii,1.nii,anna\nc,i.nii,3.nii,\n",
}


@pytest.mark.parametrize("kind", TABLES)
def test_names_in_a_table(kind: str, tmp_path: Path) -> None:
    for pixels in (1, 2, 3):
        volume(tmp_path / f"{pixels}.nii", pixels)
    volume(tmp_path / "i.nii", 4)
    (tmp_path / "cases.csv").write_text(TABLES[kind])
    report = preprocess_nifti(
        tmp_path / "cases.csv", tmp_path / "store", NiftiSettings(size=SIZE, whole=True), allow_duplicates=True
    )
    store = Store.open(report.store)
    assert store.reader_names == ("anna", "ben", "carl", "")
    drawn = {row["case"]: store.masks(np.array([number]))[0].sum((1, 2)) for number, row in enumerate(store.index)}
    assert {case: counts.tolist() for case, counts in drawn.items()} == {
        "a": [2, 1, 0, 0],
        "b": [0, 0, 3, 0],
        "c": [1, 0, 0, 3],
    }
    assert next(note for note in report.notes if "who drew" in note).startswith(
        "The store keeps who drew: anna, ben, carl, and 1 mask without a name."
    )


def test_a_case_in_several_rows_that_differ(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("case,image,mask,reader\na,i.nii,1.nii,ben\na,j.nii,2.nii,anna\n")
    with pytest.raises(DataError, match=r"line 3, column 'image': case 'a' has 'j.nii' here and 'i.nii' before"):
        preprocess_nifti(tmp_path / "cases.csv", tmp_path / "store", NiftiSettings())


def test_names_of_files(tmp_path: Path) -> None:
    for case in ("a", "b", "c"):
        volume(tmp_path / "in" / case / "image.nii", 4)
        volume(tmp_path / "in" / case / "reader_anna.nii", 3)
        volume(tmp_path / "in" / case / "reader_2.nii", 2)
    for readers, expected in (("auto", ("reader_2", "anna")), ("anonymous", ())):
        report = preprocess_nifti(
            tmp_path / "in", tmp_path / "store", NiftiSettings(size=SIZE), allow_duplicates=True, readers=readers
        )
        assert Store.open(report.store).reader_names == expected


def test_a_store_of_an_earlier_version_has_no_names(tmp_path: Path) -> None:
    store = imported(tmp_path, masks=masks_of(2), readers=np.array(["anna", "ben"]))
    content = json.loads((store.path / "manifest.json").read_text())
    before = store.content_hash
    del content["reader_names"]
    (store.path / "manifest.json").write_text(json.dumps(content))
    again = Store.open(store.path)
    assert (again.reader_names, crops_by_reader(again)) == ((), {})
    assert again.content_hash == before
    content["reader_names"] = ["anna", "ben", "carl"]
    (store.path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="`reader_names` as many as readers' masks, 2"):
        Store.open(store.path)
