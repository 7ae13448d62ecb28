"""Points that were placed in 3D Slicer: markups (.mrk.json), and the fiducial lists of earlier versions (.fcsv)."""

import csv
import math
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from ..documents import parse_json, shown
from ..errors import DataError

Point = tuple[float, float, float]
NamedPoint = tuple[Point, str]

FCSV = "# Markups fiducial file"  # how a .fcsv begins
SYSTEMS = {"0": "RAS", "1": "LPS", "RAS": "RAS", "LPS": "LPS"}  # numbers up to version 4.10
EXPECTED = "expected a list of points that 3D Slicer saved"


class ControlPoint(BaseModel):
    """A point of a markup; one that was not placed yet has another status than "defined"."""

    model_config = ConfigDict(extra="ignore")

    label: str = ""
    position: tuple[FiniteFloat, FiniteFloat, FiniteFloat] | None = None
    status: str = Field("defined", alias="positionStatus")


class Markup(BaseModel):
    """A markup: a list of points, a line, a curve, ..."""

    model_config = ConfigDict(extra="ignore")

    type: str
    system: Literal["LPS", "RAS"] = Field("LPS", alias="coordinateSystem")
    points: list[ControlPoint] = Field([], alias="controlPoints")


class Markups(BaseModel):
    """A .mrk.json file."""

    model_config = ConfigDict(extra="ignore")

    markups: list[Markup]


def is_slicer(content: bytes) -> bool:
    """Whether a file was written by 3D Slicer, and is no table.

    Example:
        >>> is_slicer(b'{"markups": []}'), is_slicer(b"x,y,z")
        (True, False)
    """
    start = content.lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith((b"{", FCSV.encode()))


def slicer_points(content: bytes, name: str) -> list[NamedPoint]:
    """The points of a file of 3D Slicer, in mm (RAS), with their labels.

    Args:
        content: of the file.
        name: of the file, for messages.

    Raises:
        DataError: the file is damaged, or holds no list of points.

    Example:
        >>> file = b'{"markups": [{"type": "Fiducial", "controlPoints": [{"label": "a", "position": [1, 2, 3]}]}]}'
        >>> slicer_points(file, "F.mrk.json")
        [((-1.0, -2.0, 3.0), 'a')]
    """
    text = content.decode("utf-8-sig", errors="replace").strip()
    found = list(_fiducials(text, name) if text.startswith("#") else _of_markups(content, name))
    if not found:
        raise DataError(f"{name} holds no point that was placed: {EXPECTED}.")
    return found


def _of_markups(content: bytes, name: str) -> Iterator[NamedPoint]:
    markups = parse_json(content, Markups, name, EXPECTED).markups
    lists = [markup for markup in markups if markup.type == "Fiducial"]
    if markups and not lists:
        kinds = ", ".join(sorted({markup.type for markup in markups}))
        raise DataError(f"{name} holds {shown(kinds)} and no list of points (Fiducial): {EXPECTED}.")
    for markup in lists:
        for point in markup.points:
            if point.position is not None and point.status == "defined":
                yield _ras(point.position, markup.system), point.label


def _fiducials(text: str, name: str) -> Iterator[NamedPoint]:
    lines = text.splitlines()
    header = dict(line[1:].split("=", 1) for line in lines if line.startswith("#") and "=" in line)
    said = {key.strip(): value.strip() for key, value in header.items()}
    system = SYSTEMS.get(said.get("CoordinateSystem", "0"))
    columns = said.get("columns", "").split(",")
    if system is None or not {"x", "y", "z"} <= set(columns):
        raise DataError(
            f"{name}: expected the lines `# CoordinateSystem = LPS` (or RAS) and `# columns = id,x,y,z,...`, got "
            f"{shown(said.get('CoordinateSystem', 'none'))} and {shown(said.get('columns', 'none'))}."
        )
    for number, values in enumerate(csv.reader(line for line in lines if line and not line.startswith("#")), 1):
        row = dict(zip(columns, values, strict=False))
        try:
            place = float(row["x"]), float(row["y"]), float(row["z"])
            if not all(map(math.isfinite, place)):
                raise ValueError(place)
        except (KeyError, ValueError) as error:
            raise DataError(f"{name}: point {number} has no numbers x, y and z: {EXPECTED}.") from error
        yield _ras(place, system), row.get("label", "")


def _ras(point: Point, system: str) -> Point:
    x, y, z = point
    return (x, y, z) if system == "RAS" else (-x, -y, z)
