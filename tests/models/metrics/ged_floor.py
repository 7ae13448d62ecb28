"""The GED that a perfect model reaches on data whose truth is known.

A model that draws N masks from the truth itself has, by the bias of the V-statistic (see `distances`) and with the
readers' side exact,

    E[GED_V] = 2 E d(y, y') - (1 - 1/N) E d(y, y') - E d(y, y') = E d(y, y') / N

for one image: of its N^2 pairs of draws, N are self-pairs with d = 0. No model's expectation is lower. Of the unbiased
U-statistic the floor is 0, and so it is of both for a model that gives the exact odds (N is then infinite).
"""

import numpy as np
from numpy.typing import NDArray

from ambiseg.models.core.overlap import comparable, pairwise_iou
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.planes import centre_crop


def floor(store: Store, rows: NDArray[np.intp] | None = None, *, samples: int, crop: int | None = None) -> float:
    """Expected GED_V of a perfect model at `samples` draws per image, mean over the rows (None: all) of a store.

    crop: side of the central part that counts, None: the whole images. Raises DataError for a store without known odds.
    """
    rows = np.arange(len(store)) if rows is None else rows
    size = max(store.size) if crop is None else crop
    diversities = []
    for odds, row in zip(store.truth.probabilities(rows), rows, strict=True):
        masks = centre_crop(store.masks(np.array([row]))[0], size)
        _, compared = comparable(masks, masks, scored=store.manifest.scored_labels)
        diversities.append(odds @ (1 - pairwise_iou(compared)) @ odds)
    return float(np.mean(diversities)) / samples
