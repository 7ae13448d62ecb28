"""Tables of points, as users and LUNA16 write them, lists of points of 3D Slicer, and detections of MONAI."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from ..counted import counted
from ..documents import shown
from ..errors import DataError, InputError, NothingFound
from ..tables import Row, Table, parse_table
from .detections import detected_points, is_detections
from .slicer_points import NamedPoint, Point, is_slicer, slicer_points

OWN_COLUMNS = {"x", "y", "z"}
LUNA_COLUMNS = {"coordx", "coordy", "coordz"}  # as all names of columns in lower case: LUNA16's coordX, coordY, coordZ
LUNA_EXTRAS = {"seriesuid", "diameter_mm", "class", "probability"}


def read_points(
    path: Path, scan: Sequence[str], *, voxels: bool = False, of_many: bool = False, min_score: float = 0.0
) -> list[NamedPoint]:
    """The points of a file: a CSV table with one per row, a list of 3D Slicer (.mrk.json, .fcsv), or detections of MONAI.

    A table has the columns x, y, z (and name, scan) as they are, or LUNA16's.

    LUNA16's tables (`seriesuid, coordX, coordY, coordZ`, and `diameter_mm`, `class` or `probability`) give the world
    coordinates of ITK, which are LPS: x and y change their signs.

    Args:
        path: the table or list.
        scan: the scan's names. If a column (`scan`, `seriesuid`) names scans, only the rows with one of these names count.
        voxels: read x, y, z as voxel indices; LUNA16's tables, lists of 3D Slicer and detections are refused.
        of_many: the table lists the points of many scans. Otherwise a table of a single scan needs no matching name.
        min_score: leave out detections, and rows of LUNA16's tables with a `probability`, that score lower.

    Returns:
        The points, in mm (RAS) unless they are `voxels`, each with its name (may be empty).

    Raises:
        InputError: for a missing or empty table.
        NothingFound: when no row belongs to this scan.
        DataError: for a table with other columns, or with anything but numbers in them.
    """
    content = read_table(path)
    if is_detections(content):
        _check_mm(path.name, "a list of detections", voxels)
        return detected_points(content, path.name, scan, min_score=min_score, of_many=of_many)
    if is_slicer(content):
        return _of_slicer(content, path.name, voxels=voxels, of_many=of_many)
    table, rows = _table(content, path.name)
    if not table.rows:
        raise InputError(f"{path.name} has no points: expected a line of column names, then one point per row.")
    columns = set(table.columns)
    if OWN_COLUMNS <= columns <= OWN_COLUMNS | {"name", "scan"}:
        own = _of_scan(table, rows, scan, "scan", of_many)
        return [(_point(table, row, "x", "y", "z"), row.get("name", "")) for row in own]
    if not voxels and LUNA_COLUMNS <= columns <= LUNA_COLUMNS | LUNA_EXTRAS:
        own = _of_scan(table, rows, scan, "seriesuid", of_many)
        scored = [row for row in own if "probability" not in columns or table.number(row, "probability") >= min_score]
        if not scored:
            raise NothingFound(f"{path.name} has no point of this scan with a probability of {min_score:g} or more.")
        places = (_point(table, row, "coordx", "coordy", "coordz") for row in scored)
        return [((-left, -back, head), "") for left, back, head in places]
    raise DataError(
        f"{path.name} has the columns {shown(', '.join(sorted(columns)))}: expected x, y, z (and name, scan), or, in mm, "
        "LUNA16's coordX, coordY, coordZ (and seriesuid, diameter_mm, class, probability)."
    )


def _of_slicer(content: bytes, name: str, *, voxels: bool, of_many: bool) -> list[NamedPoint]:
    _check_mm(name, "a list of 3D Slicer", voxels)
    if of_many:
        raise DataError(
            f"{name} is a list of 3D Slicer, which does not say which scan its points belong to: give a table."
        )
    return slicer_points(content, name)


def _check_mm(name: str, kind: str, voxels: bool) -> None:
    if voxels:
        raise DataError(f"{name} is {kind}, whose places are in mm: leave out `voxel`.")


def read_table(path: Path) -> bytes:
    """The bytes of a file of points. Raises `InputError` if there is no such file."""
    if not path.is_file():
        raise InputError(f"No file {path}: expected a table or list of points; check the path.")
    found = path.stat()
    return _content(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=1)  # that of a batch, which asks once per scan
def _content(path: Path, changed: int, size: int) -> bytes:
    return path.read_bytes()


@lru_cache(maxsize=1)
def _table(content: bytes, name: str) -> tuple[Table, Mapping[str, Sequence[Row]]]:
    """The table in a file, and its rows by the scan that they name ("": none)."""
    table = parse_table(content, Path(name), "column names, then one point per row").lowered()
    column = "seriesuid" if "seriesuid" in table.columns else "scan"
    rows: dict[str, list[Row]] = {}
    for row in table.rows:
        rows.setdefault(row.get(column, ""), []).append(row)
    return table, rows


def _of_scan(
    table: Table, rows: Mapping[str, Sequence[Row]], scan: Sequence[str], column: str, of_many: bool
) -> Sequence[Row]:
    """The rows with any of a scan's names, of the `rows` by name, in the table's order."""
    if len(rows) < 2 and not of_many:
        return table.rows
    own = [row for name in {name.strip() for name in scan} for row in rows.get(name, ())]
    if own:
        return sorted(own, key=lambda row: row.line)
    if set(rows) == {""}:
        raise InputError(
            f"{table.path} does not say which scan its points belong to: add a column scan with the scans' names."
        )
    raise NothingFound(
        f"{table.path} has points for {counted(len(rows), 'scan')}, but none for this one: write this scan's name (or, for "
        f"DICOM, its series UID) in the column {column}, or keep only its rows."
    )


def _point(table: Table, row: Row, *columns: str) -> Point:
    x, y, z = (table.number(row, column) for column in columns)
    return x, y, z
