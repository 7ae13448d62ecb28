"""DICOM series: whether its slices fit together, and all of them as one volume."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .dicom import SAME_PLACE, Slice, read_hounsfield, read_slices
from .errors import DataError, InputError
from .volume import Volume

SHEAR = 0.01  # largest sine of the angle between the slices' normal and the way from slice to slice


def one_a_place(slices: Sequence[Slice]) -> list[Slice]:
    """Drop repeated images from slices sorted by place, as `one_image` does."""
    groups = groupby(slices, key=lambda each: round(each.height_mm / SAME_PLACE))
    return [one_image(list(group)) for _, group in groups]


def one_image(same_place: Sequence[Slice]) -> Slice:
    """The first of some images at one place, if all of them show the same.

    When they differ nobody can say which one was read, and a `DataError` is raised.
    """
    first, *others = same_place
    for other in others:
        if not np.array_equal(read_hounsfield(first.path), read_hounsfield(other.path)):
            raise DataError(
                f"Two different images lie at one place, z = {first.position_mm[2]:g} mm ({first.path.name} and "
                f"{other.path.name}): remove the one that does not belong to the scan."
            )
    return first


def check_alike(slices: Sequence[Slice]) -> None:
    """Raise a `DataError` unless all slices have the same shape, pixel spacing and orientation."""
    first = slices[0]
    for other in slices[1:]:
        same = np.allclose(first.orientation, other.orientation, atol=1e-3)
        same = same and np.allclose(first.spacing_mm, other.spacing_mm, rtol=1e-3)
        if first.shape != other.shape or not same:
            raise DataError(
                f"{other.path.name} has another size, spacing or orientation than {first.path.name}: "
                "the series holds images of more than one scan."
            )


def read_series(paths: Iterable[Path]) -> Volume:
    """All images of one series as a volume in HU. Slices must be equally spaced along their normal (gantry not tilted)."""
    slices = read_slices(paths)
    if not slices:
        raise InputError("The series has no image: expected at least one DICOM file.")
    check_alike(slices)
    slices = one_a_place(slices)
    affine = _affine(slices)
    return _display(np.stack([read_hounsfield(each.path) for each in slices]), affine)


def _affine(slices: Sequence[Slice]) -> NDArray[np.float64]:
    """Voxel indices (column, row, slice, 1) to mm in RAS."""
    first = slices[0]
    positions = np.array([each.position_mm for each in slices])
    gaps = np.diff(positions, axis=0)
    if len(slices) == 1:
        step = first.normal
    else:
        step = gaps.mean(0)
        length = np.linalg.norm(step)
        if np.linalg.norm(np.cross(step, first.normal)) > SHEAR * length:
            raise DataError("The slices are sheared (a tilted gantry): expected each straight above the last.")
        if np.abs(gaps - step).max() > 0.05 * length:
            steps = gaps @ first.normal
            raise DataError(
                f"The slices lie {steps.min():.2f} to {steps.max():.2f} mm apart: expected equal distances; "
                "some are missing, get the series again."
            )
    affine = np.eye(4)
    affine[:3, 0] = np.array(first.orientation[:3]) * first.spacing_mm[1]
    affine[:3, 1] = np.array(first.orientation[3:]) * first.spacing_mm[0]
    affine[:3, 2], affine[:3, 3] = step, first.position_mm
    return np.diag([-1.0, -1, 1, 1]) @ affine  # LPS to RAS


def _display(array: NDArray, affine: NDArray[np.float64]) -> Volume:
    """Turn an array [slice, row, column] to the orientation of a `Volume`."""
    from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

    turn = ornt_transform(io_orientation(affine), axcodes2ornt("LPS"))
    turned = apply_orientation(array.transpose(2, 1, 0), turn).transpose(2, 1, 0)
    return Volume(np.ascontiguousarray(turned), affine @ inv_ornt_aff(turn, array.shape[::-1]))
