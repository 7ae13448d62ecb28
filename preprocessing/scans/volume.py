"""Volume: a scan's voxels with their place in the patient."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Volume:
    """A scan in the orientation in which radiologists look at it, whatever its file's was.

    array [Z, Y, X]: Z towards the head, Y towards the back, X towards the patient's left, as closely as the scan's own
    axes allow (nothing is resampled). affine [4, 4] takes voxel indices (x, y, z, 1) to millimetres in RAS, as NIfTI.
    """

    array: NDArray
    affine: NDArray[np.float64]

    @cached_property
    def range(self) -> tuple[float, float]:
        """The least and the greatest value."""
        return float(self.array.min()), float(self.array.max())

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxel centres along (z, y, x), in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    def voxel(self, point_mm: tuple[float, float, float]) -> tuple[float, float, float]:
        """Fractional voxel indices (z, y, x) of a point (x, y, z) in mm RAS."""
        x, y, z, _ = np.linalg.solve(self.affine, [*point_mm, 1.0])
        return float(z), float(y), float(x)

    def world(self, voxel: tuple[float, float, float]) -> tuple[float, float, float]:
        """The point (x, y, z) in mm RAS of fractional voxel indices (z, y, x)."""
        z, y, x = voxel
        right, anterior, superior, _ = self.affine @ [x, y, z, 1.0]
        return float(right), float(anterior), float(superior)

    def contains(self, voxel: tuple[float, float, float]) -> bool:
        """Whether fractional voxel indices (z, y, x) lie within the outermost voxels' borders."""
        return all(-0.5 <= index <= count - 0.5 for index, count in zip(voxel, self.array.shape, strict=True))

    def filled(self, array: NDArray, box: tuple[slice, slice, slice]) -> NDArray:
        """An array of a `box` (z, y, x) of the scan on all of its voxels [Z, Y, X], zero elsewhere."""
        whole = np.zeros(self.array.shape, array.dtype)
        whole[box] = array
        return whole
