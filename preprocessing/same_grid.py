"""Whether two files describe the same voxels."""

import numpy as np

from .errors import DataError
from .nifti_grid import times
from .volume import Volume

SAME_GRID = 0.1  # largest distance between the corners of the two grids, in voxels


def check_same_grid(name: str, volume: Volume, image_name: str, image: Volume) -> None:
    """Raise `DataError` unless the voxels of `volume` are those of the `image`; the names are for the message."""
    if volume.array.shape != image.array.shape:
        came, expected = (times(each.array.shape[::-1]) for each in (volume, image))
        raise DataError(
            f"{name} is not on the grid of {image_name}: it has {came} voxels, the image {expected}; resample it."
        )
    depth, height, width = image.array.shape
    corners = [(z, y, x) for z in (0, depth - 1) for y in (0, height - 1) for x in (0, width - 1)]
    apart = max(np.linalg.norm(np.subtract(volume.world(corner), image.world(corner))) for corner in corners)
    if apart > SAME_GRID * min(image.spacing_mm):
        raise DataError(
            f"{name} is not on the grid of {image_name}: their voxels lie up to {apart:.1f} mm apart; resample it."
        )
