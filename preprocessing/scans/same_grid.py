"""Whether two files describe the same voxels."""

from ..errors import DataError
from .grid import SAME_GRID, apart_mm, times
from .volume import Volume


def check_same_grid(name: str, volume: Volume, image_name: str, image: Volume) -> None:
    """Raise `DataError` unless the voxels of `volume` are those of the `image`; the names are for the message."""
    if volume.array.shape != image.array.shape:
        came, expected = (times(each.array.shape[::-1]) for each in (volume, image))
        raise DataError(
            f"{name} is not on the grid of {image_name}: it has {came} voxels, the image {expected}; resample it."
        )
    apart = apart_mm(volume.affine, image.affine, image.array.shape[::-1])
    if apart > SAME_GRID * min(image.spacing_mm):
        raise DataError(
            f"{name} is not on the grid of {image_name}: their voxels lie up to {apart:.1f} mm apart; resample it."
        )
