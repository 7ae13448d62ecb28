"""Where the lesions are: points, tables of points, masks, or a scan that is little more than a lesion itself."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.volume import Volume

Point = tuple[float, float, float]

CROP_LIKE = 1.5  # a scan at most this many crops wide and high is taken to be one lesion's crop
CROP_SLICES = 64
OWN_COLUMNS = {"x", "y", "z"}
LUNA_COLUMNS = {"coordX", "coordY", "coordZ"}
WAYS = (
    "--at X,Y,Z (mm in RAS, or the file's voxel i,j,k with --voxel), --points FILE.csv (columns x,y,z) or "
    "--roi MASK.nii.gz"
)


@dataclass(frozen=True)
class Lesion:
    """A place to look at: `centre_mm` (x, y, z) in RAS, and what else is known of it.

    roi [n, 3]: voxel indices (z, y, x) of a mask drawn around it, None when only a point was given. `whole`: the scan
    is this lesion's crop, so that everything in it belongs to the lesion.
    """

    centre_mm: Point
    name: str = ""
    roi: NDArray[np.intp] | None = None
    whole: bool = False


def at_points(volume: Volume, points: Iterable[Point | Lesion]) -> list[Lesion]:
    """Lesions at points in mm RAS; `InputError` when one lies outside the scan."""
    lesions = [point if isinstance(point, Lesion) else Lesion(point) for point in points]
    for lesion in lesions:
        if not volume.contains(volume.voxel(lesion.centre_mm)):
            raise InputError(
                f"Point {_millimetres(lesion.centre_mm)} lies outside the scan, which reaches {bounds(volume)} (mm in "
                "RAS): give a point within, or use --voxel for the file's voxel indices."
            )
    return lesions


def bounds(volume: Volume) -> str:
    """The scan's extent in mm RAS, in words: "x -180.0 to 175.3, y ..., z ..."."""
    depth, height, width = volume.array.shape
    corners = np.array([[x, y, z, 1] for x in (0, width) for y in (0, height) for z in (0, depth)], float)
    corners[:, :3] -= 0.5
    places = (corners @ volume.affine.T)[:, :3]
    ranges = zip("xyz", places.min(0), places.max(0), strict=True)
    return ", ".join(f"{axis} {low:.1f} to {high:.1f}" for axis, low, high in ranges)


def parse_point(text: str) -> Point:
    """Three numbers "X,Y,Z"; `UsageError` otherwise."""
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"Point {text!r}: expected three numbers X,Y,Z, as in --at -42.5,18,120.") from error
    if not np.isfinite([x, y, z]).all():
        raise UsageError(f"Point {text!r}: expected three finite numbers X,Y,Z.")
    return x, y, z


def read_points(path: Path, scan: str) -> list[Lesion]:
    """Points of a CSV file, one a row: columns x, y, z (and name), in mm RAS, or LUNA16's.

    LUNA16's tables (`seriesuid, coordX, coordY, coordZ`, and `diameter_mm`, `class` or `probability`) give the world
    coordinates of ITK, which are LPS: x and y change their signs. With `seriesuid`, the rows of the scan named `scan`
    count; a table of a single series needs no such match.
    """
    rows, columns = _rows(path)
    if columns >= OWN_COLUMNS and columns <= OWN_COLUMNS | {"name"}:
        return [Lesion(_point(path, row, "x", "y", "z"), row.get("name") or "") for row in rows]
    if columns >= LUNA_COLUMNS and columns <= LUNA_COLUMNS | {"seriesuid", "diameter_mm", "class", "probability"}:
        places = (_point(path, row, "coordX", "coordY", "coordZ") for row in _of_scan(path, rows, scan))
        return [Lesion((-left, -back, head)) for left, back, head in places]
    raise DataError(
        f"{path.name} has the columns {', '.join(sorted(columns))}: expected x, y, z (and name), or LUNA16's coordX, "
        "coordY, coordZ (and seriesuid, diameter_mm, class, probability)."
    )


def _rows(path: Path) -> tuple[list[dict[str, str]], set[str]]:
    if not path.is_file():
        raise InputError(f"No file {path}: expected a CSV table of points; check the path.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, skipinitialspace=True)
            rows = list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} is not a CSV table: expected column names, then a point a row.") from error
    if not rows:
        raise InputError(f"{path.name} has no points: expected a line of column names, then a point a row.")
    return rows, {name.strip() for name in table.fieldnames or ()}


def _of_scan(path: Path, rows: list[dict[str, str]], scan: str) -> list[dict[str, str]]:
    series = {row.get("seriesuid", "") for row in rows}
    own = [row for row in rows if row.get("seriesuid", "") == scan] if len(series) > 1 else rows
    if not own:
        raise InputError(
            f"{path.name} has points of {len(series)} series, none of them named as the scan: name the scan's file by "
            "its series UID, or keep only its rows."
        )
    return own


def _point(path: Path, row: Mapping[str, str], *columns: str) -> Point:
    texts = [row.get(column) for column in columns]
    try:
        return parse_point(",".join(text or "" for text in texts))
    except UsageError as error:
        raise DataError(f"{path.name} has a row without a number in each of {', '.join(columns)}: {texts}.") from error


def roi_lesions(volume: Volume, mask: Volume, name: str) -> list[Lesion]:
    """A lesion for each connected piece (26 neighbours) of each label of a mask on the scan's own grid."""
    from scipy import ndimage

    alike = mask.array.shape == volume.array.shape and np.allclose(mask.affine, volume.affine, atol=1e-3)
    if not alike:
        raise DataError(
            f"{name} does not lie on the scan's grid (its {_shape(mask)} voxels against {_shape(volume)}, or another "
            "affine): draw the mask on this scan, or resample it."
        )
    values = np.unique(mask.array)
    if len(values) == 1 and values[0] == 0:
        raise InputError(f"{name} is empty: expected a mask with at least one voxel in each lesion.")
    if len(values) > 256:
        raise DataError(f"{name} has {len(values)} different values: expected a mask, 0 outside, whole numbers inside.")
    lesions = []
    for value in values[values != 0]:
        pieces, _ = ndimage.label(mask.array == value, np.ones((3, 3, 3)))
        for number, box in enumerate(ndimage.find_objects(pieces), start=1):
            voxels = np.argwhere(pieces[box] == number) + [side.start for side in box]
            z, y, x = voxels.mean(0)
            lesions.append(Lesion(volume.world((z, y, x)), roi=voxels))
    return lesions


def centre(volume: Volume, crop: int, spacing_mm: float | None) -> Lesion:
    """The centre of a scan that is about as small as a training crop (`crop` pixels of `spacing_mm`, None: its own).

    Raises `InputError` for a larger scan: there a lesion must be pointed at.
    """
    lengths = np.multiply(volume.array.shape, volume.spacing_mm)
    pixel = spacing_mm or min(volume.spacing_mm[1:])
    if volume.array.shape[0] > CROP_SLICES or lengths.max() > CROP_LIKE * crop * pixel:
        raise InputError(
            f"The scan ({_shape(volume)} voxels) is larger than a crop of one lesion, and nothing says where to look: "
            f"give {WAYS}."
        )
    z, y, x = ((count - 1) / 2 for count in volume.array.shape)
    return Lesion(volume.world((z, y, x)), whole=True)


def _shape(volume: Volume) -> str:
    return " x ".join(str(count) for count in volume.array.shape[::-1])


def _millimetres(point: Point) -> str:
    return f"({', '.join(f'{value:.1f}' for value in point)})"
