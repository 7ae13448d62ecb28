"""From a scan and a place in it to ranked hypotheses on the scan's own voxels (docs/decisions/0004).

The slices about the lesion are cut out as in training; one latent draw is shared by all of them and stitched, so that
each draw is one consistent volume; what lies apart from the lesion is taken off each draw; the volumes are ranked as wholes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import ResourceError, UsageError
from ambiseg.preprocessing.scans.class_probabilities import Probabilities
from ambiseg.preprocessing.volumes.volume import Volume

from ..core.calibration import Calibration
from ..core.hypotheses import MERGE, Hypotheses, rank
from ..core.overlap import marked_pixels, pairwise_iou
from ..core.randomness import generator_for
from ..metrics.distances import without_self_pairs
from ..runs.trained import Trained
from .lesion import Lesion
from .neighbourhood import Box, Neighbourhood, neighbourhood
from .stitch import stitching

NEAR_MM = 5.0  # pieces of a draw that come this close to the point or mask belong to the lesion
SEARCH_MM = 15.0  # without any, the nearest piece does, if it is no farther than this
DEPTH_MM = 20.0  # slices looked at on either side of the point at most
FEW = 12  # slices that are all looked at; of more, those that the lesion reaches
PROBE = 32  # draws that tell which it reaches
MARGIN_MM = 3.0  # beyond the slices that they mark
MOST_VOXELS = 8e9  # of all draws of a lesion together, a byte each
LEAST_MM = 5.0  # on either side of the point, whatever they mark


@dataclass(frozen=True)
class Ranking:
    """How hypotheses are made: the `top` of them from `draws` draws (a finite model gives at most as many masks instead),
    masks closer than `merge` (1 - IoU) being one. Slices within `depth_mm` of a lesion's centre are looked at; None: as
    far as the lesion reaches, but no farther than half a crop or 20 mm. Raises UsageError for what is out of range.
    """

    top: int = 8
    draws: int = 256
    merge: float = MERGE
    depth_mm: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.top < 1 or self.draws < 1 or not 0 <= self.merge <= 1 or (self.depth_mm or 0) < 0:
            raise UsageError(
                "Expected top and draws of at least 1, merge from 0 to 1 and a depth of at least 0 mm, came "
                f"{self.top}, {self.draws}, {self.merge} and {self.depth_mm}: correct them."
            )


@dataclass(frozen=True)
class LesionHypotheses:
    """What a model says of one lesion, on the scan's voxels in `box` (z, y, x); outside it everything is background.

    `hypotheses.masks` [N, Z, Y, X] class labels, their probabilities calibrated where the model is; `probability`
    [Z, Y, X]: of any foreground class, the mean over the model's draws; `entropy` [Z, Y, X] of the classes' mean
    probabilities, in nats; `aleatoric` [Z, Y, X]: the entropy of the class probabilities that the model states without a
    draw, None where it states none; `no_lesion`: the probability that nothing is marked, that of the empty hypothesis;
    `ambiguity`: the mean distance 1 - IoU of two of the model's masks, 0 where all are the same; `agreement` [N]: IoU of
    each hypothesis with the most probable one.
    """

    lesion: Lesion
    box: Box
    hypotheses: Hypotheses
    probability: NDArray[np.float32]
    entropy: NDArray[np.float32]
    no_lesion: float
    ambiguity: float
    agreement: NDArray[np.float64]
    aleatoric: NDArray[np.float32] | None = None


def predict_volume(
    trained: Trained,
    volume: Volume,
    lesions: Sequence[Lesion],
    ranking: Ranking = Ranking(),
    *,
    probabilities: Probabilities | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[LesionHypotheses]:
    """The hypotheses of each lesion.

    `probabilities` [K, Z, Y, X]: another segmenter's class probabilities of the scan, for a model that reads them.
    A lesion's result depends on the scan, the model and the ranking, not on the other lesions.
    """
    check_inputs(trained, probabilities is not None)
    results: list[LesionHypotheses] = []
    for lesion in lesions:
        on_progress(len(results), len(lesions))
        results.append(_predict(trained, volume, probabilities, lesion, ranking))
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


@dataclass(frozen=True)
class _Drawn:
    """A model's masks on the scan's voxels: labels [S, Z, Y, X], weights [S] (sum 1), `draws` as in `Atoms`, and class
    probabilities [Z, K, Y, X]: their mean, and what the model states without a draw.
    """

    labels: NDArray[np.uint8]
    weights: NDArray[np.float64]
    draws: int | None
    marginal: NDArray[np.float32]
    stated: NDArray[np.float32] | None


def _predict(
    trained: Trained, volume: Volume, probabilities: Probabilities | None, lesion: Lesion, ranking: Ranking
) -> LesionHypotheses:
    ask = partial(_drawn, trained, volume, probabilities, lesion, ranking.seed)
    place = _place(trained, volume, lesion, ranking, ask)
    drawn = ask(place, ranking.draws)
    iou = pairwise_iou(marked_pixels(drawn.labels))
    ranked = rank(drawn.labels, drawn.weights, top=len(drawn.labels), merge=ranking.merge, draws=drawn.draws, iou=iou)
    calibration = calibration_at(trained, ranking.merge)
    believed = ranked if calibration is None else calibration.calibrated(ranked)
    listed = believed.first(ranking.top)
    return LesionHypotheses(
        lesion=lesion,
        box=place.box,
        hypotheses=listed,
        probability=drawn.marginal[:, 1:].sum(1),
        entropy=_entropy(drawn.marginal),
        no_lesion=float(believed.probabilities[believed.empty].sum()),
        ambiguity=without_self_pairs(1 - float(drawn.weights @ iou @ drawn.weights), drawn.draws),
        agreement=pairwise_iou(listed.masks[:1], listed.masks)[0],
        aleatoric=None if drawn.stated is None else _entropy(drawn.stated),
    )


def _place(
    trained: Trained, volume: Volume, lesion: Lesion, ranking: Ranking, ask: Callable[[Neighbourhood, int], _Drawn]
) -> Neighbourhood:
    """The crop on all slices that may show the lesion; of many, on those that a few draws mark and some beyond."""
    data, crop = trained.record.data, trained.record.crop
    half = crop * (data.spacing_mm or min(volume.spacing_mm[1:])) / 2
    depth_mm = min(DEPTH_MM, half) if ranking.depth_mm is None else ranking.depth_mm
    place = neighbourhood(volume, lesion, crop, data.spacing_mm, depth_mm)
    if ranking.depth_mm is not None or lesion.whole or place.shape[0] <= FEW:
        return place
    marked = np.flatnonzero(ask(place, PROBE).labels.any((0, 2, 3))) + place.box[0].start
    drawn = np.empty(0, np.intp) if lesion.roi is None else lesion.roi[:, 0]
    step, middle = volume.spacing_mm[0], round(volume.voxel(lesion.centre_mm)[0], 3)  # as `neighbourhood` does
    low = min([middle - LEAST_MM / step, *(marked - MARGIN_MM / step), *drawn])
    high = max([middle + LEAST_MM / step, *(marked + MARGIN_MM / step), *drawn])
    return place.between(math.ceil(low), math.floor(high))


def _drawn(
    trained: Trained,
    volume: Volume,
    probabilities: Probabilities | None,
    lesion: Lesion,
    seed: int,
    place: Neighbourhood,
    draws: int,
) -> _Drawn:
    """The model's masks of a place's slices, without what is not the lesion's."""
    _check_voxels(place, draws)
    data = trained.record.data
    images = place.images(volume, data.intensity, data.scaled_over)
    crops_of_other = None if probabilities is None else place.probabilities(probabilities)
    stitch = stitching(np.arange(len(images)) * volume.spacing_mm[0])
    with torch.inference_mode():
        predictive = trained.predictive(images, crops_of_other)
        atoms = predictive.atoms(draws, generator_for(seed, "predict"), tied=True, stitch=stitch)
        stated = predictive.pixelwise()
    classes = len(data.class_names)
    labels = np.stack([place.labels_back(slices, classes) for slices in atoms.labels.cpu().numpy()], 1)
    if not lesion.whole:
        _keep_lesion(labels, place.distance(volume, lesion))
    weights = atoms.weights[0].double().cpu().numpy()
    return _Drawn(
        labels=labels,
        weights=weights / weights.sum(),
        draws=atoms.draws,
        marginal=place.marginal_back(atoms.marginal.float().cpu().numpy()),
        stated=None if stated is None else place.marginal_back(stated.float().cpu().numpy()),
    )


