"""Where training crops come from: every crop once an epoch, the same crops from memory and from disk, drawn anew."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ambiseg.models.training.crops.crop_source import (
    AheadSource,
    Crops,
    DeviceSource,
    Share,
    crop_source,
    positions_of_step,
)
from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.sources.papers.guessing_game import DIGITS, NAME, PROBABILITIES, draw_examples
from ambiseg.preprocessing.store.intensity import Intensity
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store

CPU = torch.device("cpu")
SHARE = Share(batch=6, seed=0)


def test_an_epoch_uses_every_crop_once() -> None:
    places = np.concatenate([positions_of_step(step, 10, 4, seed=1) for step in range(5)]).tolist()
    assert sorted(places[:10]) == sorted(places[10:20]) == list(range(10))
    assert places[:10] != places[10:20]


def test_batches_depend_on_seed_and_step_alone() -> None:
    assert np.array_equal(positions_of_step(7, 100, 8, seed=1), positions_of_step(7, 100, 8, seed=1))
    assert not np.array_equal(positions_of_step(7, 100, 8, seed=1), positions_of_step(7, 100, 8, seed=2))


def test_processes_share_a_batch() -> None:
    whole = Share(6, 0).positions(3, 50)
    parts = [Share(6, 0, rank, 2).positions(3, 50) for rank in (0, 1)]
    assert np.array_equal(np.stack(parts, 1).ravel(), whole)


def same(first: Crops, second: Crops) -> bool:
    return all(torch.equal(getattr(first, part), getattr(second, part)) for part in ("images", "masks", "chances"))


def test_memory_and_disk_give_the_same_crops(known_truth: Store) -> None:
    rows = known_truth.rows("train")
    sources = [crop_source(known_truth, CPU, memory, SHARE) for memory in ("device", "mapped")]
    for step in range(4):
        first, second = (source.fetch(step) for source in sources)
        assert same(first, second)
    now = positions_of_step(3, len(rows), 6, 0)
    assert np.array_equal(first.images.numpy(), known_truth.images(rows[now]))


@pytest.mark.parametrize(
    ("memory", "kind"), [("device", DeviceSource), ("mapped", AheadSource), ("auto", DeviceSource)]
)
def test_small_data_lives_on_the_device(known_truth: Store, memory: str, kind: type) -> None:
    assert isinstance(crop_source(known_truth, CPU, memory, SHARE), kind)


def test_data_larger_than_memory_stays_on_disk(known_truth: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ambiseg.models.training.crops.crop_source._free_bytes", lambda device: 1000)
    assert isinstance(crop_source(known_truth, CPU, "auto", SHARE), AheadSource)


def game(path: Path, name: str = NAME) -> Store:
    """A guessing game whose digits are squares of grey 20 * (digit + 1)."""
    labels = np.arange(40, dtype=np.uint8) % 10
    digits = np.broadcast_to(labels[:, None, None] * 20 + 20, (40, 4, 4)).astype(np.uint8)
    images, masks, odds = draw_examples(digits, labels, 3, np.random.default_rng(0))
    info = StoreInfo("game", "made", Intensity("relative", 0, 255), ("background", "digit"), game=name)
    splits = {"a": "train", "b": "val", "c": "test"}
    with write_store(path, info, splits) as writer:
        writer.put_pool(digits=digits, labels=labels)
        for patient, image, mask, chances in zip(splits, images, masks, odds, strict=True):
            writer.add(Crop(image, mask, patient, patient, mask_probabilities=chances))
    return Store.open(path)


def test_drawn_images_are_new_in_every_step_and_replay(tmp_path: Path) -> None:
    store = game(tmp_path / "game")
    sources = [crop_source(store, CPU, "auto", Share(batch=8, seed=seed)) for seed in (0, 0, 1)]
    first, again, other = ([source.fetch(step) for step in range(3)] for source in sources)
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert not same(first[0], other[0])
    assert not same(first[0], first[1])
    assert first[0].known
    resumed = crop_source(store, CPU, "auto", Share(batch=8, seed=0)).fetch(2)
    assert same(resumed, first[2])


def test_drawn_images_are_of_their_category(tmp_path: Path) -> None:
    crops = crop_source(game(tmp_path / "game"), CPU, "auto", Share(batch=64, seed=0)).fetch(0)
    shown = crops.images[:, 0, ::4, ::4].flatten(1).numpy() // 20 - 1
    categories = [next(n for n in range(4) if tuple(DIGITS[n]) == tuple(row)) for row in shown]
    assert set(categories) == {0, 1, 2, 3}
    assert np.allclose(crops.chances, PROBABILITIES[categories])
    assert crops.masks.shape == (64, 4, 8, 8)


def test_an_unknown_game_is_refused(tmp_path: Path) -> None:
    store = game(tmp_path / "game", name="poker")
    with pytest.raises(
        DataError, match="draws its training images by the game 'poker', which this version does not know"
    ):
        crop_source(store, CPU, "auto", SHARE)
