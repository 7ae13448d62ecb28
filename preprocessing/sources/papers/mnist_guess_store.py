"""The MNIST guessing game as a dataset store: drawn rows of each split, and the pool from which training draws more."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import DataError, InputError, UsageError
from ...store.intensity import BYTES
from ...store.store_crop import Crop, StoreInfo
from ...store.store_writer import check_place, write_store
from ..packed.crop_values import SourceReport
from .guessing_game import CATEGORIES, DIGITS, NAME, PROBABILITIES, choose, lay
from .mnist import Digits, hold_out, read_digits

VAL_SHARE, TEST_SHARE = 1 / 12, 1 / 6  # of MNIST's 60,000 training digits: 5,000 and 10,000
TRAIN_ROWS = 1000  # to look at: training draws its own
ATTRIBUTION = "Digits: MNIST (LeCun, Cortes and Burges), from NIST's Special Databases 1 and 3. Game: Qiu and Lui 2020."
TEST_NOTE = "There are no test digits (t10k-*): {count} of the training digits are held out in their place."


@dataclass(frozen=True)
class Pools:
    """Digits that no two splits share; `notes` say what the user should know of them."""

    by_split: Mapping[str, Digits]
    notes: tuple[str, ...] = ()


def preprocess_mnist_guess(
    folder: Path,
    output: Path,
    *,
    seed: int = 0,
    val: int = 1000,
    test: int = 1000,
    on_progress: Callable[[int, int], None] | None = None,
) -> SourceReport:
    """Make a dataset store of the guessing game from MNIST's digits.

    The store holds drawn validation and test images and some training images, each with its four possible answers and their
    probabilities, and the training digits as its pool. Validation digits are held out of MNIST's training digits, one in
    twelve of each. Test digits are MNIST's own.

    Args:
        folder: The folder with MNIST's IDX files.
        output: The store to make.
        seed: Seed of the digits held out and of the images.
        val: Number of validation images.
        test: Number of test images.
        on_progress: Called as `on_progress(done, images)` after each split.

    Raises:
        UsageError: `val` or `test` is below 1.
        InputError: A file is missing.
        DataError: A file is damaged, or the files do not belong together.
    """
    check_place(output)
    if val < 1 or test < 1:
        raise UsageError(f"{val} validation and {test} test images: expected 1 or more of each.")
    streams = np.random.default_rng(seed).spawn(4)
    pools = make_pools(folder, streams[0])
    sizes = {"train": TRAIN_ROWS, "val": val, "test": test}
    counts = {f"{split} digits": len(pools.by_split[split]) for split in sizes}
    pool = pools.by_split["train"]
    info = StoreInfo(
        name=NAME,
        source="the MNIST guessing game: which of four digits is meant",
        intensity=BYTES,
        class_names=("background", "digit"),
        settings={"seed": seed, "val": val, "test": test},
        counts=counts,
        attribution=ATTRIBUTION,
        group="category",
        game=NAME,
    )
    splits = {_case(split, number): split for split, rows in sizes.items() for number in range(rows)}
    with write_store(output, info, splits) as writer:
        writer.put_pool(digits=pool.images, labels=pool.labels)
        for (split, rows), rng in zip(sizes.items(), streams[1:], strict=True):
            for crop in drawn(pools.by_split[split], split, rows, rng):
                writer.add(crop)
            if on_progress is not None:
                on_progress(len(writer.rows), len(splits))
    return SourceReport(output, len(splits), counts, pools.notes)


def make_pools(folder: Path, rng: np.random.Generator) -> Pools:
    """The digits of each split from the IDX files in a folder. Without test files, test digits are held out as well."""
    given, test = read_digits(folder, "train"), read_digits(folder, "t10k")
    if given is None:
        raise InputError(
            f"No MNIST digits in {folder}: expected train-images-idx3-ubyte and train-labels-idx1-ubyte(.gz)."
        )
    rest, val = hold_out(given, VAL_SHARE, rng)
    if test is None:
        rest, test = hold_out(rest, TEST_SHARE, rng)
        return Pools({"train": rest, "val": val, "test": test}, (TEST_NOTE.format(count=len(test)),))
    if test.images.shape[1:] != given.images.shape[1:]:
        raise DataError(
            f"Training digits have {_shape(given)} pixels, test digits {_shape(test)}: "
            "get the four files of one data set."
        )
    return Pools({"train": rest, "val": val, "test": test})


def drawn(digits: Digits, split: str, count: int, rng: np.random.Generator) -> Iterator[Crop]:
    """Rows of a split: images of random categories, with the positions of their digits in their file.

    Each image counts as a patient of its own, since it resembles no other one more than the rest.
    """
    categories = rng.integers(len(CATEGORIES), size=count)
    chosen = choose(digits.labels, categories, rng)
    images, masks = lay(digits.images[chosen])
    for number, category in enumerate(categories):
        yield Crop(
            image=images[number],
            masks=masks[number],
            patient=_case(split, number),
            case=_case(split, number),
            mask_probabilities=PROBABILITIES[category],
            provenance={
                "category": CATEGORIES[category],
                "digits": ";".join(map(str, DIGITS[category])),
                "positions": ";".join(map(str, digits.positions[chosen[number]])),
            },
        )


def _case(split: str, number: int) -> str:
    return f"{split}-{number:05d}"


def _shape(digits: Digits) -> str:
    return "x".join(map(str, digits.images.shape[1:]))