def _check_voxels(place: Neighbourhood, draws: int) -> None:
    """Raise ResourceError, before the work, where the masks would not fit into a memory."""
    voxels = draws * math.prod(place.shape)
    if voxels > MOST_VOXELS:
        sides = " x ".join(map(str, reversed(place.shape)))
        raise ResourceError(
            f"{draws} masks of {sides} voxels about a lesion would need {voxels / 1e9:.0f} GB: look at fewer slices with "
            "--depth, or take fewer --draws."
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

    near = distance_mm <= NEAR_MM
    for draw in labels:
        pieces, count = ndimage.label(draw, np.ones((3, 3, 3)))
        kept = np.zeros(count + 1, bool)
        kept[pieces[near]] = True
        if count and not kept[1:].any():
            nearest = ndimage.minimum(distance_mm, pieces, np.arange(1, count + 1))
            kept[1:] = (nearest <= SEARCH_MM) & (nearest == nearest.min())
        kept[0] = True
        draw[~kept[pieces]] = 0


def _entropy(marginal: NDArray[np.float32]) -> NDArray[np.float32]:
    """Entropy in nats [Z, Y, X] of class probabilities [Z, K, Y, X]."""
    return -(marginal * np.log(np.where(marginal > 0, marginal, 1))).sum(1).astype(np.float32)
