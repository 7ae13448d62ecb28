"""Cityscapes' frames: found in the official layout, and read at full, half or quarter resolution.

The label ids are those of the official scripts (github.com/mcordts/cityscapesScripts, helpers/labels.py). Labels without a
class there (void, parking, caravan, ...) are ignored. The classes have the order of the scripts' `trainId`, except for the
sky: it comes first, because class 0 of a store is its background, which no distance looks at. The flips are those of the
Probabilistic U-Net (Kohl et al. 2018), section 4.2.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...errors import DataError, InputError
from ...store.flips import Flip
from ...store.store import IGNORE

LABEL_IDS = {
    "sky": 23,
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
LAST_ID = 33
FLIPPED = {"sidewalk": 8 / 17, "person": 7 / 17, "car": 6 / 17, "vegetation": 5 / 17, "road": 4 / 17}
CLASS_NAMES = (*LABEL_IDS, *(f"{name}2" for name in FLIPPED))
FLIPS = tuple(
    Flip(CLASS_NAMES.index(name), CLASS_NAMES.index(f"{name}2"), probability) for name, probability in FLIPPED.items()
)
SCORED = (*FLIPPED, *(f"{name}2" for name in FLIPPED))  # the ten switchable classes, over which distances are computed
_CLASS_OF_ID = np.full(256, IGNORE, np.uint8)
_CLASS_OF_ID[list(LABEL_IDS.values())] = np.arange(len(LABEL_IDS))
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
            f"{frame.image} has {_shape(image)} pixels, which do not divide into squares of {factor}: expected "
            "Cityscapes' 1024x2048; choose the `size` full, or get the official files."
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


def classes_of_ids(ids: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Class numbers 0..18, or `IGNORE`, of a map of Cityscapes' label ids (0..33; 255 where a tool wrote -1).

    Raises `DataError`, which calls the map `name`, when it holds any other number.
    """
    unknown = ids[(ids > LAST_ID) & (ids != IGNORE)]
    if unknown.size:
        raise DataError(
            f"{name} holds the label id {unknown[0]}: expected Cityscapes' ids 0..{LAST_ID}, as in the official "
            "*_gtFine_labelIds.png."
        )
    return _CLASS_OF_ID[ids]
