"""From a scan and a place in it to ranked hypotheses on the scan's own voxels (docs/decisions/0004).

The slices about the lesion are cut out as in training; one latent draw is shared by all of them, so that each draw is
one consistent volume; what lies apart from the lesion is taken off each draw; the volumes are ranked as wholes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.preprocessing.class_probabilities import Probabilities
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.volume import Volume

from .calibration import Calibration
from .hypotheses import MERGE, Hypotheses, rank
from .lesion import Lesion
from .neighbourhood import Box, in_range, neighbourhood
from .randomness import generator_for
from .run import Trained

NEAR_MM = 5.0  # pieces of a draw that come this close to the point or mask belong to the lesion
SEARCH_MM = 15.0  # without any, the nearest piece does, if it is no farther than this
DEPTH_MM = 20.0  # slices looked at on either side of the point, where the crop is not smaller


@dataclass(frozen=True)
class LesionHypotheses:
    """What a model says of one lesion, on the scan's voxels in `box` (z, y, x); outside it everything is background.

    `hypotheses.masks` [N, Z, Y, X] class labels, their probabilities calibrated where the model is; `probability`
    [Z, Y, X]: of any foreground class, the mean over the model's draws; `entropy` [Z, Y, X] of the classes' mean
    probabilities, in nats; `aleatoric` [Z, Y, X]: the entropy of the class probabilities that the model states without a
    draw, None where it states none; `no_lesion`: the probability that nothing is marked, that of the empty hypothesis.
    """

    lesion: Lesion
    box: Box
    hypotheses: Hypotheses
    probability: NDArray[np.float32]
    entropy: NDArray[np.float32]
    no_lesion: float
    aleatoric: NDArray[np.float32] | None = None


def predict_volume(
    trained: Trained,
    volume: Volume,
    lesions: Sequence[Lesion],
    *,
    probabilities: Probabilities | None = None,
    top: int = 8,
    draws: int = 256,
    merge: float = MERGE,
    depth_mm: float | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[LesionHypotheses]:
    """The `top` hypotheses of each lesion from `draws` draws (a finite model gives at most as many masks instead).

    Slices within `depth_mm` of a lesion's centre are looked at (default: half the crop's width, 20 mm at most).
    `probabilities` [K, Z, Y, X]: another segmenter's class probabilities of the scan, for a model that reads them.
    A lesion's result depends on the scan, the model, the seed and these settings, not on the other lesions.
    """
    check_inputs(trained, probabilities is not None)
    results: list[LesionHypotheses] = []
    for lesion in lesions:
        on_progress(len(results), len(lesions))
        results.append(_predict(trained, volume, probabilities, lesion, top, draws, merge, depth_mm, seed))
    on_progress(len(results), len(lesions))
    return results


def check_inputs(trained: Trained, probabilities: bool) -> None:
    """Raise `UsageError` unless the model reads a scan, and class probabilities just where there are `probabilities`."""
    data = trained.record.data
    if data.channels != 1:
        raise UsageError(f"The model reads {data.channels} channels, a scan has one: give another --model.")
    if data.probabilities and not probabilities:
        raise UsageError(
            f"The model {trained.name} refines another segmenter's class probabilities, and none were given: give them "
            "with --probabilities FILE."
        )
    if probabilities and not data.probabilities:
        raise UsageError(
            f"The model {trained.name} was trained without another segmenter's class probabilities: leave --probabilities "
            "out, or give another --model."
        )


def _predict(
    trained: Trained,
    volume: Volume,
    probabilities: Probabilities | None,
    lesion: Lesion,
    top: int,
    draws: int,
    merge: float,
    depth_mm: float | None,
    seed: int,
) -> LesionHypotheses:
    data, crop = trained.record.data, trained.record.crop
    reach = min(DEPTH_MM, crop * (data.spacing_mm or min(volume.spacing_mm[1:])) / 2) if depth_mm is None else depth_mm
    place = neighbourhood(volume, lesion, crop, data.spacing_mm, reach)
    images = place.images(volume, data.intensity)
    crops_of_other = None if probabilities is None else place.probabilities(probabilities)
    with torch.inference_mode():
        predictive = trained.predictive(images, crops_of_other)
        atoms = predictive.atoms(draws, generator_for(seed, "predict"), tied=True)
        stated = predictive.pixelwise()
    crops = atoms.labels.cpu().numpy()
    classes = len(data.class_names)
    labels = np.stack([place.labels_back(slices, classes) for slices in crops], 1)  # [S, Z, Y, X]
    if not lesion.whole:
        _keep_lesion(labels, place.distance(volume, lesion))
    weights = atoms.weights[0].double().cpu().numpy()
    weights /= weights.sum()
    ranked = rank(labels, weights, top=len(labels), merge=merge, draws=atoms.draws)
    calibration = calibration_at(trained, merge)
    believed = ranked if calibration is None else calibration.calibrated(ranked)
    marginal = place.marginal_back(atoms.marginal.float().cpu().numpy())
    return LesionHypotheses(
        lesion,
        place.box,
        believed.first(top),
        marginal[:, 1:].sum(1),
        _entropy(marginal),
        float(believed.probabilities[believed.empty].sum()),
        None if stated is None else _entropy(place.marginal_back(stated.float().cpu().numpy())),
    )


def calibration_at(trained: Trained, merge: float) -> Calibration | None:
    """The model's calibration, None without one, or when masks are merged at another distance than it was fitted at."""
    found = trained.calibration
    return found if found is not None and math.isclose(found.merge, merge) else None


