"""One lesion's draws on the scan's own voxels: what the model is asked, and what its answer becomes (docs/decisions/0004).

The slices around the lesion are cut out as in training. Each draw is one consistent volume (`Predictive.lesion`). Pieces of a
draw that lie apart from the lesion are removed.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import ResourceError
from ambiseg.preprocessing.scans.class_probabilities import Probabilities
from ambiseg.preprocessing.volumes.volume import Volume

from ..core.randomness import generator_for
from ..runs.trained import Trained
from .lesion import Lesion
from .neighbourhood import Neighbourhood

NEAR_MM = 5.0  # pieces of a draw within this distance of the point or mask belong to the lesion
SEARCH_MM = 15.0  # if there is none, the nearest piece belongs to it when it is no farther than this
MOST_VOXELS = 8e9  # of all draws of a lesion together, one byte each


@dataclass(frozen=True)
class Draws:
    """A model's masks on the scan's voxels: `labels` [S, Z, Y, X] and `weights` [S], which sum to 1.

    `draws` and `left_out` are as in `Atoms`. Two maps of class probabilities [Z, K, Y, X] come with them: `marginal`, their
    mean, and `stated`, what the model states without a draw (None if it states nothing).
    """

    labels: NDArray[np.uint8]
    weights: NDArray[np.float64]
    draws: int | None
    marginal: NDArray[np.float32]
    stated: NDArray[np.float32] | None
    left_out: float = 0.0


def draw_masks(
    trained: Trained,
    volume: Volume,
    probabilities: Probabilities | None,
    lesion: Lesion,
    seed: int,
    place: Neighbourhood,
    draws: int,
) -> Draws:
    """The model's masks on a place's slices, without the pieces that do not belong to the lesion.

    Args:
        trained: the model.
        volume: the scan.
        probabilities: another segmenter's class probabilities [K, Z, Y, X] of the scan, for a model that reads them.
        lesion: the lesion that the place lies around.
        seed: the same seed gives the same masks.
        place: the slices and the crop on each.
        draws: how many masks to draw; a model with finitely many masks gives at most so many of them instead.

    Raises:
        ResourceError: before the work, when the masks would not fit into memory.
    """
    _check_voxels(place, draws)
    data = trained.record.data
    images = place.images(volume, data.intensities, data.scaled_over)
    crops_of_other = None if probabilities is None else place.probabilities(probabilities)
    with torch.inference_mode():
        predictive = trained.predictive(images, crops_of_other)
        atoms = predictive.lesion(draws, place.slices(volume, lesion, trained.extent), generator_for(seed, "predict"))
        stated = predictive.pixelwise()
    classes = len(data.class_names)
    labels = np.stack([place.labels_back(slices, classes) for slices in atoms.labels.cpu().numpy()], 1)
    if not lesion.whole:
        _keep_lesion(labels, place.distance(volume, lesion))
    weights = atoms.weights[0].double().cpu().numpy()
    return Draws(
        labels=labels,
        weights=weights / weights.sum(),
        draws=atoms.draws,
        marginal=place.marginal_back(atoms.marginal.float().cpu().numpy()),
        stated=None if stated is None else place.marginal_back(stated.float().cpu().numpy()),
        left_out=atoms.share_left_out(),
    )


def _check_voxels(place: Neighbourhood, draws: int) -> None:
    """Raise ResourceError, before the work, when the masks would not fit into memory."""
    voxels = draws * math.prod(place.shape)
    if voxels > MOST_VOXELS:
        sides = " x ".join(map(str, reversed(place.shape)))
        raise ResourceError(
            f"{draws} masks of {sides} voxels around a lesion would need {voxels / 1e9:.0f} GB: use fewer slices "
            "(`depth_mm`) or fewer `draws`."
        )


def _keep_lesion(labels: NDArray[np.uint8], distance_mm: NDArray[np.float32]) -> None:
    """Remove from each draw [S, Z, Y, X], in place, the pieces (26 neighbours) that do not belong to the lesion.

    The pieces within `NEAR_MM` stay. If there is none, the nearest piece stays if it lies within `SEARCH_MM`.
    """
    from scipy import ndimage

    near = np.flatnonzero(distance_mm <= NEAR_MM)
    for draw in labels:
        marked = np.flatnonzero(draw.any((1, 2)))
        if not len(marked):
            continue
        slices = slice(marked[0], marked[-1] + 1)
        pieces = np.zeros(draw.shape, np.int32)
        count = ndimage.label(draw[slices], np.ones((3, 3, 3)), output=pieces[slices])
        kept = np.zeros(count + 1, bool)
        kept[pieces.ravel()[near]] = True
        if not kept[1:].any():
            nearest = _nearest(distance_mm[slices], pieces[slices], count)
            kept[1:] = (nearest <= SEARCH_MM) & (nearest == nearest.min())
        kept[0] = True
        if not kept.all():
            draw[~kept[pieces]] = 0


def _nearest(distance_mm: NDArray[np.float32], pieces: NDArray[np.int32], count: int) -> NDArray[np.float32]:
    """The least distance of each piece [count]."""
    marked = np.flatnonzero(pieces)
    nearest = np.full(count + 1, np.inf, np.float32)
    np.minimum.at(nearest, pieces.ravel()[marked], distance_mm.ravel()[marked])
    return nearest[1:]
