"""The images of one DICOM series: which of them are slices of the scan, and where each lies.

Scanners and archives put more into a series than its slices: the localizer on which it was planned, dose sheets,
screenshots. So each image is judged by what its own header says, never by its place among the files.

Each header is read once, into an `Image`; everything after that works on what was read.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pydicom.errors import InvalidDicomError

from ...errors import AmbisegError, DataError, InputError
from .dicom_elements import Elements, elements_of, text_of
from .dicom_files import FileIdentity, class_keyword, identify, identity_of, is_image, is_other, read_to_pixels
from .slices import Slice, continues, in_order, largest_group, may_lie_beside, slice_of

LOCALIZER = "localizer"
OBJECTS = (  # modalities of objects that are no scans, with pixels or without
    *("SEG", "RTDOSE", "RTIMAGE", "RTSTRUCT", "RTPLAN", "RTRECORD", "SR", "PR", "KO", "DOC", "REG", "FID", "PLAN"),
    *("AU", "ECG", "HD", "EPS", "RESP", "SMR", "TEXTUREMAP"),
)
COLOURS = ("RGB", "ARGB", "YBR", "PALETTE", "HSV", "CMYK")  # how a PhotometricInterpretation of colours begins
SHEETS = ("SCREEN SAVE", "DOSE", "DOSE_INFO")  # values of ImageType
MOST = 2  # a series is one scan if more than so many times as many images are alike as there are others
ELEMENTS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("Modality", "SeriesNumber", "InstanceNumber", "ImageType", "ImageComments", "NumberOfFrames", "Rows", "Columns"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
    *("PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation", "SamplesPerPixel"),
    *("RescaleSlope", "RescaleIntercept", "PixelPaddingValue", "PixelPaddingRangeLimit"),
)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Image(FileIdentity):
    """One file of a series, with what its header says.

    Attributes:
        elements: The elements of its header; none where it cannot be read.
        kind: What the file is, if it is no slice of a scan.
        pixels: Whether it holds an image all the same.
        damage: Why it cannot be read, where that is so.
    """

    elements: Elements = field(default_factory=Elements)
    kind: str | None = None
    pixels: bool = True
    damage: AmbisegError | None = None

    @property
    def frames(self) -> int:
        """How many frames the file holds."""
        return max(self.elements.order("NumberOfFrames"), 1)


@dataclass(frozen=True)
class SortedSeries:
    """The slices of a series, sorted, and its other files with what each is instead."""

    slices: Sequence[Slice]
    left_out: Sequence[tuple[Path, str]]


@dataclass(frozen=True)
class Series:
    """A series with images.

    `number` is the SeriesNumber, or the place in a list (from 1) where several series have one number or one has none.
    Modality, number and size are those that most images have.
    """

    uid: str
    files: Sequence[Image]
    number: int

    @cached_property
    def images(self) -> Sequence[Image]:
        """The files that can be slices."""
        return plain_images(self.files)

    @cached_property
    def modality(self) -> str:
        """The series' Modality, in capitals."""
        return commonest(each.elements.text("Modality").upper() for each in self.images)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(columns, rows)."""
        return commonest((each.elements.order("Columns"), each.elements.order("Rows")) for each in self.images)

    @property
    def frames(self) -> int:
        """The fewest frames of an image."""
        return min(each.frames for each in self.images)

    @property
    def placed(self) -> bool:
        """Whether any image says where it lies."""
        return any(each.elements.text("ImagePositionPatient") for each in self.images)

    @property
    def scout(self) -> bool:
        """Whether all images are localizers."""
        return all(each.kind == LOCALIZER for each in self.images)

    @cached_property
    def sorted_out(self) -> SortedSeries:
        """The slices of the series and its other files. Raises `DataError` where a file that may be a slice is damaged."""
        return sort_out(self.files)


def series_of(uid: str, files: Sequence[Image]) -> Series | None:
    """The series of some files; None where no file holds an image."""
    images = plain_images(files)
    if not images:
        return None
    return Series(uid, files, commonest(each.elements.order("SeriesNumber") for each in images))


def commonest(values: Iterable[Value]) -> Value:
    """The value that occurs most often, the first of several."""
    return Counter(values).most_common(1)[0][0]


def read_image(path: Path) -> Image | FileIdentity | None:
    """One file with its header, read once; its identity where it names no series, None of a file that is not DICOM.

    Of a damaged header, only the series' UID is read, and the image says what is wrong.
    """
    try:
        header, whole = read_to_pixels(path, ELEMENTS)
    except (AmbisegError, InvalidDicomError) as error:
        found = identify(path)
        return found if found is None or not found.series else _damaged(path, found.series, error)
    identity = identity_of(path, header)
    if identity is None or not identity.series:
        return identity
    texts = elements_of(header, path, ELEMENTS).texts
    sop_class = texts.get("SOPClassUID") or text_of(header.file_meta, "MediaStorageSOPClassUID")
    elements = Elements(path, {**texts, "SOPClassUID": sop_class})
    damage = None if whole or not is_image(sop_class) else _cut(path)
    modality = elements.text("Modality").upper()
    pixels = damage is not None or whole or bool(elements.text("Rows"))
    kind = _kind(elements, sop_class)
    if modality in OBJECTS or is_other(sop_class) or not pixels:
        kind, pixels, damage = f"{modality or 'other'} object", False, None
    return Image(path, sop_class, identity.study, identity.series, False, None, elements, kind, pixels, damage)


def _damaged(path: Path, series: str, error: AmbisegError | InvalidDicomError) -> Image:
    damage = error if isinstance(error, AmbisegError) else _cut(path)
    return Image(path, series=series, elements=Elements(path), damage=damage)


def _cut(path: Path) -> DataError:
    return DataError(f"{path.name} is cut short or damaged: get it again.")


def read_images(paths: Iterable[Path]) -> list[Image]:
    """The headers of a series' files; one that cannot be read raises nothing here."""
    found = ((path, read_image(path)) for path in paths)
    return [each if isinstance(each, Image) else _damaged(path, "", _cut(path)) for path, each in found]


