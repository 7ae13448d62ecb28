"""Flips: classes that change their name at random, so that one label map stands for 2^F masks of known probability.

Kohl et al. 2018 (section 4.3) make Cityscapes ambiguous in this way: in each image every "sidewalk" becomes "sidewalk 2" with
probability 8/17, and four more classes likewise, independently of each other. Mode number m of the 2^F modes is the one
in which flip f is applied where bit f of m is 1 (the first flip is the lowest bit).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..errors import DataError


@dataclass(frozen=True)
class Flip:
    """All pixels of class `source` become `target` with `probability`, in the whole image at once."""

    source: Annotated[int, Field(strict=True)]
    target: Annotated[int, Field(strict=True)]
    probability: Annotated[float, Field(strict=True, ge=0, le=1)]


def flip_probabilities(flips: Sequence[Flip]) -> NDArray[np.float64]:
    """Probabilities [2^F] of the modes; the flips are independent.

    >>> flip_probabilities([Flip(1, 2, 0.25)])
    array([0.75, 0.25])
    """
    found = np.ones(1)
    for flip in flips:
        found = np.concatenate((found * (1 - flip.probability), found * flip.probability))
    return found


def flip_tables(flips: Sequence[Flip]) -> NDArray[np.uint8]:
    """The label that each of the 256 labels becomes in each mode, [2^F, 256]."""
    tables = np.tile(np.arange(256, dtype=np.uint8), (2 ** len(flips), 1))
    for number, flip in enumerate(flips):
        applied = np.arange(len(tables)) >> number & 1 == 1
        tables[applied, flip.source] = flip.target
    return tables


def flipped(labels: NDArray[np.uint8], flips: Sequence[Flip]) -> NDArray[np.uint8]:
    """All modes [N, 2^F, H, W] of label maps [N, H, W]."""
    tables = flip_tables(flips)
    modes = np.empty((len(labels), len(tables), *labels.shape[1:]), np.uint8)
    for number, table in enumerate(tables):
        modes[:, number] = table[labels]
    return modes


def check_flips(flips: Sequence[Flip], class_names: Sequence[str]) -> None:
    """Raise a DataError for a flip from or to a label that is no class, two flips of one class, or no probability."""
    for flip in flips:
        for label in (flip.source, flip.target):
            if not 0 <= label < len(class_names):
                raise DataError(
                    f"A flip from class {flip.source} to {flip.target}: expected classes 0..{len(class_names) - 1}; "
                    "name more classes or correct the flip."
                )
        if not 0 <= flip.probability <= 1:
            raise DataError(
                f"The flip of {class_names[flip.source]} has probability {flip.probability}: expected 0 to 1."
            )
    sources = [flip.source for flip in flips]
    if len(set(sources)) < len(sources):
        raise DataError("Two flips change the same class: give each class one flip at most.")
