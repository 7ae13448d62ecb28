"""Sizes of voxels and scans that can be meant: what is done about a place in mm must not grow beyond all bounds."""

import math

from ..errors import DataError
from .volume import Volume

VOXEL_MM = (0.01, 100.0)  # between these lie the voxels of scans of patients, with much room on either side


def check_voxel_size(volume: Volume) -> None:
    """Raise DataError where a scan's voxels cannot be so large or so small, as where metres are taken for millimetres."""
    z, y, x = volume.spacing_mm
    if not all(VOXEL_MM[0] <= step <= VOXEL_MM[1] for step in (z, y, x)):
        raise DataError(
            f"The scan's voxels measure {x:.3g} x {y:.3g} x {z:.3g} mm: expected {VOXEL_MM[0]:g} to {VOXEL_MM[1]:g} mm "
            "along each axis; its units are wrong, correct its header."
        )


def check_points(counts: tuple[int, int, int], most: int, step_mm: float) -> None:
    """Raise DataError where a grid of `counts` points (z, y, x), `step_mm` apart, would have more than `most`."""
    if math.prod(counts) > most:
        sides = " x ".join(f"{count * step_mm:.0f}" for count in reversed(counts))
        raise DataError(
            f"The part of the scan to be searched measures {sides} mm, more than a chest: its units may be wrong; correct its "
            "header, or say where to look."
        )
