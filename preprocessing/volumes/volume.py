"""Volume: a scan's voxels with their place in the patient."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .hounsfield import CHEST_HU
from .usual_range import usual_range

BRIGHTNESS = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
VOXEL_MM = (0.01, 100.0)  # between these lie the voxels of scans of patients, with much room on either side

LONGEST_MM, WIDEST_MM = 2500.0, 1200.0  # of a scan that is searched: a CT of a whole body, and its widest field of view


@dataclass(frozen=True)
class Volume:
    """A scan in the orientation in which radiologists look at it, whatever that of its file.

    Attributes:
        array: [Z, Y, X]: Z towards the head, Y towards the back, X towards the patient's left, as closely as the scan's own
            axes allow. Nothing is resampled. Of several channels it is what is shown.
        affine: [4, 4], from voxel indices (x, y, z, 1) to mm in RAS, as in NIfTI.
        several: [C, Z, Y, X], the channels of an image that has several (see `of_channels`), else None.
        modality: of a DICOM series, "CT" for one in HU; "" where no modality is known.

    Example:
        >>> volume = Volume(np.zeros((2, 3, 4)), np.diag([-0.7, -0.7, 1.5, 1.0]))
        >>> volume.spacing_mm
        (1.5, 0.7, 0.7)
        >>> volume.world((1.0, 0.0, 2.0))
        (-1.4, 0.0, 1.5)
    """

    array: NDArray[Any]
    affine: NDArray[np.float64]
    several: NDArray[Any] | None = None
    modality: str = ""

    @property
    def channels(self) -> NDArray[Any]:
        """All channels, [C, Z, Y, X]."""
        return self.array[None] if self.several is None else self.several

    def shown(self, box: tuple[slice, slice, slice]) -> NDArray[Any]:
        """What a picture shows of a `box` (z, y, x): values [Z, Y, X], or colours [3, Z, Y, X] from 0 to 1."""
        colours = len(self.channels) == len(BRIGHTNESS) and self.channels.dtype == np.uint8
        return self.channels[(slice(None), *box)] / 255 if colours else self.array[box]

    @cached_property
    def range(self) -> tuple[float, float]:
        """The least and the greatest value of all channels."""
        return float(self.channels.min()), float(self.channels.max())

    @cached_property
    def used(self) -> list[tuple[float, float]]:
        """The range that the values of each channel use: single ones that stray do not count."""
        return [usual_range(channel) for channel in self.channels]

    @property
    def hounsfield(self) -> bool:
        """Whether the values seem to be HU, by the modality, or because some are of lung or air, and some of soft tissue."""
        if self.modality:
            return self.modality == "CT"
        return self.range[0] <= CHEST_HU[0] and self.range[1] >= CHEST_HU[1]

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

    def filled(self, array: NDArray[Any], box: tuple[slice, slice, slice]) -> NDArray[Any]:
        """An array of a `box` (z, y, x) of the scan on all of its voxels [Z, Y, X], zero elsewhere."""
        whole = np.zeros(self.array.shape, array.dtype)
        whole[box] = array
        return whole


def of_channels(channels: NDArray[Any], affine: NDArray[np.float64]) -> Volume:
    """The volume of an image of channels [C, Z, Y, X]. Of three channels of bytes, colours, the brightness is shown; of
    others, the first.

    Example:
        >>> of_channels(np.full((3, 1, 2, 2), 7, np.uint8), np.eye(4)).array.tolist()
        [[[7, 7], [7, 7]]]
    """
    channels = np.ascontiguousarray(channels)
    if len(channels) == 1:
        return Volume(channels[0], affine)
    if len(channels) == len(BRIGHTNESS) and channels.dtype == np.uint8:
        return Volume(np.rint(np.tensordot(BRIGHTNESS, channels, 1)).astype(np.uint8), affine, channels)
    return Volume(channels[0], affine, channels)


def check_voxel_size(volume: Volume) -> None:
    """Raise DataError where voxels are too large or too small for a scan, as where metres are taken for millimetres."""
    z, y, x = volume.spacing_mm
    if not all(VOXEL_MM[0] <= step <= VOXEL_MM[1] for step in (z, y, x)):
        raise DataError(
            f"The scan's voxels measure {x:.3g} x {y:.3g} x {z:.3g} mm: expected {VOXEL_MM[0]:g} to {VOXEL_MM[1]:g} mm "
            "along each axis; its units are wrong, correct its header."
        )


def check_body(volume: Volume) -> None:
    """Raise DataError where a scan is larger than any body, so that it would take minutes to search: its units are wrong."""
    z, y, x = (count * step for count, step in zip(volume.array.shape, volume.spacing_mm, strict=True))
    _, middle, longest = sorted((z, y, x))
    if longest > LONGEST_MM or middle > WIDEST_MM:
        raise DataError(
            f"The scan measures {x:.0f} x {y:.0f} x {z:.0f} mm: expected at most {LONGEST_MM:.0f} mm along the body and "
            f"{WIDEST_MM:.0f} mm across; its units may be wrong: correct its header, or say where to look."
        )


def check_points(counts: tuple[int, int, int], most: int, step_mm: float) -> None:
    """Raise DataError where a grid of `counts` points (z, y, x), `step_mm` apart, would have more points than `most`."""
    if math.prod(counts) > most:
        sides = " x ".join(f"{count * step_mm:.0f}" for count in reversed(counts))
        raise DataError(
            f"The part of the scan to be searched measures {sides} mm, more than a chest: its units may be wrong; correct its "
            "header, or say where to look."
        )
