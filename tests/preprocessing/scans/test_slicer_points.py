"""Points of 3D Slicer: both formats give the same places in RAS, and what is no list of points is named."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambiseg.preprocessing.errors import AmbisegError, DataError
from ambiseg.preprocessing.scans.point_files import read_points
from ambiseg.preprocessing.scans.slicer_points import is_slicer, slicer_points

FCSV = """# Markups fiducial file version = 4.13
# CoordinateSystem = {system}
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
0,{x},{y},{z},0,0,0,1,1,1,0,"upper, left",,
"""


def markups(*points: dict, kind: str = "Fiducial", system: str = "LPS") -> bytes:
    schema = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"
    markup = {"type": kind, "coordinateSystem": system, "coordinateUnits": "mm", "controlPoints": list(points)}
    return json.dumps({"@schema": schema, "markups": [markup]}).encode()


@given(st.tuples(*[st.floats(-500, 500)] * 3), st.sampled_from(["LPS", "RAS"]))
def test_both_formats_give_the_same_place(place: tuple[float, float, float], system: str) -> None:
    x, y, z = place
    expected = place if system == "RAS" else (-x, -y, z)
    new = slicer_points(markups({"label": "a", "position": [x, y, z]}, system=system), "F.mrk.json")
    old = slicer_points(FCSV.format(system=system, x=x, y=y, z=z).encode(), "F.fcsv")
    assert new == [(expected, "a")]
    assert old == [(expected, "upper, left")]


@pytest.mark.parametrize(("number", "expected"), [("0", (1, 2, 3)), ("1", (-1, -2, 3))])
def test_versions_before_4_11_number_their_systems(number: str, expected: tuple[float, ...]) -> None:
    ((place, _),) = slicer_points(FCSV.format(system=number, x=1, y=2, z=3).encode(), "F.fcsv")
    assert place == expected


def test_points_that_were_not_placed_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "F.mrk.json"
    file.write_bytes(
        markups(
            {"label": "a", "position": [1, 2, 3], "positionStatus": "defined"},
            {"label": "b", "position": [0, 0, 0], "positionStatus": "undefined"},
            {"label": "c", "positionStatus": "preview"},
        )
    )
    assert read_points(file, ("scan",)) == [((-1, -2, 3), "a")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (markups({"position": [0, 0, 0]}, kind="Line"), "holds Line and no list of points"),
        (markups(), "holds no point that was placed"),
        (markups({"position": [0, 0]}), r"is damaged or of another version: .*position"),
        (markups({"position": [0, 0, 0]}, system="IJK"), r"coordinateSystem"),
        (b'{"markups": [', "is damaged, no JSON"),
        (FCSV.format(system="2", x=0, y=0, z=0).encode(), "expected the lines `# CoordinateSystem = LPS`"),
        (FCSV.format(system="LPS", x="here", y=0, z=0).encode(), "point 1 has no numbers x, y and z"),
        (FCSV.format(system="LPS", x="nan", y=0, z=0).encode(), "point 1 has no numbers x, y and z"),
        (b"# Markups fiducial file version = 4.13\n", "got none and none"),
    ],
)
def test_what_is_no_list_of_points_is_named(content: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        slicer_points(content, "F.mrk.json")


@given(st.integers(0, 400), st.binary(max_size=3), st.booleans())
def test_damaged_files_are_refused_or_give_finite_places(at: int, noise: bytes, new: bool) -> None:
    whole = markups({"label": "a", "position": [1, 2, 3]}) if new else FCSV.format(system="LPS", x=1, y=2, z=3).encode()
    content = whole[:at] + noise + whole[at + len(noise) :]
    try:
        found = slicer_points(content, "F")
    except DataError:
        return
    assert all(math.isfinite(value) for place, _ in found for value in place)


def test_a_list_says_neither_voxels_nor_scans(tmp_path: Path) -> None:
    file = tmp_path / "F.mrk.json"
    file.write_bytes(markups({"position": [1, 2, 3]}))
    assert is_slicer(file.read_bytes())
    with pytest.raises(AmbisegError, match="places are in mm: leave out `voxel`"):
        read_points(file, ("scan",), voxels=True)
    with pytest.raises(AmbisegError, match="does not say which scan"):
        read_points(file, ("scan",), of_many=True)
