"""Lesion candidates in a whole chest CT when no place is given (experimental: docs/decisions/0011)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import InputError
from ambiseg.preprocessing.volumes.grid import times
from ambiseg.preprocessing.volumes.volume import Volume

from ..core.randomness import generator_for
from ..runs.trained import Trained
from .blobs import SIGMAS_MM, Blob, find_blobs
from .lesion import WAYS, Lesion
from .lungs import lung_mask
from .neighbourhood import neighbourhood

PROBED = 60  # blobs that the model is asked about
DRAWS = 8


def search(
    trained: Trained,
    volume: Volume,
    *,
    lungs: NDArray[np.bool_] | None = None,
    limit: int = 5,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Lesion]:
    """The `limit` most likely lesions of a chest CT in HU, the best first.

    Args:
        trained: the model, which is asked about the most promising places.
        volume: the scan.
        lungs: [Z, Y, X], where to look; None: found by `lung_mask`.
        limit: the largest number of lesions to return.
        on_progress: called with the number of steps done and their total.

    Returns:
        Lesions with a `score` from 0 to 1. It orders the candidates of one scan and is not a probability.

    Raises:
        InputError: when the lungs are empty, or lie on another grid.
    """
    total = 2 + len(SIGMAS_MM)
    inside = _lungs(volume, lungs)
    on_progress(1, total)
    blobs = find_blobs(volume, inside, max(PROBED, limit), lambda done, _: on_progress(1 + done, total))
    scores = weigh(trained, volume, blobs)
    on_progress(total, total)
    best = np.argsort(-scores, kind="stable")[:limit]
    return [Lesion(_place(volume, blobs[index]), score=round(float(scores[index]), 3)) for index in best]


def weigh(trained: Trained, volume: Volume, blobs: Sequence[Blob]) -> NDArray[np.float64]:
    """Scores [N] from 0 to 1: a blob's likeness to a nodule times (1 + p) / 2, where p is the model's foreground probability.

    A model that was only trained on lesions finds one nearly everywhere, so it can at most double a score. A model that
    reads another segmenter's probabilities is not asked.
    """
    scores = np.array([blob.likeness for blob in blobs])
    if len(blobs) and not trained.record.data.probabilities:
        scores *= (1 + foreground(trained, volume, blobs)) / 2
    return scores


@torch.inference_mode()
def foreground(trained: Trained, volume: Volume, blobs: Sequence[Blob]) -> NDArray[np.float64]:
    """The model's mean foreground probability [N] within each blob, on the slice through its centre."""
    data, crop = trained.record.data, trained.record.crop
    images = []
    for blob in blobs:
        slice_ = _slice_through(volume, blob)
        place = neighbourhood(slice_, Lesion(volume.world(blob.centre)), crop, data.spacing_mm, depth_mm=0)
        images.append(place.images(slice_, data.intensities, data.scaled_over))
    atoms = trained.predictive(np.concatenate(images)).atoms(DRAWS, generator_for(0, "search"))
    lesion = 1 - atoms.marginal[:, 0].double().cpu().numpy()
    pixel_mm = data.spacing_mm or min(volume.spacing_mm[1:])
    radius = np.array([max(blob.diameter_mm / 2 / pixel_mm, 1) for blob in blobs])
    line = np.arange(crop) - (crop - 1) / 2
    discs = np.hypot(line[:, None], line) <= radius[:, None, None]
    return (lesion * discs).sum((1, 2)) / discs.sum((1, 2))


def _slice_through(volume: Volume, blob: Blob) -> Volume:
    """The scan's slice through the blob's centre as a scan of its own, whose range of values is found quickly."""
    index = min(max(round(blob.centre[0]), 0), len(volume.array) - 1)
    affine = volume.affine.copy()
    affine[:3, 3] += index * affine[:3, 2]
    return Volume(volume.array[index : index + 1], affine, modality=volume.modality)


def _place(volume: Volume, blob: Blob) -> tuple[float, float, float]:
    """The blob's centre in mm (RAS), rounded to .1 mm as it is printed: the printed place gives the same result as a point."""
    x, y, z = (round(value, 1) + 0.0 for value in volume.world(blob.centre))
    return x, y, z


def _lungs(volume: Volume, lungs: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """The mask to search in, checked."""
    if lungs is not None and lungs.shape != volume.array.shape:
        got, expected = (times(array.shape[::-1]) for array in (lungs, volume.array))
        raise InputError(f"The lung mask has {got} voxels, but the scan has {expected}: draw the mask on this scan.")
    inside = lung_mask(volume) if lungs is None else lungs.astype(bool, copy=False)
    if not inside.any():
        empty = (
            "The lung mask is empty"
            if lungs is not None
            else "No lungs were found in the scan (is it a chest CT in HU?)"
        )
        raise InputError(f"{empty}, so there is nowhere to search: give `lung_mask`, or say where to look with {WAYS}.")
    return inside
