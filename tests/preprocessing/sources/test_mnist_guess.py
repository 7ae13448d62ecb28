"""The MNIST guessing game: IDX files read and refused, the game against its slow definition, and the resulting store."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.sources.papers.guessing_game import (
    CATEGORIES,
    DIGITS,
    PROBABILITIES,
    draw_examples,
    example_drawer,
)
from ambiseg.preprocessing.sources.papers.mnist import hold_out, read_digits, read_idx
from ambiseg.preprocessing.sources.papers.mnist_guess_store import preprocess_mnist_guess
from ambiseg.preprocessing.store.store import Store, pool_file

SIDE = 4
EVERY_DIGIT = np.repeat(np.arange(10, dtype=np.uint8), 6)


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def marked_digits(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Digits [N, 4, 4] that show which they are: the first pixel is 200 + the digit, the last 100 + the digit."""
    digits = np.zeros((len(labels), SIDE, SIDE), np.uint8)
    digits[:, 0, 0], digits[:, -1, -1] = 200 + labels, 100 + labels
    return digits


def write_part(folder: Path, part: str, labels: NDArray[np.uint8], dot: str = "-", packed: bool = False) -> None:
    folder.mkdir(exist_ok=True)
    for name, array in (
        (f"{part}-images{dot}idx3-ubyte", marked_digits(labels)),
        (f"{part}-labels{dot}idx1-ubyte", labels),
    ):
        content = idx_bytes(array)
        (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixty training and forty test digits, in IDX files with the official names."""
    write_part(tmp_path / "idx", "train", np.random.default_rng(0).permutation(EVERY_DIGIT))
    write_part(tmp_path / "idx", "t10k", np.random.default_rng(1).permutation(np.arange(40, dtype=np.uint8) % 10))
    return tmp_path / "idx"


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 4, 4)])
def test_idx_files_come_out_as_they_went_in(shape: tuple[int, ...], tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    (tmp_path / "raw").write_bytes(idx_bytes(array))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(idx_bytes(array)))
    for name in ("raw", "packed.gz"):
        np.testing.assert_array_equal(read_idx(tmp_path / name), array)


def test_damaged_idx_files_are_told(tmp_path: Path) -> None:
    whole = idx_bytes(np.zeros((2, 3, 4), np.uint8))
    for content, message in (
        (b"\x89PNG" + whole, "does not begin as an IDX file does"),
        (whole[:3], "does not begin as an IDX file does"),
        (bytes((0, 0, 13)) + whole[3:], r"holds numbers of the IDX type 13: expected unsigned bytes \(type 8\)"),
        (whole[:9], "is cut off within its header"),
        (whole[:-1], "has 39 bytes where its header says 40"),
        (whole + b"\0", "has 41 bytes where its header says 40"),
    ):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_idx(tmp_path / "file")
    packed = gzip.compress(whole)
    damaged = bytearray(packed)
    damaged[15] ^= 0xFF
    for content in (whole, packed[:-4], bytes(damaged)):
        (tmp_path / "file.gz").write_bytes(content)
        with pytest.raises(DataError, match=r"file\.gz is not a whole gzip file"):
            read_idx(tmp_path / "file.gz")


@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("packed", [False, True])
def test_digits_are_found_under_their_usual_names(dot: str, packed: bool, tmp_path: Path) -> None:
    write_part(tmp_path, "train", EVERY_DIGIT, dot, packed)
    digits = read_digits(tmp_path, "train")
    assert digits is not None
    np.testing.assert_array_equal(digits.labels, EVERY_DIGIT)
    np.testing.assert_array_equal(digits.images[:, 0, 0] - 200, EVERY_DIGIT)
    assert read_digits(tmp_path, "t10k") is None


def test_digits_that_do_not_belong_together_are_told(folder: Path) -> None:
    labels = folder / "train-labels-idx1-ubyte"
    for wrong, message in (
        (EVERY_DIGIT[:-1], "train-images-idx3-ubyte holds 60 digits, train-labels-idx1-ubyte 59 labels"),
        (EVERY_DIGIT + 1, r"holds the labels \[1, 2, 3, 4, 5, 6, 7, 8, 9, 10\]: expected every digit from 0 to 9"),
        (EVERY_DIGIT[:, None], "have 3 and 2 axes: expected 3 and 1"),
    ):
        labels.write_bytes(idx_bytes(wrong))
        with pytest.raises(DataError, match=message):
            read_digits(folder, "train")
    labels.unlink()
    with pytest.raises(InputError, match=r"lacks train-labels-idx1-ubyte\(\.gz\)"):
        read_digits(folder, "train")


def test_digits_held_out_are_a_share_of_each(folder: Path) -> None:
    digits = read_digits(folder, "train")
    assert digits is not None
    rest, held = hold_out(digits, 1 / 3, np.random.default_rng(0))
    assert np.bincount(rest.labels).tolist() == [4] * 10
    assert np.bincount(held.labels).tolist() == [2] * 10
    assert sorted([*rest.positions, *held.positions]) == list(range(60))
    np.testing.assert_array_equal(digits.labels[held.positions], held.labels)
    with pytest.raises(DataError, match="too few examples of the digit 0"):
        hold_out(
            rest.at(np.flatnonzero((rest.labels > 0) | (np.arange(40) == np.argmin(rest.labels)))),
            0.5,
            np.random.default_rng(0),
        )


def slow_mosaic(parts: NDArray[np.uint8], bright: bool) -> NDArray[np.uint8]:
    """Four digits in reading order, by the definition; or, for each, its bright pixels alone."""
    blank = np.zeros_like(parts[0])
    if not bright:
        return np.block([[parts[0], parts[1]], [parts[2], parts[3]]])
    shown = [[part > 127 if place == only else blank for place, part in enumerate(parts)] for only in range(4)]
    return np.array([np.block([[row[0], row[1]], [row[2], row[3]]]) for row in shown]).astype(np.uint8)


def test_an_image_is_the_four_digits_of_its_category() -> None:
    rng = np.random.default_rng(2)
    labels = rng.permutation(EVERY_DIGIT)
    digits = rng.integers(0, 256, (60, SIDE, SIDE), np.uint8)
    digits[:, 0, 0] = np.arange(60)  # names the digit
    images, masks, odds = draw_examples(digits, labels, 40, rng)
    assert (images.shape, masks.shape, odds.shape) == ((40, 1, 8, 8), (40, 4, 8, 8), (40, 4))
    assert images.dtype == masks.dtype == np.uint8
    for image, mask, probabilities in zip(images[:, 0], masks, odds, strict=True):
        chosen = image[[0, 0, SIDE, SIDE], [0, SIDE, 0, SIDE]]
        (category,) = np.flatnonzero((labels[chosen] == DIGITS).all(1))
        np.testing.assert_array_equal(probabilities, PROBABILITIES[category])
        np.testing.assert_array_equal(image, slow_mosaic(digits[chosen], bright=False))
        np.testing.assert_array_equal(mask, slow_mosaic(digits[chosen], bright=True))


def test_the_papers_odds() -> None:
    game = {
        name: dict(zip(digits.tolist(), odds.tolist(), strict=True))
        for name, digits, odds in zip(CATEGORIES, DIGITS, PROBABILITIES, strict=True)
    }
    assert game == {
        "A": {1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25},
        "B": {3: 0.1, 4: 0.4, 5: 0.1, 6: 0.4},
        "C": {5: 0.3, 6: 0.5, 7: 0.1, 8: 0.1},
        "D": {7: 0.1, 8: 0.1, 9: 0.1, 0: 0.7},
    }


def test_categories_and_digits_come_equally_often() -> None:
    labels = np.repeat(np.arange(10, dtype=np.uint8), np.arange(1, 11) * 3)  # unequal numbers of examples
    digits = np.zeros((len(labels), 2, 2), np.uint8)
    digits[:, 0, 0] = np.arange(len(labels))
    images, _, odds = draw_examples(digits, labels, 20_000, np.random.default_rng(0))
    categories = [(odds == known).all(1).mean() for known in PROBABILITIES]
    np.testing.assert_allclose(categories, 0.25, atol=0.012)  # 4 standard deviations
    second = images[
        (odds == PROBABILITIES[0]).all(1), 0, 0, 2
    ]  # category A's second digit is a 2, of which there are nine
    np.testing.assert_allclose(np.bincount(second)[9:18] / len(second), 1 / 9, atol=0.018)
    assert set(labels[second]) == {2}


def test_same_generator_same_examples() -> None:
    digits = marked_digits(EVERY_DIGIT)
    first, again = (draw_examples(digits, EVERY_DIGIT, 5, np.random.default_rng(3)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_store_holds_drawn_rows_and_the_pool(folder: Path, tmp_path: Path) -> None:
    report = preprocess_mnist_guess(folder, tmp_path / "out", val=30, test=20)
    store = Store.open(report.store)
    assert (len(store.rows("train")), len(store.rows("val")), len(store.rows("test"))) == (1000, 30, 20)
    assert (store.size, store.channels, store.readers, store.class_names) == ((8, 8), 1, 4, ("background", "digit"))
    assert (store.manifest.known_odds, store.manifest.group, store.manifest.deal) == (True, "category", "mnist-guess")
    assert not list(store.damaged())
    rows = store.rows("all")
    images, masks = store.images(rows), store.masks(rows)
    shown = images[:, 0][:, [0, 0, SIDE, SIDE], [0, SIDE, 0, SIDE]] - 200
    for category, digits, odds in zip(CATEGORIES, DIGITS, PROBABILITIES, strict=True):
        here = store.column("category") == category
        assert 0 < here.sum() < len(rows)
        np.testing.assert_array_equal(shown[here], np.tile(digits, (here.sum(), 1)))
        np.testing.assert_array_equal(store.truth.probabilities(rows)[here], np.tile(odds, (here.sum(), 1)))
    assert (masks.sum((2, 3)) == 1).all()  # the digit's bright first pixel, not its darker last one
    np.testing.assert_array_equal(masks.sum(1)[:, ::SIDE, ::SIDE], 1)


def used_digits(store: Store, split: str) -> set[str]:
    """The positions, in their file, of the digits that a split's rows show."""
    return {position for row in store.rows(split) for position in store.index[row]["positions"].split(";")}


def test_no_digit_is_in_two_splits(folder: Path, tmp_path: Path) -> None:
    """Test digits are of another file; validation digits are held out of the training ones."""
    report = preprocess_mnist_guess(folder, tmp_path / "out", val=200, test=20)
    store = Store.open(report.store)
    used = {split: used_digits(store, split) for split in ("train", "val")}
    assert used["train"] | used["val"] == {str(position) for position in range(60)}
    assert used["train"].isdisjoint(used["val"])
    assert report.counts == {"train digits": 50, "val digits": 10, "test digits": 40}
    with np.load(pool_file(store)) as pool:
        assert np.bincount(pool["labels"]).tolist() == [5] * 10
        np.testing.assert_array_equal(pool["digits"], marked_digits(pool["labels"]))


def test_training_draws_from_the_pool(folder: Path, tmp_path: Path) -> None:
    store = Store.open(preprocess_mnist_guess(folder, tmp_path / "out", val=1, test=1).store)
    images, masks, odds = example_drawer(store)(7, np.random.default_rng(0))
    assert (images.shape, masks.shape, odds.shape) == ((7, 1, 8, 8), (7, 4, 8, 8), (7, 4))
    np.testing.assert_allclose(odds.sum(1), 1)


def test_without_test_files_test_digits_are_held_out(folder: Path, tmp_path: Path) -> None:
    for file in folder.glob("t10k-*"):
        file.unlink()
    report = preprocess_mnist_guess(folder, tmp_path / "out", val=5, test=100)
    assert report.counts == {"train digits": 40, "val digits": 10, "test digits": 10}
    assert report.notes == (
        "There are no test digits (t10k-*): 10 of the training digits are held out in their place.",
    )
    store = Store.open(report.store)
    assert used_digits(store, "test").isdisjoint(used_digits(store, "train"))


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    hashes = [
        Store.open(preprocess_mnist_guess(folder, tmp_path / name, seed=seed, val=3, test=3).store).content_hash
        for name, seed in (("one", 5), ("two", 5), ("three", 6))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_cannot_be_used_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No MNIST digits in .*: expected train-images-idx3-ubyte"):
        preprocess_mnist_guess(tmp_path, tmp_path / "out")
    with pytest.raises(UsageError, match="0 validation and 5 test images: expected 1 or more of each"):
        preprocess_mnist_guess(folder, tmp_path / "out", val=0, test=5)
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((40, 5, 5), np.uint8)))
    with pytest.raises(DataError, match="Training digits have 4x4 pixels, test digits 5x5"):
        preprocess_mnist_guess(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command(folder: Path, tmp_path: Path, ambiseg: Callable[..., tuple[int, str, str]]) -> None:
    for file in folder.glob("t10k-*"):
        file.unlink()
    code, out, err = ambiseg("preprocess", "mnist-guess", folder, "-o", tmp_path / "out", "--val", 2, "--test", 2)
    assert (code, out) == (0, f"{tmp_path / 'out'}: images 1004, training digits 40\n")
    assert "Note: There are no test digits (t10k-*)" in err
