"""Points as users write them: three numbers on the command line, or a table."""

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

import numpy as np

from ambiseg.preprocessing.errors import DataError, InputError, NothingFound, UsageError

Point = tuple[float, float, float]
NamedPoint = tuple[Point, str]

OWN_COLUMNS = {"x", "y", "z"}
LUNA_COLUMNS = {"coordX", "coordY", "coordZ"}
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
    rows, columns = _rows(path)
    if OWN_COLUMNS <= columns <= OWN_COLUMNS | {"name", "scan"}:
        own = _of_scan(path, rows, scan, "scan", of_many)
        return [(_point(path, row, "x", "y", "z"), row.get("name") or "") for row in own]
    if not voxels and LUNA_COLUMNS <= columns <= LUNA_COLUMNS | LUNA_EXTRAS:
        own = _of_scan(path, rows, scan, "seriesuid", of_many)
        places = (_point(path, row, "coordX", "coordY", "coordZ") for row in own)
        return [((-left, -back, head), "") for left, back, head in places]
    raise DataError(
        f"{path.name} has the columns {', '.join(sorted(columns))}: expected x, y, z (and name, scan), or, in mm, LUNA16's "
        "coordX, coordY, coordZ (and seriesuid, diameter_mm, class, probability)."
    )


def read_table(path: Path) -> bytes:
    """The bytes of a table of points; `InputError` where there is none."""
    if not path.is_file():
        raise InputError(f"No file {path}: expected a CSV table of points; check the path.")
    return path.read_bytes()


def _rows(path: Path) -> tuple[list[dict[str, str]], set[str]]:
    content = read_table(path)
    try:
        table = csv.DictReader(StringIO(content.decode("utf-8-sig"), newline=""), skipinitialspace=True)
        rows = [{name.strip(): value or "" for name, value in row.items() if name} for row in table]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} is not a CSV table: expected column names, then a point a row.") from error
    if not rows:
        raise InputError(f"{path.name} has no points: expected a line of column names, then a point a row.")
    return rows, {name.strip() for name in table.fieldnames or ()}


def _of_scan(
    path: Path, rows: list[dict[str, str]], scan: Sequence[str], column: str, of_many: bool
) -> list[dict[str, str]]:
    """The rows of a scan, by any of its names."""
    named = {row.get(column, "").strip() for row in rows}
    own = [row for row in rows if row.get(column, "").strip() in scan] if len(named) > 1 or of_many else rows
    if own:
        return own
    if named == {""}:
        raise InputError(
            f"{path.name} does not say of which scan its points are: add a column scan with the scans' names."
        )
    raise NothingFound(
        f"{path.name} has points of {len(named)} scans, none of them named as this one: write the scan's name (or, for "
        f"DICOM, its series UID) into the column {column}, or keep only its rows."
    )


def _point(path: Path, row: Mapping[str, str], *columns: str) -> Point:
    texts = [row.get(column) for column in columns]
    try:
        return parse_point(",".join(text or "" for text in texts))
    except UsageError as error:
        raise DataError(f"{path.name} has a row without a number in each of {', '.join(columns)}: {texts}.") from error
