"""The images of one DICOM series: which of them are slices of the scan, and where each lies.

Scanners and archives put more into a series than its slices: the localizer on which it was planned, dose sheets,
screenshots. So each image is judged by what it says of itself, never by its place among the files.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from ...errors import AmbisegError, DataError, InputError
from .dicom_elements import needed_text, numbers_of, order_of, text_of, unusable, values_of, whole_of
from .dicom_files import class_keyword, is_image, is_other, read_to_pixels

SAME_PLACE = 0.01  # mm; slices closer than this lie at one place
LOCALIZER = "localizer"
OBJECTS = (  # modalities of what is no scan, with pixels or without
    *("SEG", "RTDOSE", "RTIMAGE", "RTSTRUCT", "RTPLAN", "RTRECORD", "SR", "PR", "KO", "DOC", "REG", "FID", "PLAN"),
    *("AU", "ECG", "HD", "EPS", "RESP", "SMR", "TEXTUREMAP"),
)
COLOURS = ("RGB", "ARGB", "YBR", "PALETTE", "HSV", "CMYK")  # how a PhotometricInterpretation of colours begins
SHEETS = ("SCREEN SAVE", "DOSE", "DOSE_INFO")  # values of ImageType
MOST = 2  # a series is one scan if more than so many times as many images are alike as there are others
ALIKE = 1e-3  # largest difference of directions, and share of spacings, that counts as none
NEXT = 0.2  # how far from the next slice's place an image may lie to be taken for it, as a share of a step
UNIT = 0.02  # how far from 1 the length of a direction may be
PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
ELEMENTS = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "Modality", "SeriesNumber", "InstanceNumber"),
    *("ImageType", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "ImageComments", *PLACE),
]


@dataclass(frozen=True)
class Image:
    """One file of a series: its header, and why it cannot be read where that is so.

    `kind` says what it is if it is no slice of a scan; `pixels` whether it holds an image all the same.
    """

    path: Path
    header: Dataset
    kind: str | None
    pixels: bool
    sop_class: str = ""
    damage: AmbisegError | None = None

    @property
    def frames(self) -> int:
        """How many frames the file holds."""
        return max(order_of(self.header, "NumberOfFrames"), 1)


@dataclass(frozen=True)
class Slice:
    """The header of one image. `position_mm` (x, y, z) and `orientation` [6] are DICOM's, in LPS.

    `orientation` holds the directions of a row (along the columns) and of a column (along the rows); `spacing_mm` and
    `shape` are (rows, columns). `number` is the InstanceNumber, 0 where there is none, `comments` the ImageComments.
    """

    path: Path
    sop_uid: str
    number: int
    position_mm: tuple[float, float, float]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]
    comments: str

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector [3] (LPS) perpendicular to the slice."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def height_mm(self) -> float:
        """Place of the slice along its normal, in mm."""
        return float(self.normal @ self.position_mm)


@dataclass(frozen=True)
class SeriesSlices:
    """The slices of a series, sorted, and the files that are none with what each is instead."""

    slices: Sequence[Slice]
    left_out: Sequence[tuple[Path, str]]


def read_images(paths: Iterable[Path]) -> list[Image]:
    """The headers of a series' files; one that cannot be read raises nothing here."""
    return [_image(path) for path in paths]


def _image(path: Path) -> Image:
    damage: AmbisegError | None = DataError(f"{path.name} is cut short or damaged: get it again.")
    try:
        header, whole = read_to_pixels(path, ELEMENTS)
    except (AmbisegError, InvalidDicomError) as error:
        return Image(path, Dataset(), None, True, damage=error if isinstance(error, AmbisegError) else damage)
    sop_class = text_of(header, "SOPClassUID") or text_of(header.file_meta, "MediaStorageSOPClassUID")
    if whole or not is_image(sop_class):
        damage = None
    modality = text_of(header, "Modality").upper()
    pixels = damage is not None or whole or bool(text_of(header, "Rows"))
    if modality in OBJECTS or is_other(sop_class) or not pixels:
        return Image(path, header, f"{modality or 'other'} object", False, sop_class)
    return Image(path, header, _kind(header, sop_class), True, sop_class, damage)


def _kind(header: Dataset, sop_class: str) -> str | None:
    """What an image is, by what it says of itself, if it is no slice of a scan."""
    types = values_of(header, "ImageType")
    if "LOCALIZER" in types:
        return LOCALIZER
    if "SecondaryCapture" in class_keyword(sop_class) or any(each in SHEETS for each in types):
        return "screenshot or dose sheet"
    if text_of(header, "PhotometricInterpretation").upper().startswith(COLOURS):
        return "image in colours"
    return None


def plain_images(images: Sequence[Image]) -> list[Image]:
    """The files that can be slices: all images where every one is a localizer, a screenshot or in colours."""
    return [each for each in images if each.pixels and each.kind is None] or [each for each in images if each.pixels]


