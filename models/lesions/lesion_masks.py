"""The two sides of one lesion: a model's weighted volumes of it, and its readers' volumes, on one frame.

The model gets all slices of the lesion at once. Its masks lie on the centre of the stored crops that it was trained to see.
Readers' masks are taken from the whole stored crop: what they marked beyond the model's view counts against the model.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.store.lesion_rows import LesionRows
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.planes import centre_start

from ..core.calibration import Reweighting, reweighted
from ..core.lesion_slices import LesionSlices
from ..core.overlap import comparable
from ..core.randomness import generator_for, seed_of
from ..metrics.sides import Sides, both_sides
from ..runs.trained import Trained

USUAL_STEP_MM = 2.5


@dataclass(frozen=True)
class LesionAtoms:
    """A model's weighted set of masks of one lesion.

    Attributes:
        labels: classes [S, Z, Y, X].
        weights: of these masks [S], sum 1.
        draws: how many independent draws these are; None: they have exact weights.
        marginal: class probabilities of the voxels [Z, K, Y, X].
        left_out: the probability of the masks that the model has beside these.
    """

    labels: NDArray[np.uint8]
    weights: NDArray[np.float64]
    draws: int | None
    marginal: NDArray[np.float32]
    left_out: float = 0.0


@dataclass(frozen=True)
class LesionSides:
    """What is compared of one lesion, all of it on one frame [Z, Y, X] that holds every mask.

    Attributes:
        sides: the model's and the readers' masks.
        mean_map: the most probable class of each voxel of the model's mean map [Z, Y, X].
    """

    sides: Sides
    mean_map: NDArray[np.uint8]


def lesion_atoms(
    trained: Trained,
    images: NDArray,
    slices: LesionSlices,
    samples: int,
    seed: int,
    probabilities: NDArray[np.uint8] | None = None,
) -> LesionAtoms:
    """A model's whole weighted set of masks of a lesion.

    Args:
        trained: the model.
        images: all slices of the lesion in their order [Z, C, H, W], in the unit of the training data.
        slices: where they lie.
        samples: how many masks at most (S).
        seed: the same seed gives the same masks.
        probabilities: class probabilities [Z, K, H, W] of another segmenter in 255ths, for a model that reads them.

    Raises:
        DataError: the model's probabilities are not finite.
    """
    with torch.inference_mode():
        predictive = trained.predictive(images, probabilities)
        atoms = predictive.lesion(samples, slices, generator_for(seed, "lesion"))
    weights = atoms.weights[0].double().cpu().numpy()
    marginal = atoms.marginal.float().cpu().numpy()
    if not (np.isfinite(weights).all() and np.isfinite(marginal).all()):
        raise DataError("The model gives no finite probabilities for a lesion: train it again.")
    labels = np.ascontiguousarray(atoms.labels.cpu().numpy().swapaxes(0, 1))
    return LesionAtoms(labels, weights / weights.sum(), atoms.draws, marginal, atoms.share_left_out())


def drawn_lesion(trained: Trained, store: Store, lesion: LesionRows, samples: int, seed: int, size: int) -> LesionAtoms:
    """The `lesion_atoms` of a lesion of a store, on the central `size` pixels of its crops.

    The random numbers depend on `seed` and on the lesion's first row alone.
    """
    images, *probabilities = trained.record.crops(store, lesion.rows, size)
    slices = LesionSlices(places_mm(store, lesion), extent=trained.extent)
    numbers = seed_of(seed, "evaluate", int(lesion.rows.min()))
    return lesion_atoms(trained, images, slices, samples, numbers, *probabilities)


def places_mm(store: Store, lesion: LesionRows) -> list[float]:
    """Where the slices lie; if that is not known, apart as slices of a CT usually are."""
    places = [store.index[row].z_mm for row in lesion.rows]
    known = [place for place in places if place is not None]
    step = lesion.step_mm or USUAL_STEP_MM
    return known if len(known) == len(places) else [step * number for number in range(len(places))]


def readers_of(store: Store, lesion: LesionRows) -> NDArray[np.uint8]:
    """The volumes [R, Z, H, W] of the readers who read all slices of a lesion, on its whole stored crops."""
    present = store.present[lesion.rows].all(0)
    return np.ascontiguousarray(store.masks(lesion.rows)[:, present].swapaxes(0, 1))


def sides_of_lesion(
    atoms: LesionAtoms, readers: NDArray[np.uint8], scored: tuple[int, ...] | None, calibration: Reweighting | None
) -> LesionSides:
    """Compare a model's weighted volumes with the readers' volumes.

    Args:
        atoms: the model's, on the centre of the stored crops.
        readers: volumes [R, Z, H, W] on the whole stored crops.
        scored: the foreground classes that count; None: all.
        calibration: the model's for volumes. It changes the weights of the whole set, from which all figures are.

    Raises:
        DataError: there is no reader.
    """
    mean_map = atoms.marginal.argmax(1).astype(np.uint8)
    labels, masks = on_one_frame(np.concatenate((atoms.labels, mean_map[None])), readers)
    weights, left_out = reweighted(atoms.weights, atoms.labels, calibration, atoms.left_out)
    sides = both_sides(
        labels[:-1], weights, masks, draws=atoms.draws, scored=scored, left_out=left_out
    )  # pixels that a reader ignores are background in its masks
    return LesionSides(sides, _counted(labels[-1], masks, scored))


def on_one_frame(labels: NDArray[np.uint8], masks: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Masks of the centre of a crop and masks of the whole crop, both on the smallest frame that holds all marks.

    Args:
        labels: masks [S, Z, h, w] of the central h x w pixels.
        masks: masks [R, Z, H, W] of the whole crop.

    Returns:
        The masks [S, Z, Y, X] and [R, Z, Y, X]. Beyond the centre the first mark nothing.

    Example:
        >>> centre, whole = np.ones((2, 1, 2, 2), np.uint8), np.zeros((1, 1, 6, 6), np.uint8)
        >>> whole[..., 0] = 1
        >>> [found.shape for found in on_one_frame(centre, whole)]
        [(2, 1, 6, 4), (1, 1, 6, 4)]
    """
    starts = [centre_start(side, size) for side, size in zip(masks.shape[2:], labels.shape[2:], strict=True)]
    frame = [
        _extent([(_profile(labels, axis), start), (_profile(masks, axis), 0)])
        for axis, start in zip((2, 3), starts, strict=True)
    ]
    wide = np.zeros((*labels.shape[:2], *(stop - first for first, stop in frame)), np.uint8)
    here, there = [], []
    for (first, stop), start, size in zip(frame, starts, labels.shape[2:], strict=True):
        low, high = max(first, start), min(stop, start + size)
        here.append(slice(low - first, max(low, high) - first))
        there.append(slice(low - start, max(low, high) - start))
    wide[:, :, here[0], here[1]] = labels[:, :, there[0], there[1]]
    (top, bottom), (left, right) = frame
    return wide, np.ascontiguousarray(masks[:, :, top:bottom, left:right])


def _profile(masks: NDArray[np.uint8], axis: int) -> NDArray[np.bool_]:
    """Where along an axis any mask marks anything."""
    return np.asarray(masks.any(tuple({0, 1, 2, 3} - {axis})))


def _extent(profiles: list[tuple[NDArray[np.bool_], int]]) -> tuple[int, int]:
    """First pixel of any profile and the one after the last, given the pixel at which each begins; one pixel of none."""
    marked = np.concatenate([np.flatnonzero(profile) + start for profile, start in profiles])
    return (int(marked.min()), int(marked.max()) + 1) if len(marked) else (0, 1)


def _counted(
    mean_map: NDArray[np.uint8], masks: NDArray[np.uint8], scored: tuple[int, ...] | None
) -> NDArray[np.uint8]:
    """A mask [Z, Y, X] reduced to what counts, as `both_sides` does it."""
    found, _ = comparable(mean_map[None], masks, scored=scored)
    return np.asarray(found[0])
