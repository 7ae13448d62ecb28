"""Where training crops come from: every crop once an epoch, the same crops from memory and from disk."""

import numpy as np
import pytest
import torch

from ambiseg.models.crop_source import DeviceSource, MappedSource, crop_source, positions_of_step
from ambiseg.preprocessing.store import Store

CPU = torch.device("cpu")


def test_an_epoch_uses_every_crop_once() -> None:
    steps = [positions_of_step(step, 10, 4, seed=1) for step in range(5)]
    places = [place for step in steps for place in step]
    assert sorted(places[:10]) == sorted(places[10:20]) == list(range(10))
    assert places[:10] != places[10:20]


def test_batches_depend_on_seed_and_step_alone() -> None:
    assert positions_of_step(7, 100, 8, seed=1) == positions_of_step(7, 100, 8, seed=1)
    assert positions_of_step(7, 100, 8, seed=1) != positions_of_step(7, 100, 8, seed=2)


def test_memory_and_disk_give_the_same_crops(known_truth: Store) -> None:
    rows = known_truth.rows("train")
    sources = [DeviceSource(known_truth, rows, CPU), MappedSource(known_truth, rows, CPU)]
    for step in range(4):
        now, ahead = (positions_of_step(n, len(rows), 6, 0) for n in (step, step + 1))
        first, second = (source.fetch(now, ahead) for source in sources)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert np.array_equal(first[0].numpy(), known_truth.images(rows[now]))


@pytest.mark.parametrize(
    ("memory", "kind"), [("device", DeviceSource), ("mapped", MappedSource), ("auto", DeviceSource)]
)
def test_small_data_lives_on_the_device(known_truth: Store, memory: str, kind: type) -> None:
    assert isinstance(crop_source(known_truth, known_truth.rows("train"), CPU, memory), kind)


def test_data_larger_than_memory_stays_on_disk(known_truth: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ambiseg.models.crop_source._free_bytes", lambda device: 1000)
    assert isinstance(crop_source(known_truth, known_truth.rows("train"), CPU, "auto"), MappedSource)
