"""How far readers agree: Fleiss' own kappa, pairs that are known, and readers who were absent."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ambiseg.models.scoring.agreement import agreement, fleiss_kappa, readers_agreement
from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.store.intensity import BYTES
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store

# The table of https://en.wikipedia.org/wiki/Fleiss'_kappa: 14 raters, ten subjects, five categories; kappa .210.
PUBLISHED = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def test_kappa_of_a_published_table() -> None:
    assert fleiss_kappa(np.array(PUBLISHED)) == pytest.approx(0.210, abs=5e-4)


def test_kappa_at_its_ends_and_with_absent_raters() -> None:
    assert fleiss_kappa(np.array([[3, 0], [0, 3]])) == 1
    assert fleiss_kappa(np.array([[1, 1], [1, 1]])) == -1
    assert np.isnan(fleiss_kappa(np.array([[3, 0], [2, 0]])))  # one category alone
    assert np.isnan(fleiss_kappa(np.array([[1, 0]])))
    assert fleiss_kappa(np.array([[3, 0], [0, 2], [1, 0]])) == 1  # who reads alone says nothing


def made_store(path: Path) -> Store:
    """Three images: readers draw 4 and 16 pixels; one of them nothing; the second reader is absent."""
    masks = np.zeros((3, 2, 8, 8), np.uint8)
    masks[0, 0, :2, :2] = masks[0, 1, :4, :4] = masks[1, 0, :3, :3] = masks[2, 0, :2, :2] = 1
    present = [[True, True], [True, True], [True, False]]
    with write_store(path, StoreInfo("made", "an example", BYTES, spacing_mm=0.5), {"p": "train"}) as writer:
        for case, (some, here) in enumerate(zip(masks, present, strict=True)):
            image = np.full((1, 8, 8), case, np.uint8)
            writer.add(Crop(image, some, patient="p", case=str(case), present=np.array(here)))
    return Store.open(path)


def test_readers_of_a_store(tmp_path: Path) -> None:
    found = readers_agreement(made_store(tmp_path / "store"))
    assert (found.images, found.unit, found.named) == (2, "mm²", False)
    (pair,) = found.pairs
    assert (pair.images, pair.dice, pair.dice_if_both) == (2, pytest.approx(0.2), pytest.approx(0.4))
    assert pair.size_difference == pytest.approx((16 - 4) * 0.25)
    assert pair.relative_difference == pytest.approx(2 * 12 / 20)
    assert found.all_agree == 0.5
    assert found.kappa == pytest.approx(fleiss_kappa(np.array([[0, 2], [1, 1]])))
    first, second = found.readers
    assert (first.images, first.marked, second.marked) == (2, 1, 0.5)


def test_readers_of_a_folder_keep_their_names(tmp_path: Path) -> None:
    for reader, side in (("anna", 2), ("bo", 4), ("cy", 4)):
        (tmp_path / "x" / reader).mkdir(parents=True)
        for case in "12345":
            mask = np.zeros((8, 8), np.uint8)
            mask[:side, :side] = 255
            Image.fromarray(mask).save(tmp_path / "x" / reader / f"{case}.png")
    found = readers_agreement(tmp_path / "x")
    assert ([one.reader for one in found.readers], found.images, found.unit) == (["anna", "bo", "cy"], 5, "pixels")
    assert {(one.first, one.second): one.dice for one in found.pairs}["bo", "cy"] == 1
    assert found.kappa is None  # everybody marks everything


def test_one_reader_cannot_disagree() -> None:
    with pytest.raises(DataError, match="No image of mine has two readers"):
        agreement("mine", [], "pixels", named=True)


def test_masks_of_known_odds_have_no_readers(lesions_truth: Store) -> None:
    with pytest.raises(DataError, match="all masks that can be drawn, and no readers"):
        readers_agreement(lesions_truth)
