"""Cityscapes' frames: found in the official layout, and read at full, half or quarter resolution."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import DataError, InputError
from .cityscapes_labels import classes_of_ids

# Taken out of the training cities to validate on; Kohl et al. 2018, section 4.2, whose test images are the official "val".
VALIDATION_CITIES = ("darmstadt", "monchengladbach", "ulm")
IMAGE, LABELS = "_leftImg8bit.png", "_gtFine_labelIds.png"
LAYOUT = f"leftImg8bit/train/CITY/*{IMAGE} and gtFine/train/CITY/*{LABELS}, likewise val"


@dataclass(frozen=True)
class Frame:
    """One labelled image: its `folder` is the official split, its name CITY_SEQUENCE_FRAME."""

    root: Path
    folder: str
    city: str
    name: str

    @property
    def image(self) -> Path:
        """The image's file, below the root."""
        return Path("leftImg8bit", self.folder, self.city, self.name + IMAGE)

    @property
    def labels(self) -> Path:
        """The file of label ids, below the root."""
        return Path("gtFine", self.folder, self.city, self.name + LABELS)

    @property
    def sequence(self) -> str:
        """The recording that the frame is taken from, such as aachen_000000."""
        return self.name.rpartition("_")[0]

    @property
    def split(self) -> str:
        """train, val or test, as the papers use the official folders."""
        if self.folder == "val":
            return "test"
        return "val" if self.city in VALIDATION_CITIES else "train"


def find_frames(root: Path) -> list[Frame]:
    """All frames of the official train and val folders with their labels, by folder, city and name.

    The official test folder is not used: its labels are not public. Raises `InputError` without such a layout, or when an
    image has no labels.
    """
    frames = [
        Frame(root, folder, image.parent.name, image.name.removesuffix(IMAGE))
        for folder in ("train", "val")
        for image in sorted((root / "leftImg8bit" / folder).glob(f"*/*{IMAGE}"))
    ]
    if not frames:
        raise InputError(f"No Cityscapes images in {root}: expected {LAYOUT}.")
    bare = [frame for frame in frames if not (root / frame.labels).is_file()]
    if bare:
        raise InputError(
            f"{len(bare)} of {len(frames)} images have no labels, such as {bare[0].image} without {bare[0].labels}: "
            "unpack gtFine_trainvaltest beside the images."
        )
    return frames


def read_frame(frame: Frame, factor: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A frame's image [3, H, W] and class map [H, W] (0..18 and IGNORE), both shrunk `factor` times.

    A pixel of the image is the mean of the square of pixels that it covers; its class is that of the square's middle
    pixel (right and below of the centre), as in nearest-neighbour resampling: a label that the annotators gave, and thin
    poles keep their share. Raises `DataError` for a damaged file, another kind of picture, or sizes that do not fit.
    """
    image, ids = _picture(frame, frame.image, "RGB"), _picture(frame, frame.labels, "L")
    width, height = image.size
    if ids.size != image.size:
        raise DataError(f"{frame.labels} has {_shape(ids)} pixels, its image {_shape(image)}: get the official files.")
    if width % factor or height % factor:
        raise DataError(
            f"{frame.image} has {_shape(image)} pixels, which do not part into squares of {factor}: expected "
            "Cityscapes' 1024x2048; choose --size full, or get the official files."
        )
    classes = classes_of_ids(np.asarray(ids), str(frame.labels))
    small = np.asarray(image.reduce(factor)).transpose(2, 0, 1)
    return small, classes[factor // 2 :: factor, factor // 2 :: factor]


def _picture(frame: Frame, place: Path, mode: str) -> Image.Image:
    try:
        with Image.open(frame.root / place) as picture:
            picture.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{place} is not a whole PNG file (damaged, or another format): get it again.") from error
    if picture.mode != mode:
        raise DataError(f"{place} is a picture of the kind {picture.mode}, expected {mode}: get the official file.")
    return picture


def _shape(picture: Image.Image) -> str:
    return f"{picture.height}x{picture.width}"
