"""The MNIST guessing game: four digits are shown, one of them is meant, and how often each is known.

Modal Uncertainty Estimation (Qiu and Lui 2020), section 4.1. An image belongs to one of four categories, which fix its four
digits, their order and the probability that each is the answer; the model sees pairs of an image and one answer only.

The four stand as a mosaic of two rows, read as text is. The paper does not say how they lie; a square fits its networks,
whose five halvings (appendix A.1) would leave nothing of a strip that is one digit of 28 pixels high. The answer is a
binary mask of the digit's pixels, where the paper's is the grey digit itself.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...store.store import Store, pool_file

# From a number of images and a generator to images [N, C, H, W], masks [N, R, H, W] and their probabilities [N, R].
DrawExamples = Callable[[int, np.random.Generator], tuple[NDArray, NDArray[np.uint8], NDArray[np.float64]]]
NAME = "mnist-guess"
CATEGORIES = ("A", "B", "C", "D")
DIGITS = np.array(((1, 2, 3, 4), (3, 4, 5, 6), (5, 6, 7, 8), (7, 8, 9, 0)))  # of each category, [4, 4]
PROBABILITIES = np.array(((0.25, 0.25, 0.25, 0.25), (0.1, 0.4, 0.1, 0.4), (0.3, 0.5, 0.1, 0.1), (0.1, 0.1, 0.1, 0.7)))
HALF = 127  # grey above which a pixel belongs to the digit


def draw_examples(
    digits: NDArray[np.uint8], labels: NDArray[np.uint8], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float64]]:
    """Draw `count` images from `digits` [N, H, W] with their `labels` [N], all categories equally often on average.

    Returns images [count, 1, 2H, 2W], the masks [count, 4, 2H, 2W] of the four possible answers (0 background, 1 digit)
    and the probabilities [count, 4] of these.
    """
    categories = rng.integers(len(CATEGORIES), size=count)
    images, masks = lay(digits[choose(labels, categories, rng)])
    return images, masks, PROBABILITIES[categories]


def choose(labels: NDArray[np.uint8], categories: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices [count, 4] of random digits, among those with these `labels` [N], for images of the given `categories`
    [count] (0..3). Every digit from 0 to 9 must be there.
    """
    order = np.argsort(labels, kind="stable")
    numbers = np.bincount(labels, minlength=10)
    first = np.cumsum(numbers) - numbers
    wanted = DIGITS[categories]
    return order[first[wanted] + rng.integers(numbers[wanted])]


def lay(parts: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Mosaics [N, 1, 2H, 2W] of four digits each, `parts` [N, 4, H, W], and the digits' masks [N, 4, 2H, 2W]."""
    count, _, height, width = parts.shape
    images = parts.reshape(count, 2, 2, height, width).transpose(0, 1, 3, 2, 4)
    masks = np.zeros((count, 4, 2, height, 2, width), np.uint8)
    for place in range(4):
        masks[:, place, place // 2, :, place % 2] = parts[:, place] > HALF
    return images.reshape(count, 1, 2 * height, 2 * width), masks.reshape(count, 4, 2 * height, 2 * width)


def example_drawer(store: Store) -> DrawExamples:
    """The function that draws examples of a store's game. Raises DataError for a game that this version does not know."""
    game = store.manifest.deal
    if game != NAME:
        raise DataError(
            f"{store.path} draws its training images by the game {game!r}, which this version does not know."
        )
    with np.load(pool_file(store), allow_pickle=False) as pool:
        digits, labels = pool["digits"], pool["labels"]
    return lambda count, rng: draw_examples(digits, labels, count, rng)
