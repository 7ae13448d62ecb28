"""The crops that galleries show: a split's images one by one, as the model sees them and as people do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.planes import centre_crop

from ...evaluation.rows import chosen_rows, readable
from ...runs.trained import Trained
from ..drawing import grey_levels


@dataclass(frozen=True)
class Crop:
    """An image of a split.

    Attributes:
        row: its row in the data set.
        image: as the network reads it [1, C, H, W].
        shown: 0 to 1 [H, W].
        masks: of its readers [R, H, W].
    """

    row: int
    image: Tensor
    shown: NDArray[np.float64]
    masks: NDArray[np.uint8]


def crops(
    trained: Trained,
    store: Store,
    split: str,
    images: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Crop]:
    """Images spread evenly over a split, cut to the training crop's size.

    Raises DataError when the model cannot read the data, InputError when the split has no images, UsageError when `images`
    is below 1.
    """
    store = readable(trained, store)
    rows = chosen_rows(store, split, images)
    size = trained.record.crop
    shown = grey_levels(centre_crop(store.images(rows)[:, 0], size), store.intensity.unit)
    for number, row in enumerate(rows):
        one = rows[number : number + 1]
        yield Crop(
            int(row),
            trained.network_input(*trained.record.crops(store, one)),
            shown[number],
            centre_crop(store.masks(one)[0], size)[store.present[row]],
        )
        on_progress(number + 1, len(rows))
