"""Where lesions are: points, tables, masks, and scans that are crops themselves."""

from pathlib import Path

import numpy as np
import pytest

from ambiseg.models.prediction.lesion import at_point, centre, is_crop, region_lesions
from ambiseg.preprocessing.errors import DataError, InputError
from ambiseg.preprocessing.scans.point_files import read_points
from ambiseg.preprocessing.scans.regions import Region
from ambiseg.preprocessing.volumes.volume import Volume

AFFINE = np.array([[-0.5, 0, 0, 50.0], [0, -0.5, 0, 60], [0, 0, 2, -30], [0, 0, 0, 1]])
SCAN = Volume(np.zeros((30, 200, 160), np.int16), AFFINE)


def test_a_point_outside_names_the_scans_extent() -> None:
    assert at_point(SCAN, (50.2, 60.2, -30.9)).centre_mm == (50.2, 60.2, -30.9)
    with pytest.raises(InputError, match=r"x -29.8 to 50.2, y -39.8 to 60.2, z -31.0 to 29.0 \(mm, RAS\).*`voxel`"):
        at_point(SCAN, (50.3, 0, 0))


def test_points_in_a_table(tmp_path: Path) -> None:
    table = tmp_path / "points.csv"
    table.write_text("\ufeffname, x, y, z\nupper, 1, -2.5, 3\n, 4, 5, 6\n", encoding="utf-8")
    assert read_points(table, ["scan"]) == [((1, -2.5, 3), "upper"), ((4, 5, 6), "")]
    with pytest.raises(InputError, match="does not say which scan its points belong to: add a column scan"):
        read_points(table, ["scan"], of_many=True)
    table.write_text("scan,x,y,z\none,1,2,3\ntwo,4,5,6\n")
    assert read_points(table, ["two", "1.2.3"]) == [((4, 5, 6), "")]
    with pytest.raises(InputError, match=r"points for 2 scans, but none for this one: .* the column scan"):
        read_points(table, ["three"])


def test_luna_tables_are_lps_and_hold_many_series(tmp_path: Path) -> None:
    table = tmp_path / "annotations.csv"
    head = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"
    table.write_text(head + "1.2.3,-128.7,-175.3,-298.4,5.65\n1.2.4,10,20,30,4\n")
    assert read_points(table, ["scan", "1.2.3"]) == [((128.7, 175.3, -298.4), "")]
    with pytest.raises(InputError, match="points for 2 scans, but none for this one"):
        read_points(table, ["scan"])
    table.write_text(head + "1.2.4,10,20,30,4\n")
    assert read_points(table, ["scan"]) == [((-10, -20, 30), "")]
    with pytest.raises(InputError, match="points for 1 scan, but none"):
        read_points(table, ["scan"], of_many=True)
    with pytest.raises(DataError, match="has the columns"):
        read_points(table, ["scan"], voxels=True)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("i,j,k\n1,2,3\n", DataError, "has the columns i, j, k: expected x, y, z"),
        ("x,y,z,label\n1,2,3,4\n", DataError, "has the columns label, x, y, z"),
        ("x,y,z\n1,2,\n", DataError, "line 2, column 'z': expected a number"),
        ("x,y,z\n", InputError, "has no points"),
        ("", InputError, "is empty: expected column names, then one point per row"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, content: str, error: type[Exception], message: str) -> None:
    (tmp_path / "points.csv").write_text(content)
    with pytest.raises(error, match=message):
        read_points(tmp_path / "points.csv", ["scan"])


def test_a_missing_and_a_binary_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No file"):
        read_points(tmp_path / "points.csv", ["scan"])
    (tmp_path / "points.csv").write_bytes(b"\x81\x8d\n")
    with pytest.raises(DataError, match="is no table of text"):
        read_points(tmp_path / "points.csv", ["scan"])


def test_each_piece_of_each_label_of_a_mask_is_a_lesion() -> None:
    mask = np.zeros(SCAN.array.shape, np.uint8)
    mask[10:12, 20:22, 30:32] = 1
    mask[12, 22, 32] = 1  # touches by a corner: the same lesion
    mask[25, 100, 100] = 1
    mask[25, 100, 101] = 2
    regions = [Region("", np.argwhere(mask == 1)), Region("b", np.argwhere(mask == 2))]
    first, second, third = region_lesions(regions, SCAN, "roi")
    assert [first.name, second.name, third.name] == ["", "", "b"]
    assert first.roi is not None
    assert len(first.roi) == 9
    assert first.centre_mm == pytest.approx(SCAN.world(tuple(np.argwhere(mask[:20]).mean(0))))
    assert second.centre_mm == pytest.approx(SCAN.world((25, 100, 100)))
    assert third.centre_mm == pytest.approx(SCAN.world((25, 100, 101)))


def test_a_scan_as_small_as_a_crop_is_its_own_lesion() -> None:
    small = Volume(SCAN.array[:20, :90, :80], AFFINE)
    lesion = centre(small, 96, 0.5)
    assert lesion.whole
    assert lesion.centre_mm == pytest.approx(small.world((9.5, 44.5, 39.5)))
    assert not centre(small, 64, 0.5).whole  # 45 mm high, and training crops are 32 mm wide: what lies apart is removed
    assert is_crop(small, 64, 0.5)
    assert is_crop(small, 64, None)
    assert not any(is_crop(SCAN, crop, spacing) for crop, spacing in ((64, 0.5), (64, None)))


@pytest.mark.parametrize(
    ("shape", "step_mm", "stored", "expected"),
    [
        ((1, 128, 128), 0.7, 128, True),
        ((1, 180, 180), 0.7, 128, True),
        ((1, 180, 180), 1.0, None, True),  # a picture, whose pixels are called 1 mm
        ((12, 180, 180), 0.7, 128, True),
        ((12, 180, 180), 0.9, 128, False),  # 162 mm
        ((40, 128, 128), 0.7, 128, True),
        ((40, 128, 128), 0.7, None, False),  # nothing is known of larger crops than those of 64 pixels
        ((65, 40, 40), 0.7, 128, False),
        ((1, 200, 200), 0.7, 128, False),
        ((30, 512, 512), 0.7, 128, False),
    ],
)
def test_crops_of_all_stored_sizes_are_crops_and_scans_are_not(
    shape: tuple[int, int, int], step_mm: float, stored: int | None, expected: bool
) -> None:
    volume = Volume(np.zeros(shape, np.int16), np.diag([-step_mm, -step_mm, 1.0, 1]))
    assert is_crop(volume, 64, None, stored) is expected
    assert centre(volume, 64, None).whole is (max(shape[1:]) <= 64)
