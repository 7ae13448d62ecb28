"""Games whose training images are dealt anew for every step, from a bank of parts that the dataset store keeps."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...store.store import Store
from . import guessing_game as mnist_guess

# From a number of images and a generator to images [N, C, H, W], masks [N, R, H, W] and their probabilities [N, R].
Dealer = Callable[[int, np.random.Generator], tuple[NDArray, NDArray[np.uint8], NDArray[np.float64]]]


def dealer(store: Store) -> Dealer:
    """The function that deals images of a store's game. Raises DataError for a game that this version does not know."""
    if store.deal != mnist_guess.NAME:
        raise DataError(f"{store.path} deals its training images by {store.deal!r}, which this version does not know.")
    with np.load(store.whole_bank, allow_pickle=False) as bank:
        digits, labels = bank["digits"], bank["labels"]
    return lambda count, rng: mnist_guess.deal(digits, labels, count, rng)
