"""The mosaic: which crops it shows, that outlines are where masks are, and that no patient is named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ambiseg.preprocessing.errors import InputError
from ambiseg.preprocessing.store.intensity import HOUNSFIELD, Intensity
from ambiseg.preprocessing.store.mosaic import COLOURS, choose_rows, draw_mosaic
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store

pytestmark = pytest.mark.drawn


def made(
    path: Path, readers: int, channels: int = 1, drew: tuple[int, ...] = (), absent: tuple[int, ...] = ()
) -> Store:
    """Two lesions of three slices each, boxes marked by the readers `drew`; those of absent readers must not be shown."""
    info = StoreInfo("squares", "test", HOUNSFIELD if channels == 1 else Intensity("relative", 0, 255), spacing_mm=0.5)
    with write_store(path, info, {"Jane Doe": "train", "John Roe": "test"}) as writer:
        for number in range(6):
            masks = np.zeros((readers, 48, 48), np.uint8)
            for reader in (*drew, *absent):
                masks[reader, 6 + 4 * reader % 20 : 30, 14:34] = 1
            image = np.full((channels, 48, 48), -700, np.int16)
            present = np.array([reader not in absent for reader in range(readers)])
            patient = "Jane Doe" if number < 3 else "John Roe"
            writer.add(Crop(image, masks, patient, f"case {patient}", present=present, slice=number))
    return Store.open(path)


def pixels_of(path: Path, colour: str) -> int:
    """How many pixels of a picture are nearly of a colour."""
    wanted = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return int((np.abs(picture - wanted).max(-1) < 12).sum())


def test_rows_come_by_seed_one_a_lesion_first(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 2)
    rows = choose_rows(store, "all", 2, seed=0)
    assert {row // 3 for row in rows} == {0, 1}
    assert choose_rows(store, "all", 2, seed=0).tolist() == rows.tolist()
    assert len({tuple(choose_rows(store, "all", 2, seed)) for seed in range(20)}) > 3
    assert choose_rows(store, "test", 99, seed=1).tolist() == [3, 4, 5]
    with pytest.raises(InputError, match=r"The split val of .* is empty"):
        choose_rows(store, "val", 3, seed=0)


def test_each_reader_who_drew_has_an_outline_in_his_colour(tmp_path: Path) -> None:
    for name, drew in (("one", (1,)), ("two", (0, 2))):
        store = made(tmp_path / name, 4, drew=drew, absent=(3,))
        draw_mosaic(store, np.array([0]), tmp_path / f"{name}.png")
    counts = {name: [pixels_of(tmp_path / f"{name}.png", colour) for colour in COLOURS[:4]] for name in ("one", "two")}
    for reader in range(3):
        drew, silent = (counts["one"], counts["two"]) if reader == 1 else (counts["two"], counts["one"])
        assert drew[reader] > silent[reader] + 200
    assert counts["one"][3] == counts["two"][3] < 200  # an absent reader has a line in the legend only


@pytest.mark.parametrize(("readers", "channels", "rows"), [(1, 1, 1), (10, 3, 6), (15, 1, 5)])
def test_any_number_of_readers_and_channels(readers: int, channels: int, rows: int, tmp_path: Path) -> None:
    store = made(tmp_path / "s", readers, channels, drew=tuple(range(readers)))
    draw_mosaic(store, np.arange(rows), tmp_path / "m.png")
    draw_mosaic(store, np.arange(rows), tmp_path / "again.png")
    assert (tmp_path / "m.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert b"Doe" not in (tmp_path / "m.png").read_bytes()


def test_a_crop_that_nobody_marked_is_shown_whole(tmp_path: Path) -> None:
    store = made(tmp_path / "s", 2)
    draw_mosaic(store, np.arange(2), tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as picture:
        assert min(picture.size) > 150
