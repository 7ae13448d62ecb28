"""DICOM series: whether its slices fit together, and all of them as one volume."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...volumes.grid import Grid, grid_from
from ...volumes.volume import Volume
from .dicom_elements import Elements
from .dicom_pixels import read_hounsfield
from .series_images import read_slices
from .slice_steps import equally_spaced, rounding_mm
from .slices import SAME_PLACE, Slice, alike

ReadImage = Callable[[Elements], NDArray]

LEAN = 0.1  # mm; by so much at most may rounding put the last slice beside its place over the first
SHEAR = 0.01  # largest sine of the angle between the slices' normal and the way from slice to slice


def one_a_place(slices: Sequence[Slice], read: ReadImage = read_hounsfield) -> list[Slice]:
    """Drop repeated images from slices sorted by place, as `one_image` does."""
    groups = groupby(slices, key=lambda each: round(each.height_mm / SAME_PLACE))
    return [one_image(list(group), read) for _, group in groups]


def one_image(same_place: Sequence[Slice], read: ReadImage = read_hounsfield) -> Slice:
    """The first of some images at one place, if all of them show the same by `read`.

    When they differ nobody can say which one was read, and a `DataError` is raised.
    """
    first, *others = same_place
    for other in others:
        if not np.array_equal(read(first.elements), read(other.elements)):
            raise DataError(
                f"Two different images lie at one place, z = {first.position_mm[2]:g} mm ({first.path.name} and "
                f"{other.path.name}): remove the one that does not belong to the scan."
            )
    return first


def check_alike(slices: Sequence[Slice]) -> None:
    """Raise a `DataError` unless all slices have the same shape, pixel spacing and orientation."""
    first = slices[0]
    for other in slices[1:]:
        if not alike(first, other):
            raise DataError(
                f"{other.path.name} has another size, spacing or orientation than {first.path.name}: "
                "the series holds images of more than one scan."
            )


def read_series(paths: Iterable[Path]) -> Volume:
    """All images of one CT series as a volume in HU. Slices must be equally spaced along their normal (no tilted gantry)."""
    slices = fitting_slices(read_slices(paths))
    return stack(slices, series_grid(slices), read_hounsfield)


def fitting_slices(slices: Sequence[Slice], read: ReadImage = read_hounsfield) -> list[Slice]:
    """Slices sorted by place, each place once.

    `read` gives an image's values from the elements of its header. Raises `DataError` where two images differ in size,
    spacing or orientation, or lie at one place with different values.
    """
    check_alike(slices)
    return one_a_place(slices, read)


def series_grid(slices: Sequence[Slice], name: str = "the series") -> Grid:
    """The grid (column, row, slice) of slices that fit together; `name` is for the message of a `DataError`."""
    return grid_from(_affine(slices), (slices[0].shape[1], slices[0].shape[0], len(slices)), name)


def stack(slices: Sequence[Slice], grid: Grid, read: ReadImage) -> Volume:
    """The values of slices on their `grid`, as a volume; no more than it and one image are held in memory."""
    images = (read(each.elements).T for each in slices)
    first = next(images)
    array = np.empty(grid.display_shape, first.dtype)
    own = grid.back(array)  # a view: what is written into it lies where `display` would turn it
    for index, image in enumerate(chain([first], images)):
        own[:, :, index] = image
    return Volume(array, grid.display_affine)


def _affine(slices: Sequence[Slice]) -> NDArray[np.float64]:
    """Voxel indices (column, row, slice, 1) to mm in RAS."""
    first = slices[0]
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * first.spacing_mm[1]
    affine[:3, 1] = np.array(first.orientation[3:]) * first.spacing_mm[0]
    affine[:3, 2], affine[:3, 3] = _step(slices), first.position_mm
    return np.diag([-1.0, -1, 1, 1]) @ affine  # LPS to RAS


def _step(slices: Sequence[Slice]) -> NDArray[np.float64]:
    """The way from each slice to the next (x, y, z), in mm in LPS."""
    normal = slices[0].normal
    if len(slices) == 1:
        return normal
    positions = np.array([each.position_mm for each in slices])
    step: NDArray[np.float64] = (positions[-1] - positions[0]) / (len(slices) - 1)
    length, aside = float(np.linalg.norm(step)), float(np.linalg.norm(np.cross(step, normal)))
    if aside * (len(slices) - 1) <= float(np.linalg.norm(rounding_mm(positions).clip(max=LEAN))):
        step = normal * (normal @ step)  # the positions' rounding alone makes them lean
    elif aside > SHEAR * length:
        raise DataError(
            "The slices are sheared (a tilted gantry): expected each straight above the last; "
            "resample the scan on a straight grid first."
        )
    if not equally_spaced(positions, normal):
        steps = np.diff(positions, axis=0) @ normal
        widest = int(steps.argmax())
        raise DataError(
            f"The slices lie {steps.min():.2f} to {steps.max():.2f} mm apart: expected equal distances; "
            f"some are missing or misplaced (see {slices[widest].path.name} and {slices[widest + 1].path.name}): "
            "get the series again."
        )
    return step
