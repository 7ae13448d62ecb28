"""Cityscapes' classes: the label ids of its files, the 19 classes that are evaluated, and the five that flip.

The ids are those of the official scripts (github.com/mcordts/cityscapesScripts, helpers/labels.py); labels without a class
there (void, parking, caravan, ...) are ignored. The classes have the order of the scripts' `trainId` but for the sky: it
comes first, because class 0 of a store is its background, which no distance looks at. The flips are those of the
Probabilistic U-Net (Kohl et al. 2018), section 4.2.
"""

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...store.store import IGNORE, Flip

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