def _kind(elements: Elements, sop_class: str) -> str | None:
    """What an image is, by its own header, if it is no slice of a scan."""
    types = elements.values("ImageType")
    if "LOCALIZER" in types:
        return LOCALIZER
    if "SecondaryCapture" in class_keyword(sop_class) or any(each in SHEETS for each in types):
        return "screenshot or dose sheet"
    if elements.text("PhotometricInterpretation").upper().startswith(COLOURS):
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


def sort_out(images: Sequence[Image]) -> SortedSeries:
    """Separate the slices of a series from its other files. Raises `DataError` where a file that may be a slice is damaged.

    Images of another size, spacing or orientation, and images without a place, are left out where the others are many
    more; elsewhere all are kept, and `check_alike` refuses them.
    """
    plain = plain_images(images)
    own = {image.path for image in plain}
    left = [(image.path, image.kind or "other object") for image in images if image.path not in own]
    slices, unplaced = _placed(plain)
    main = largest_group(slices)
    for image, error in unplaced:
        if may_lie_beside(image.elements, main[0]):
            raise error
        left.append((image.path, "image without a position"))
    slices = in_order(slices)
    if MOST * (len(slices) - len(main)) < len(main):
        main = in_order(main)
        own = {each.path for each in main}
        others = [each for each in slices if each.path not in own]
        if not any(continues(each, main) for each in others):
            left += [(each.path, "image of another size, spacing or orientation") for each in others]
            slices = main
    return SortedSeries(slices, left)


def _placed(images: Sequence[Image]) -> tuple[list[Slice], list[tuple[Image, DataError]]]:
    """The slices among some images, and the images whose place or size cannot be read, with the reason.

    Raises the reason where there are no slices, and the damage of a file.
    """
    slices, unplaced = [], []
    for image in images:
        if image.damage is not None:
            raise image.damage
        try:
            slices.append(slice_of(image.elements))
        except DataError as error:
            unplaced.append((image, error))
    if not slices:
        raise unplaced[0][1] if unplaced else InputError("The series has no image: expected at least one DICOM file.")
    return slices, unplaced
