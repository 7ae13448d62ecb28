"""A model without a unit on data in HU: the figures are those of the same crops, scaled by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ambiseg.models.evaluation.evaluate_run import evaluate
from ambiseg.models.evaluation.rows import readable
from ambiseg.models.runs.trained import Trained
from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.store.intensity import BYTES, HOUNSFIELD, Intensity
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store

SIZE, INNER, CASES = 24, 16, 6


def crops() -> list[tuple[np.ndarray, np.ndarray]]:
    """Images in HU [1, H, W], with values outside the inner square that lie beyond all within; masks of two readers."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(CASES):
        image = rng.integers(-900, 200, (1, SIZE, SIZE))
        image[0, 5, 5] = 3071 if number % 2 else 200  # metal, within the inner square
        image[:, 0], image[:, -1] = -1024, 3000
        masks = np.zeros((2, SIZE, SIZE), np.uint8)
        masks[0, 8:14, 8:14] = 1
        found.append((image.astype(np.int16), masks))
    return found


def write(path: Path, intensity: Intensity, change: Callable[[np.ndarray], np.ndarray]) -> Store:
    splits = {f"p{number}": "test" for number in range(CASES)}
    with write_store(path, StoreInfo("made", "test", intensity), splits) as writer:
        for number, (image, masks) in enumerate(crops()):
            writer.add(Crop(change(image), masks, f"p{number}", f"c{number}"))
    return Store.open(path)


def by_hand(image: np.ndarray) -> np.ndarray:
    edge = (SIZE - INNER) // 2
    inner = image[:, edge:-edge, edge:-edge]
    most = min(inner.max(), 1500)
    share = (image - inner.min()) / (most - inner.min())
    return np.rint(share.clip(0, 1) * 255).astype(np.uint8)


@pytest.fixture
def relative(threshold_model: Callable[..., Trained]) -> Trained:
    """A model of bytes whose training crops were scaled over the inner square."""
    trained = threshold_model(INNER, None, "relative", 0, 255)
    trained.method.name = "thresholds"
    data = trained.record.data.model_copy(update={"scaled_over": INNER})
    object.__setattr__(trained, "record", trained.record.model_copy(update={"data": data}))
    return trained


def test_the_figures_are_those_of_crops_scaled_by_hand(tmp_path: Path, relative: Trained) -> None:
    hounsfield = write(tmp_path / "hu", HOUNSFIELD, lambda image: image)
    scaled = write(tmp_path / "bytes", BYTES, by_hand)
    rows = np.arange(CASES)
    seen = readable(relative, hounsfield)
    assert seen.intensity == BYTES
    assert np.abs(seen.images(rows) - scaled.images(rows)).max() <= 0.5 + 1e-3
    found, expected = (evaluate(relative, store, "test", samples=16) for store in (hounsfield, scaled))
    assert found.figures["ged16_v"].mean == pytest.approx(expected.figures["ged16_v"].mean, abs=0.02)
    assert "each crop was scaled to the model's range, 0 to 255, by the values of its 16 pixels" in found.about.notes[0]
    assert not any("scaled" in note for note in expected.about.notes)


def test_the_square_keeps_its_size_in_mm(tmp_path: Path, relative: Trained) -> None:
    """A model of 1 mm pixels on a store of 2 mm: half as many pixels."""
    data = relative.record.data.model_copy(update={"spacing_mm": 1.0})
    object.__setattr__(relative, "record", relative.record.model_copy(update={"data": data}))
    store = write(tmp_path / "hu", HOUNSFIELD, lambda image: image)
    wide = Store(store.path, store.manifest.model_copy(update={"spacing_mm": 2.0}))
    assert vars(readable(relative, wide))["side"] == INNER // 2


def test_a_model_of_hu_reads_no_bytes(tmp_path: Path, threshold_model: Callable[..., Trained]) -> None:
    store = write(tmp_path / "bytes", BYTES, by_hand)
    with pytest.raises(DataError, match=r"reads intensities in HU, but .* holds relative"):
        readable(threshold_model(INNER), store)
