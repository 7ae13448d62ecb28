"""A slice of a scan: one DICOM image with its place in the patient, and how it compares with others."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import DataError
from .dicom_elements import Elements

SAME_PLACE = 0.01  # mm; slices closer than this lie at one place
ALIKE = 1e-3  # largest difference of directions, and share of spacings, that counts as none
NEXT = 0.2  # how far from the next slice's place an image may lie to be taken for it, as a share of a step
UNIT = 0.02  # how far from 1 the length of a direction may be


@dataclass(frozen=True)
class Slice:
    """One image with its place in the patient.

    Attributes:
        elements: What the file's header says.
        sop_uid: SOPInstanceUID.
        number: InstanceNumber, 0 where there is none.
        position_mm: ImagePositionPatient (x, y, z), in mm in LPS.
        orientation: ImageOrientationPatient [6]: the directions of a row (along the columns) and of a column (along the
            rows), in LPS.
        spacing_mm: PixelSpacing (between rows, between columns), in mm.
        shape: (rows, columns).
    """

    elements: Elements
    sop_uid: str
    number: int
    position_mm: tuple[float, float, float]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]

    @property
    def path(self) -> Path:
        """The image's file."""
        return self.elements.path

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector [3] (LPS) perpendicular to the slice."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def height_mm(self) -> float:
        """Place of the slice along its normal, in mm."""
        return float(self.normal @ self.position_mm)


def slice_of(elements: Elements) -> Slice:
    """The slice that a header describes. Raises `DataError` where an element that it needs cannot be used."""
    x, y, z = elements.numbers("ImagePositionPatient", 3)
    return Slice(
        elements,
        elements.needed("SOPInstanceUID"),
        elements.order("InstanceNumber"),
        (x, y, z),
        _orientation(elements),
        _spacing(elements),
        (_pixels(elements, "Rows"), _pixels(elements, "Columns")),
    )


def _orientation(elements: Elements) -> tuple[float, ...]:
    found = elements.numbers("ImageOrientationPatient", 6)
    if max(abs(np.linalg.norm(each) - 1) for each in (found[:3], found[3:])) > UNIT:
        raise elements.unusable("ImageOrientationPatient", "two directions of length 1")
    return found


def _spacing(elements: Elements) -> tuple[float, float]:
    between_rows, between_columns = elements.numbers("PixelSpacing", 2)
    if min(between_rows, between_columns) <= 0:
        raise elements.unusable("PixelSpacing", "two lengths above 0")
    return between_rows, between_columns


def _pixels(elements: Elements, name: str) -> int:
    found = elements.whole(name)
    if found < 1:
        raise elements.unusable(name, "a number above 0")
    return found


def in_order(slices: Sequence[Slice]) -> list[Slice]:
    """Slices from the lowest along their normal to the highest, then by InstanceNumber."""
    return sorted(slices, key=lambda each: (round(each.height_mm / SAME_PLACE), each.number, each.sop_uid))


def alike(one: Slice, other: Slice) -> bool:
    """Whether two images have one shape, pixel spacing and orientation."""
    if (one.shape, one.spacing_mm, one.orientation) == (other.shape, other.spacing_mm, other.orientation):
        return True
    same = np.allclose(one.orientation, other.orientation, atol=ALIKE)
    return bool(same and one.shape == other.shape and np.allclose(one.spacing_mm, other.spacing_mm, rtol=ALIKE))


def largest_group(slices: Sequence[Slice]) -> list[Slice]:
    """The most images that are alike."""
    groups: list[list[Slice]] = []
    for each in slices:
        for group in groups:
            if alike(group[0], each):
                group.append(each)
                break
        else:
            groups.append([each])
    return max(groups, key=len)


def continues(image: Slice, slices: Sequence[Slice]) -> bool:
    """Whether an image is like sorted slices but for one element at most, and lies where the next one of them would.

    Such an image is a slice whose header is damaged, rather than no slice.
    """
    first, last = slices[0], slices[-1]
    differing = (
        image.shape[0] != first.shape[0],
        image.shape[1] != first.shape[1],
        not np.allclose(image.spacing_mm, first.spacing_mm, rtol=ALIKE),
        not np.allclose(image.orientation, first.orientation, atol=ALIKE),
    )
    if sum(differing) > 1 or len(slices) < 2:
        return False
    step = np.subtract(last.position_mm, first.position_mm) / (len(slices) - 1)
    places = (first.position_mm - step, last.position_mm + step)
    return any(np.linalg.norm(place - image.position_mm) < NEXT * np.linalg.norm(step) for place in places)


def may_lie_beside(elements: Elements, other: Slice) -> bool:
    """Whether an image whose place or size cannot be read is a slice beside another: alike in all that can be read.

    An image that has neither position nor orientation is none.
    """
    if not elements.text("ImagePositionPatient") and not elements.text("ImageOrientationPatient"):
        return False
    readings: list[tuple[Callable[[], ArrayLike], ArrayLike]] = [
        (lambda: _orientation(elements), other.orientation),
        (lambda: _spacing(elements), other.spacing_mm),
        (lambda: _pixels(elements, "Rows"), other.shape[0]),
        (lambda: _pixels(elements, "Columns"), other.shape[1]),
    ]
    for reading, own in readings:
        with suppress(DataError):
            if not np.allclose(reading(), own, rtol=ALIKE, atol=ALIKE):
                return False
    return True
