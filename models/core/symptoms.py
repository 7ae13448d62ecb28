"""Signs that a model has not learned a distribution over masks: one sentence each, with a remedy.

They are read from means over the images of a split, so that a training and an evaluation say the same. The thresholds are
wide: a model that works comes nowhere near them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

ALL_EMPTY = 0.99  # share of the model's masks from which they count as all empty
ALIKE = 0.01  # diversity of draws below which they count as one mask
DISAGREE = 0.1  # diversity of readers from which they count as disagreeing
CONSTANT, VARIES = 0.02, 0.2  # spreads of P(empty mask) over images: of a model that ignores them, of readers


@dataclass(frozen=True)
class MaskSets:
    """What the masks of a model and of the readers are like, means over the images of a split.

    Attributes:
        diversity: expected distance of two of the model's masks, 0 to 1.
        reader_diversity: that of two readers' masks.
        empty: probability that a mask of the model is empty.
        reader_empty: that a reader's is.
        empty_spread: standard deviation of `empty` over the images.
        reader_empty_spread: that of `reader_empty`.
    """

    diversity: float
    reader_diversity: float
    empty: float
    reader_empty: float
    empty_spread: float
    reader_empty_spread: float

    @classmethod
    def of(cls, figures: Mapping[str, ArrayLike]) -> "MaskSets":
        """From the figures of each image [B]: "sample_diversity", "reader_diversity", "empty_model", "empty_readers"."""
        columns = {name: np.asarray(values, float) for name, values in figures.items()}
        empty, reader_empty = columns["empty_model"], columns["empty_readers"]
        return cls(
            _mean(columns["sample_diversity"]),
            _mean(columns["reader_diversity"]),
            _mean(empty),
            _mean(reader_empty),
            float(np.std(empty)),
            float(np.std(reader_empty)),
        )


def symptoms(sets: MaskSets) -> list[str]:
    """Sentences on what is wrong with a model's masks; none for one that works.

    Args:
        sets: what its masks and the readers' are like.

    Returns:
        Each with what was found and what to do.

    Example:
        >>> symptoms(MaskSets(0.39, 0.40, 0.35, 0.33, 0.30, 0.38))
        []
        >>> print(*symptoms(MaskSets(0.0, 0.40, 1.0, 0.33, 0.0, 0.38)))
        Nearly all masks are empty (100 %; of the readers' 33 %): train longer, and check that the images are scaled as \
the data card says.
    """
    found = []
    if sets.empty >= ALL_EMPTY > sets.reader_empty + 0.05:
        found.append(
            f"Nearly all masks are empty ({100 * sets.empty:.0f} %; of the readers' {100 * sets.reader_empty:.0f} %): train "
            "longer, and check that the images are scaled as the data card says."
        )
    elif sets.diversity <= ALIKE and sets.reader_diversity >= DISAGREE:
        found.append(
            f"All masks of an image are alike (diversity {sets.diversity:.3f}; readers {sets.reader_diversity:.2f}): the model "
            "has collapsed to one mask. Train longer, lower the weight of the KL divergence (`options.beta`), or choose another"
            " `method`."
        )
    elif sets.empty_spread <= CONSTANT and sets.reader_empty_spread >= VARIES:
        found.append(
            f"The probability of an empty mask is the same for all images ({sets.empty:.2f}, standard deviation "
            f"{sets.empty_spread:.3f}; readers {sets.reader_empty_spread:.2f}): the model ignores the image. Train longer, or "
            "choose a `method` whose prior sees the image."
        )
    return found


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of the values that are defined; 0 where none is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0