def read_slices(paths: Iterable[Path]) -> list[Slice]:
    """The slices of a series, from the lowest along their normal to the highest, then by InstanceNumber.

    Raises `DataError` where a file that is or may be a slice cannot be read.
    """
    return list(sort_out(read_images(paths)).slices)


def sort_out(images: Sequence[Image]) -> SeriesSlices:
    """Part the slices of a series from its other files. Raises `DataError` where a file that may be a slice is damaged.

    Images of another size, spacing or orientation, and images without a place, are left out where the others are many
    more; elsewhere all are kept, and `check_alike` refuses them.
    """
    plain = plain_images(images)
    own = {image.path for image in plain}
    left = [(image.path, image.kind or "other object") for image in images if image.path not in own]
    slices, unplaced = _placed(plain)
    main = _largest_group(slices)
    for image, error in unplaced:
        if may_lie_beside(image, main[0]):
            raise error
        left.append((image.path, "image without a position"))
    slices = sorted(slices, key=_order)
    if MOST * (len(slices) - len(main)) < len(main):
        main.sort(key=_order)
        own = {each.path for each in main}
        others = [each for each in slices if each.path not in own]
        if not any(continues(each, main) for each in others):
            left += [(each.path, "image of another size, spacing or orientation") for each in others]
            slices = main
    return SeriesSlices(slices, left)


def _order(each: Slice) -> tuple[int, int, str]:
    return round(each.height_mm / SAME_PLACE), each.number, each.sop_uid


def continues(image: Slice, slices: Sequence[Slice]) -> bool:
    """Whether an image is like sorted slices but for one element at most, and lies where the next one of them would.

    Such a one is a slice whose header is damaged, rather than no slice.
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


def _placed(images: Sequence[Image]) -> tuple[list[Slice], list[tuple[Image, DataError]]]:
    """The slices among some images, and the images whose place or size cannot be read, with the reason.

    Raises the reason where there are no others, and what damaged a file.
    """
    slices, unplaced = [], []
    for image in images:
        if image.damage is not None:
            raise image.damage
        try:
            slices.append(_slice(image))
        except DataError as error:
            unplaced.append((image, error))
    if not slices:
        raise unplaced[0][1] if unplaced else InputError("The series has no image: expected at least one DICOM file.")
    return slices, unplaced


def _slice(image: Image) -> Slice:
    header, path = image.header, image.path
    x, y, z = numbers_of(header, "ImagePositionPatient", path, 3)
    return Slice(
        path,
        needed_text(header, "SOPInstanceUID", path),
        order_of(header, "InstanceNumber"),
        (x, y, z),
        _orientation(image),
        _spacing(image),
        (_pixels(image, "Rows"), _pixels(image, "Columns")),
        text_of(header, "ImageComments"),
    )


def _orientation(image: Image) -> tuple[float, ...]:
    found = numbers_of(image.header, "ImageOrientationPatient", image.path, 6)
    if max(abs(np.linalg.norm(each) - 1) for each in (found[:3], found[3:])) > UNIT:
        raise unusable(image.header, "ImageOrientationPatient", image.path, "two directions of length 1")
    return found


def _spacing(image: Image) -> tuple[float, float]:
    between_rows, between_columns = numbers_of(image.header, "PixelSpacing", image.path, 2)
    if min(between_rows, between_columns) <= 0:
        raise unusable(image.header, "PixelSpacing", image.path, "two lengths above 0")
    return between_rows, between_columns


def _pixels(image: Image, name: str) -> int:
    found = whole_of(image.header, name, image.path)
    if found < 1:
        raise unusable(image.header, name, image.path, "a number above 0")
    return found


def alike(one: Slice, other: Slice) -> bool:
    """Whether two images have one shape, pixel spacing and orientation."""
    if (one.shape, one.spacing_mm, one.orientation) == (other.shape, other.spacing_mm, other.orientation):
        return True
    same = np.allclose(one.orientation, other.orientation, atol=ALIKE)
    return bool(same and one.shape == other.shape and np.allclose(one.spacing_mm, other.spacing_mm, rtol=ALIKE))


def _largest_group(slices: Sequence[Slice]) -> list[Slice]:
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


def may_lie_beside(image: Image, other: Slice) -> bool:
    """Whether an image whose place or size cannot be read is a slice beside another: alike in all that can be read.

    An image that has neither position nor orientation is none.
    """
    if not text_of(image.header, "ImagePositionPatient") and not text_of(image.header, "ImageOrientationPatient"):
        return False
    readings: list[tuple[Callable[[], Any], Any]] = [
        (lambda: _orientation(image), other.orientation),
        (lambda: _spacing(image), other.spacing_mm),
        (lambda: _pixels(image, "Rows"), other.shape[0]),
        (lambda: _pixels(image, "Columns"), other.shape[1]),
    ]
    for reading, own in readings:
        with suppress(DataError):
            if not np.allclose(reading(), own, rtol=ALIKE, atol=ALIKE):
                return False
    return True
