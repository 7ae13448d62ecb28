"""A lesion's place in a scan: a point, a piece of a mask, or a whole scan that shows little more than the lesion."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError, InputError
from ambiseg.preprocessing.scans.point_files import Point
from ambiseg.preprocessing.scans.regions import Region
from ambiseg.preprocessing.volumes.resample import PlaneGrid
from ambiseg.preprocessing.volumes.volume import Volume

CROP_LIKE = 1.5  # a scan at most this many training crops wide, high and deep is taken to be one lesion's crop
STORED = 192  # and so is one of few slices and so many pixels: data sets store larger crops than those trained on
FEW_SLICES = 12
CROP_SLICES = 64
STACK_MM = 140.0  # a stack of slices that is wider may be a chest
TINY = 1e-6  # rounding of lengths
MOST_PIECES = 100  # of a mask
WAYS = (
    "`at` (X,Y,Z in mm, RAS; the file's voxel i,j,k with `voxel`), `points` (a CSV file with columns x,y,z) or `roi` "
    "(a mask, a DICOM SEG or RTSTRUCT)"
)


@dataclass(frozen=True)
class Lesion:
    """A lesion's place.

    Attributes:
        centre_mm: x, y, z in mm (RAS), as the user or the search gave it.
        name: its name in the table of points, or that of its structure; may be empty.
        roi: [n, 3], voxel indices (z, y, x) of the mask drawn around it; None if only a point was given.
        whole: the scan is this lesion's crop, so that everything in it belongs to the lesion.
        score: how much a place that a search found looks like a lesion, 0 to 1; None if the user gave the place.
        plane: the grid that lays the whole plane on a crop as in training; None where the crop lies about the centre.
        settled_mm: the centre of what the model marks there, x, y, z in mm (RAS); None before it is known.
    """

    centre_mm: Point
    name: str = ""
    roi: NDArray[np.intp] | None = None
    whole: bool = False
    score: float | None = None
    settled_mm: Point | None = None
    plane: PlaneGrid | None = None

    @property
    def place_mm(self) -> Point:
        """Where to look: the settled centre if it is known, else the given one."""
        return self.settled_mm or self.centre_mm


def at_point(volume: Volume, point_mm: Point, name: str = "") -> Lesion:
    """The lesion at a point in mm (RAS). Raises `InputError` if it lies outside the scan."""
    if not volume.contains(volume.voxel(point_mm)):
        raise InputError(
            f"The point ({', '.join(f'{value:.1f}' for value in point_mm)}) lies outside the scan, which extends over "
            f"{bounds(volume)} (mm, RAS): give a point inside it, or use `voxel` if these are the file's voxel indices."
        )
    return Lesion(point_mm, name)


def bounds(volume: Volume) -> str:
    """The scan's extent in mm (RAS) as text: "x -180.0 to 175.3, y ..., z ..."."""
    depth, height, width = volume.array.shape
    corners = np.array([[x, y, z, 1] for x in (0, width) for y in (0, height) for z in (0, depth)], float)
    corners[:, :3] -= 0.5
    places = (corners @ volume.affine.T)[:, :3]
    ranges = zip("xyz", places.min(0), places.max(0), strict=True)
    return ", ".join(f"{axis} {low:.1f} to {high:.1f}" for axis, low, high in ranges)


def region_lesions(regions: Sequence[Region], volume: Volume, name: str) -> list[Lesion]:
    """One lesion per connected piece (26 neighbours) of each region of the file `name`."""
    from scipy import ndimage

    lesions = []
    for region in regions:
        low = region.voxels.min(0)
        mask = np.zeros(region.voxels.max(0) - low + 1, bool)
        mask[tuple((region.voxels - low).T)] = True
        pieces, _ = ndimage.label(mask, np.ones((3, 3, 3)))
        for number, box in enumerate(ndimage.find_objects(pieces), start=1):
            voxels = np.argwhere(pieces[box] == number) + [side.start for side in box] + low
            z, y, x = voxels.mean(0)
            lesions.append(Lesion(volume.world((z, y, x)), region.name, roi=voxels))
    if len(lesions) > MOST_PIECES:
        raise DataError(
            f"{name} has {len(lesions)} separate pieces: expected one per lesion, {MOST_PIECES} at most. Remove the specks, or "
            "choose among the labels with `structures`."
        )
    return lesions


def is_crop(volume: Volume, crop: int, spacing_mm: float | None, stored: int | None = None) -> bool:
    """Whether a scan is one lesion's crop, because it is about as small as the crops of a data set.

    Args:
        volume: the scan.
        crop: side of the training crops in pixels.
        spacing_mm: size of their pixels; None: the scan's own.
        stored: side of the data set's own crops in pixels, from which training crops are cut; None: unknown.
    """
    lengths = np.multiply(volume.array.shape, volume.spacing_mm)
    pixel = spacing_mm or min(volume.spacing_mm[1:])
    if volume.array.shape[0] > CROP_SLICES:
        return False
    if lengths.max() <= CROP_LIKE * crop * pixel:
        return True
    few = volume.array.shape[0] <= FEW_SLICES
    most_mm = max(stored or 0, STORED if few else 0) * pixel
    return bool(lengths.max() <= (most_mm if volume.array.shape[0] == 1 else min(most_mm, STACK_MM)))


def centre(volume: Volume, crop: int, spacing_mm: float | None) -> Lesion:
    """The lesion of a scan that is its crop. It is all that the scan shows, if that is no wider than a training crop."""
    z, y, x = ((count - 1) / 2 for count in volume.array.shape)
    steps = (1.0, 1.0) if spacing_mm is None else np.divide(volume.spacing_mm[1:], spacing_mm)
    pixels = np.multiply(volume.array.shape[1:], steps)
    return Lesion(volume.world((z, y, x)), whole=bool(pixels.max() <= crop + TINY))


def whole_plane(volume: Volume, plane: PlaneGrid) -> Lesion:
    """All of a scan, of which each slice is laid on a crop by the grid `plane`."""
    z, y, x = ((count - 1) / 2 for count in volume.array.shape)
    return Lesion(volume.world((z, y, x)), whole=True, plane=plane)
