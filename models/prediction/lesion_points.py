"""Points as users write them: three numbers on the command line, or a table."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.documents import shown
from ambiseg.preprocessing.errors import DataError, InputError, NothingFound, UsageError
from ambiseg.preprocessing.tables import Row, Table, parse_table

Point = tuple[float, float, float]
NamedPoint = tuple[Point, str]

OWN_COLUMNS = {"x", "y", "z"}
LUNA_COLUMNS = {"coordx", "coordy", "coordz"}  # as all names of columns in lower case: LUNA16's coordX, coordY, coordZ
LUNA_EXTRAS = {"seriesuid", "diameter_mm", "class", "probability"}


def parse_point(text: str) -> Point:
    """Three numbers "X,Y,Z"; `UsageError` otherwise."""
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"Point {text!r}: expected three numbers X,Y,Z, as in --at -42.5,18,120.") from error
    if not np.isfinite([x, y, z]).all():
        raise UsageError(f"Point {text!r}: expected three finite numbers X,Y,Z.")
    return x, y, z


def read_points(path: Path, scan: Sequence[str], *, voxels: bool = False, of_many: bool = False) -> list[NamedPoint]:
    """Points of a CSV file, one a row: columns x, y, z (and name, scan), as they stand there, or LUNA16's, in mm RAS.

    LUNA16's tables (`seriesuid, coordX, coordY, coordZ`, and `diameter_mm`, `class` or `probability`) give the world
    coordinates of ITK, which are LPS: x and y change their signs. Where a column names scans (`scan`, `seriesuid`) the
    rows of this `scan`, by any of its names, count; a table of a single scan needs no such match, unless it is one `of_many`
    scans. With `voxels` only x, y, z are read, LUNA16's refused.
    """
    table = parse_table(read_table(path), Path(path.name), "column names, then a point a row").lowered()
    if not table.rows:
        raise InputError(f"{path.name} has no points: expected a line of column names, then a point a row.")
    columns = set(table.columns)
    if OWN_COLUMNS <= columns <= OWN_COLUMNS | {"name", "scan"}:
        own = _of_scan(table, scan, "scan", of_many)
        return [(_point(table, row, "x", "y", "z"), row.get("name", "")) for row in own]
    if not voxels and LUNA_COLUMNS <= columns <= LUNA_COLUMNS | LUNA_EXTRAS:
        own = _of_scan(table, scan, "seriesuid", of_many)
        places = (_point(table, row, "coordx", "coordy", "coordz") for row in own)
        return [((-left, -back, head), "") for left, back, head in places]
    raise DataError(
        f"{path.name} has the columns {shown(', '.join(sorted(columns)))}: expected x, y, z (and name, scan), or, in mm, "
        "LUNA16's coordX, coordY, coordZ (and seriesuid, diameter_mm, class, probability)."
    )


def read_table(path: Path) -> bytes:
    """The bytes of a table of points; `InputError` where there is none."""
    if not path.is_file():
        raise InputError(f"No file {path}: expected a CSV table of points; check the path.")
    return path.read_bytes()


def _of_scan(table: Table, scan: Sequence[str], column: str, of_many: bool) -> Sequence[Row]:
    """The rows of a scan, by any of its names."""
    named = {row.get(column, "") for row in table.rows}
    names = {name.strip() for name in scan}
    own = [row for row in table.rows if row.get(column, "") in names] if len(named) > 1 or of_many else table.rows
    if own:
        return own
    if named == {""}:
        raise InputError(
            f"{table.path} does not say of which scan its points are: add a column scan with the scans' names."
        )
    raise NothingFound(
        f"{table.path} has points of {counted(len(named), 'scan')}, none of them named as this one: write the scan's "
        f"name (or, for DICOM, its series UID) into the column {column}, or keep only its rows."
    )


def _point(table: Table, row: Row, *columns: str) -> Point:
    x, y, z = (table.number(row, column) for column in columns)
    return x, y, z
