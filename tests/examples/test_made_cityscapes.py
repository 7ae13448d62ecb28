"""The synthetic street set: it is read as Cityscapes is, and every crop holds what its 32 modes differ by."""

from pathlib import Path

import numpy as np
import pytest
from made_cityscapes import HEIGHT, WIDTH, flip_frequencies, write_made_cityscapes

from ambiseg.preprocessing.sources.papers.cityscapes_frames import CLASS_NAMES, FLIPPED
from ambiseg.preprocessing.sources.papers.cityscapes_store import preprocess_cityscapes
from ambiseg.preprocessing.store.store import Store


def test_each_frame_has_32_modes_of_24_classes(tmp_path: Path) -> None:
    write_made_cityscapes(tmp_path / "made", 12)
    report = preprocess_cityscapes(tmp_path / "made", tmp_path / "store", size="full", workers=1)
    store = Store.open(report.store)
    assert store.size == (HEIGHT, WIDTH)
    assert not report.notes
    assert {split: len(store.rows(split)) for split in ("train", "val", "test")} == {"train": 5, "val": 4, "test": 3}
    modes = store.masks(store.rows("all"))[..., WIDTH // 4 : -WIDTH // 4]
    assert modes.shape[1] == 32
    assert len(store.class_names) == len(CLASS_NAMES) == 24
    plain = modes[:, 0]
    for name in FLIPPED:
        shown = (plain == CLASS_NAMES.index(name)).sum((1, 2))
        assert (shown >= 6).all(), name
    assert all(len({mode.tobytes() for mode in frame}) == 32 for frame in modes)
    odds = store.truth.probabilities(store.rows("test"))
    assert np.isclose(odds.sum(1), 1).all()
    assert flip_frequencies(odds[0].tolist()) == pytest.approx(FLIPPED)
