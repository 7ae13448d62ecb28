"""Crops grouped into lesions: their order, the size of a voxel, and whether readers keep their places."""

import json
from pathlib import Path

import numpy as np
import pytest

from ambiseg.preprocessing.store.intensity import BYTES
from ambiseg.preprocessing.store.lesion_rows import keeps_readers, lesions_of, pixel_mm
from ambiseg.preprocessing.store.manifest import FILE
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_crop import Crop, StoreInfo
from ambiseg.preprocessing.store.store_writer import write_store

Place = tuple[str, int, float | None]  # lesion, slice, z


def written(path: Path, places: list[Place], *, thickness: str = "", marks: bool = False, **info: object) -> Store:
    """A store of one patient's crops at the given places, with pixels of .5 x .6 mm."""
    about = {"marks": "1;2"} if marks else {}
    about |= {"slice_thickness_mm": thickness} if thickness else {}
    with write_store(path, StoreInfo("made", "made", BYTES, **info), {"p": "train"}) as writer:
        for lesion, number, z in places:
            crop = Crop(
                np.zeros((1, 4, 4), np.uint8),
                np.zeros((2, 4, 4), np.uint8),
                patient="p",
                case="c",
                lesion=lesion,
                slice=number,
                z_mm=z,
                spacing_mm=(0.5, 0.6),
                provenance=about,
            )
            writer.add(crop)
    return Store.open(path)


def without_key(store: Store) -> Store:
    """The store as versions before `same_readers` wrote it."""
    content = json.loads((store.path / FILE).read_text())
    del content["same_readers"]
    (store.path / FILE).write_text(json.dumps(content))
    return Store.open(store.path)


def test_slices_lie_in_the_order_of_z(tmp_path: Path) -> None:
    """Slice numbers may run the other way, and a missing slice does not change the median step."""
    places: list[Place] = [("a", 1, 7.5), ("b", 0, 3.0), ("a", 5, -2.5), ("b", 1, 1.0), ("a", 3, 2.5), ("a", 4, 0.0)]
    one, other = lesions_of(store := written(tmp_path / "s", places), store.rows("all"))
    assert (one.lesion, one.rows.tolist(), one.step_mm) == ("a", [2, 5, 4, 0], 2.5)
    assert one.voxel_mm3 == pytest.approx(2.5 * 0.5 * 0.6)
    assert (other.lesion, other.rows.tolist(), other.spacing_mm) == ("b", [3, 1], (2.0, 0.5, 0.6))


def test_without_z_the_order_is_that_of_slice_numbers_and_there_is_no_volume(tmp_path: Path) -> None:
    (found,) = lesions_of(store := written(tmp_path / "s", [("a", 2, 1.0), ("a", 0, None)]), store.rows("all"))
    assert found.rows.tolist() == [1, 0]
    assert (found.step_mm, found.spacing_mm, found.voxel_mm3) == (None, None, None)
    assert found.pixel_mm == (0.5, 0.6)


@pytest.mark.parametrize(("thickness", "step"), [("1.25", 1.25), ("", None), ("thin", None), ("0", None)])
def test_a_single_slice_is_as_thick_as_its_scan_says(tmp_path: Path, thickness: str, step: float | None) -> None:
    (found,) = lesions_of(store := written(tmp_path / "s", [("a", 0, 3.0)], thickness=thickness), store.rows("all"))
    assert found.step_mm == step


def test_slices_at_one_z_have_no_distance(tmp_path: Path) -> None:
    (found,) = lesions_of(store := written(tmp_path / "s", [("a", 0, 3.0), ("a", 1, 3.0)]), store.rows("all"))
    assert found.step_mm is None


def test_resampled_crops_have_the_pixels_of_the_store(tmp_path: Path) -> None:
    assert pixel_mm(written(tmp_path / "own", [("a", 0, 3.0)]), 0) == (0.5, 0.6)
    assert pixel_mm(written(tmp_path / "one", [("a", 0, 3.0)], spacing_mm=0.7), 0) == (0.7, 0.7)


def test_readers_keep_their_places_where_the_store_says_so(tmp_path: Path) -> None:
    places: list[Place] = [("a", 0, 3.0)]
    assert not keeps_readers(written(tmp_path / "0", places))
    assert not keeps_readers(written(tmp_path / "1", places, marks=True))
    assert keeps_readers(written(tmp_path / "2", places, same_readers=True))


def test_a_store_from_before_the_key_is_that_of_lidc_where_its_index_has_marks(tmp_path: Path) -> None:
    """Its content hash is that of today's."""
    lidc = written(tmp_path / "lidc", [("a", 0, 3.0)], marks=True, same_readers=True)
    before = without_key(lidc)
    assert before.manifest.same_readers is None
    assert before.content_hash == lidc.content_hash
    assert keeps_readers(before)
    assert not keeps_readers(without_key(written(tmp_path / "other", [("a", 0, 3.0)], same_readers=True)))
