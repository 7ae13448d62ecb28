"""The floor of GED on data of known truth: by hand, and what an oracle that draws from the truth really reaches."""

import math
from dataclasses import replace

import numpy as np
import pytest

from ambiseg.models.core.overlap import overlaps
from ambiseg.models.metrics.distances import ged
from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
from ambiseg.preprocessing.store.flips import Flip
from ambiseg.preprocessing.store.intensity import BYTES
from ambiseg.preprocessing.store.store import IGNORE, Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store
from tests.models.metrics.ged_floor import floor


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_known_truth(tmp_path_factory.mktemp("floor") / "store", crops=60, size=24, readers=None)


def test_an_oracle_that_draws_from_the_truth_reaches_the_floor(store):
    rng = np.random.default_rng(0)
    rows, v, u = np.arange(len(store)), [], []
    masks, odds = store.masks(rows), store.truth.probabilities(rows)
    for _ in range(25):
        for row in rows:
            drawn = masks[row][rng.choice(3, 16, p=odds[row])]
            found = ged(overlaps(drawn, masks[row]), draws=16, reader_weights=odds[row])
            v.append(found.v)
            u.append(found.u)
    expected = floor(store, samples=16)
    assert np.mean(v) == pytest.approx(expected, abs=4 * np.std(v) / math.sqrt(len(v)))
    assert np.mean(u) == pytest.approx(0, abs=4 * np.std(u) / math.sqrt(len(u)))
    assert expected > 15 * np.std(v) / math.sqrt(len(v))  # the simulation can tell the floor from zero
    assert floor(store, samples=100) == pytest.approx(expected * 16 / 100)


def test_rows_crops_flips_and_ignored_pixels_by_hand(tmp_path):
    """One flip of even odds that changes two of four scored pixels; the rest is ignored or not scored."""
    mask = np.zeros((1, 4, 4), np.uint8)
    mask[0, 1:3, 1] = 1
    mask[0, 1:3, 2] = 2
    mask[0, 0] = IGNORE
    names = ("sky", "road", "road 2", "car")
    info = StoreInfo("flips", "made", BYTES, names, flips=(Flip(1, 3, 0.5),), scored=("road", "road 2"))
    for name, given in (("scored", info), ("all", replace(info, scored=None))):
        with write_store(tmp_path / name, given, {"a": "train"}) as writer:
            writer.add(Crop(np.zeros((1, 4, 4), np.uint8), mask, "a", "one"))
            writer.add(Crop(np.zeros((1, 4, 4), np.uint8), np.zeros_like(mask), "a", "nothing"))
    scored, every = Store.open(tmp_path / "scored"), Store.open(tmp_path / "all")
    assert floor(scored, np.array([0]), samples=2) == pytest.approx(0.5 * (1 - 1 / 2) / 2)  # IoU (0 + 1) / 2
    assert floor(every, np.array([0]), samples=2) == pytest.approx(0.5 * (1 - 1 / 3) / 2)  # IoU (0 + 0 + 1) / 3
    assert floor(scored, samples=2) == pytest.approx(0.5 * 0.5 / 4)
    assert floor(scored, np.array([0]), samples=2, crop=1) == pytest.approx(0.5 * 1 / 2)  # one pixel of road


def test_readers_have_no_known_floor(tmp_path):
    with pytest.raises(DataError, match="does not say how probable"):
        floor(write_known_truth(tmp_path / "store", crops=4, size=16), samples=16)