def _keep_lesion(labels: NDArray[np.uint8], distance_mm: NDArray[np.float32]) -> None:
    """Take off each draw [S, Z, Y, X] the pieces (26 neighbours) that are not the lesion's, in place.

    The pieces within `NEAR_MM` stay; without any, the nearest one, if it lies within `SEARCH_MM`.
    """
    from scipy import ndimage

    for draw in labels:
        pieces, count = ndimage.label(draw, np.ones((3, 3, 3)))
        if count:
            nearest = ndimage.minimum(distance_mm, pieces, np.arange(1, count + 1))
            limit = max(NEAR_MM, min(SEARCH_MM, nearest.min()))
            draw[~np.concatenate(([False], nearest <= limit))[pieces]] = 0


def _entropy(marginal: NDArray[np.float32]) -> NDArray[np.float32]:
    """Entropy in nats [Z, Y, X] of class probabilities [Z, K, Y, X]."""
    return -(marginal * np.log(np.where(marginal > 0, marginal, 1))).sum(1).astype(np.float32)


def doubts(trained: Trained, volume: Volume, merge: float = MERGE) -> list[str]:
    """Why the model may not be made for this scan, or its calibration not for this `merge`: sentences, none when nothing is
    amiss.
    """
    return _doubts_of_scan(trained, volume) + _doubts_of_calibration(trained, merge)


def _doubts_of_calibration(trained: Trained, merge: float) -> list[str]:
    if trained.calibration is None or calibration_at(trained, merge) is not None:
        return []
    return [
        f"The calibration was fitted with masks merged at {trained.calibration.merge:g}: at {merge:g} the probabilities are "
        "the model's own."
    ]


def _doubts_of_scan(trained: Trained, volume: Volume) -> list[str]:
    intensity = trained.record.data.intensity
    low, high = float(volume.array.min()), float(volume.array.max())
    if intensity.unit == "HU" and (low > -200 or high < -500):  # a piece of lung may hold little that is dense
        return [
            f"The model was trained on CT in HU, and the scan's values reach from {low:g} to {high:g} only, without "
            "air or with nothing else: is it a CT in HU?"
        ]
    if intensity.unit != "HU" and not in_range(volume, intensity):
        return [
            f"The model was trained on values from {intensity.low:g} to {intensity.high:g} without a unit, and the scan's "
            f"reach from {low:g} to {high:g}: each crop was scaled to that range by its own minimum and maximum."
        ]
    return []
