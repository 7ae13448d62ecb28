"""Where the lesions are: points, tables of points, masks, or a scan that is little more than a lesion itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError, InputError
from ambiseg.preprocessing.nifti import read_volume
from ambiseg.preprocessing.volume import Volume

from .lesion_points import Point, parse_point, read_points

CROP_LIKE = 1.5  # a scan at most this many crops wide and high is taken to be one lesion's crop
CROP_SLICES = 64
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


def find_lesions(
    volume: Volume,
    *,
    scan: str,
    crop: int,
    spacing_mm: float | None,
    at: Sequence[str] = (),
    points: Path | None = None,
    roi: Path | None = None,
    voxels: NDArray[np.float64] | None = None,
) -> list[Lesion]:
    """The lesions that the user names: `at` "X,Y,Z", a table of `points`, a mask `roi`; else the centre of a crop.

    Points are mm in RAS, or voxel indices of the file with the affine [4, 4] `voxels`. `scan` is the scan's name, for
    LUNA16's tables; `crop` (pixels) and `spacing_mm` are the model's. Raises `InputError` when nothing names a place.
    """
    named = [(parse_point(text), "") for text in at]
    if points is not None:
        named += read_points(points, scan, voxels is not None)
    if voxels is not None:
        named = [(tuple((voxels @ [*point, 1.0])[:3].tolist()), name) for point, name in named]
    lesions = [at_point(volume, point, name) for point, name in named]
    if roi is not None:
        lesions += roi_lesions(volume, read_volume(roi), roi.name)
    return lesions or [centre(volume, crop, spacing_mm)]


def at_point(volume: Volume, point_mm: Point, name: str = "") -> Lesion:
    """The lesion at a point in mm RAS; `InputError` when it lies outside the scan."""
    if not volume.contains(volume.voxel(point_mm)):
        raise InputError(
            f"Point ({', '.join(f'{value:.1f}' for value in point_mm)}) lies outside the scan, which reaches from "
            f"{bounds(volume)} (mm in RAS): give a point within, or use --voxel for the file's voxel indices."
        )
    return Lesion(point_mm, name)


def bounds(volume: Volume) -> str:
    """The scan's extent in mm RAS, in words: "x -180.0 to 175.3, y ..., z ..."."""
    depth, height, width = volume.array.shape
    corners = np.array([[x, y, z, 1] for x in (0, width) for y in (0, height) for z in (0, depth)], float)
    corners[:, :3] -= 0.5
    places = (corners @ volume.affine.T)[:, :3]
    ranges = zip("xyz", places.min(0), places.max(0), strict=True)
    return ", ".join(f"{axis} {low:.1f} to {high:.1f}" for axis, low, high in ranges)


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
