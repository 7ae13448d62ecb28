"""From a scan and a lesion's place in it to ranked hypotheses on the scan's own voxels (docs/decisions/0004).

Which slices to look at is decided first. The model's masks of them (`draws`) are then ranked as whole volumes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError, UsageError
from ambiseg.preprocessing.scans.class_probabilities import Probabilities
from ambiseg.preprocessing.volumes.volume import Volume

from ..core.calibration import reweighted, reweighting
from ..core.hypotheses import TOP, Hypotheses, rank
from ..core.overlap import marked_counts, marked_pixels, pairwise_iou
from ..core.size import at_border, cut_off, measure_all
from ..metrics.distances import without_self_pairs
from ..metrics.size_forecast import DIAMETERS_MM, VOLUMES_MM3, SizeForecast, forecast_sizes
from ..nets.remembered import remembering
from ..runs.trained import Trained
from .draws import Draws, draw_masks
from .lesion import Lesion
from .neighbourhood import Box, Neighbourhood, within
from .settle import Sight, look_around, look_once, same_place

SAME_MM = 3.0  # lesions that settle closer than this are one
SAME = 0.5  # and so are those whose likeliest masks have a larger IoU
MOST_THRESHOLDS = 20
NO_MASKS = forecast_sizes([], np.zeros(0), np.zeros(0, bool))


@dataclass(frozen=True)
class Ranking:
    """How hypotheses and numbers are made from a model's masks.

    Args:
        top: how many hypotheses to list at most, at least 1.
        draws: how many masks to draw, at least 1; a model with finitely many masks gives at most so many of them instead.
        depth_mm: slices within this distance of the lesion's centre are looked at. None: as far as the lesion reaches.
        seed: the same seed gives the same hypotheses.
        fast: look once, around the place as it is given, in crops as in training and no deeper than half a crop or 20 mm.
        diameters_mm: the probability that the mean diameter is at least each of these is stated.
        volumes_mm3: and that the volume is at least each of these.

    Raises:
        UsageError: for a value out of range.

    Example:
        >>> Ranking(top=3).draws
        256
    """

    top: int = TOP
    draws: int = 256
    depth_mm: float | None = None
    seed: int = 0
    fast: bool = False
    diameters_mm: tuple[float, ...] = DIAMETERS_MM
    volumes_mm3: tuple[float, ...] = VOLUMES_MM3

    def __post_init__(self) -> None:
        if self.top < 1 or self.draws < 1 or (self.depth_mm or 0) < 0:
            raise UsageError(
                "Expected `top` and `draws` of at least 1 and `depth_mm` of at least 0, got "
                f"{self.top}, {self.draws} and {self.depth_mm}."
            )
        for name in ("diameters_mm", "volumes_mm3"):
            values = getattr(self, name)
            if len(values) > MOST_THRESHOLDS or not all(math.isfinite(value) and value > 0 for value in values):
                raise UsageError(
                    f"`{name}`: expected at most {MOST_THRESHOLDS} numbers above 0, got "
                    f"{', '.join(f'{value:g}' for value in values)}."
                )


@dataclass(frozen=True)
class LesionHypotheses:
    """The ranked hypotheses of one lesion, on the scan's voxels in `box`; everything outside the box is background.

    Attributes:
        lesion: its place `centre_mm` (x, y, z in mm, RAS), the place `settled_mm` around which the model looked, its `name`,
            and its `score` if a search found it.
        box: slices (z, y, x) of the scan's voxels [Z, Y, X]; all arrays below lie on them.
        hypotheses: `masks` [N, Z, Y, X] of class labels and their `probabilities` [N], the most probable first; calibrated
            if the model is.
        probability: [Z, Y, X], of any foreground class: the mean over the model's draws.
        entropy: [Z, Y, X], of the classes' mean probabilities, in nats.
        no_lesion: the probability that nothing is marked, calibrated if the model is.
        left_out: the probability of the model's masks that were not looked at; it is in the residual.
        ambiguity: the mean distance (1 - IoU) between two of the model's masks; 0 if all are the same, NaN for one draw.
        agreement: [N], the IoU of each hypothesis with the most probable one.
        aleatoric: [Z, Y, X], the entropy in nats of the class probabilities that the model states without a draw; None if
            it states none.
        zoom: how much wider, and how much coarser, the model's crops were than in training.
        size: the sizes of all of the model's masks, with their weights, calibrated if the model is: numbers about the lesion
            come from these, not from the list. Masks that were not looked at are taken to be as large as those that were.
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
    left_out: float = 0.0
    zoom: float = 1.0
    size: SizeForecast = NO_MASKS


def predict_volume(
    trained: Trained,
    volume: Volume,
    lesions: Sequence[Lesion],
    ranking: Ranking = Ranking(),
    *,
    probabilities: Probabilities | None = None,
    most: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[LesionHypotheses]:
    """The hypotheses of each lesion.

    Without `most`, the result of a lesion does not depend on the others.

    Args:
        trained: the model.
        volume: the scan, [Z, Y, X] with its affine in mm.
        lesions: where to look.
        ranking: how hypotheses are made.
        probabilities: another segmenter's class probabilities [K, Z, Y, X] of the scan, for a model that reads them.
        most: the largest number of lesions, of candidates that may be the same: one that settles within 3 mm of an earlier
            one, or has mostly the same likeliest mask, is left out. None: all.
        on_progress: called with the number of lesions done and their total.

    Returns:
        One entry per lesion, in their order.

    Raises:
        UsageError: when the model reads `probabilities` and there are none, or the other way round.
        DataError: when the scan has other channels than the model reads.
        ResourceError: when the masks would not fit into memory.
    """
    check_inputs(trained, volume, probabilities is not None)
    results: list[LesionHypotheses] = []
    total = len(lesions) if most is None else min(most, len(lesions))
    for lesion in lesions:
        on_progress(len(results), total)
        if len(results) == total:
            return results
        earlier = [] if most is None or ranking.fast else results
        with remembering():
            settled, place = _looked(trained, volume, probabilities, lesion, ranking)
            if same_place(settled, [result.lesion for result in earlier], SAME_MM):
                continue
            found = _predict(trained, volume, probabilities, settled, place, ranking)
        if not any(_same(found, other) for other in earlier):
            results.append(found)
    on_progress(len(results), len(results))
    return results


def check_inputs(trained: Trained, volume: Volume, probabilities: bool) -> None:
    """Raise `DataError` unless the scan has the model's channels, and `UsageError` unless class `probabilities` are given if
    and only if the model reads them.
    """
    data = trained.record.data
    found = len(volume.channels)
    if found != data.channels == 1:
        raise DataError(
            f"The scan holds several volumes or channels ({found}), but the model reads one: save the one that is meant as a "
            "file of its own, or give another `model`."
        )
    if found != data.channels:
        names = f" ({', '.join(data.channel_names)})" if data.channel_names else ""
        raise DataError(
            f"The model reads {data.channels} channels{names}, but the scan has {found}: give all of them, or another `model`."
        )
    if data.probabilities and not probabilities:
        raise UsageError(
            f"The model {trained.name} refines another segmenter's class probabilities, but none were given: give "
            "`probabilities`."
        )
    if probabilities and not data.probabilities:
        raise UsageError(
            f"The model {trained.name} was trained without another segmenter's class probabilities: leave out "
            "`probabilities`, or give another `model`."
        )


def _predict(
    trained: Trained,
    volume: Volume,
    probabilities: Probabilities | None,
    lesion: Lesion,
    place: Neighbourhood,
    ranking: Ranking,
) -> LesionHypotheses:
    drawn = draw_masks(trained, volume, probabilities, lesion, ranking.seed, place, ranking.draws)
    iou = pairwise_iou(marked_pixels(drawn.labels))
    numbers = reweighting(trained.calibration, flat=drawn.labels.shape[1] == 1)
    weights, left_out = reweighted(drawn.weights, drawn.labels, numbers, drawn.left_out)
    listed = rank(drawn.labels, weights, top=ranking.top, draws=drawn.draws, left_out=left_out, iou=iou)
    empty = marked_counts(drawn.labels) == 0
    no_lesion = float(weights[empty].sum()) * (1 - left_out)
    return LesionHypotheses(
        lesion=lesion,
        box=place.box,
        hypotheses=listed,
        probability=drawn.marginal[:, 1:].sum(1),
        entropy=_entropy(drawn.marginal),
        no_lesion=no_lesion,
        left_out=left_out,
        ambiguity=without_self_pairs(1 - float(weights @ iou @ weights), drawn.draws),
        agreement=pairwise_iou(listed.masks[:1], listed.masks)[0],
        aleatoric=None if drawn.stated is None else _entropy(drawn.stated),
        zoom=place.zoom,
        size=_size_forecast(drawn.labels, _with_presence(weights, empty, 1 - no_lesion), place.box, volume),
    )


def _size_forecast(labels: NDArray[np.uint8], weights: NDArray[np.float64], box: Box, volume: Volume) -> SizeForecast:
    """The sizes of weighted masks [S, Z, Y, X] in a box of the scan."""
    shape = volume.array.shape
    cut = np.array([cut_off(mask, box, shape) or at_border(mask, box, shape) for mask in labels])
    return forecast_sizes(measure_all(labels, volume.spacing_mm), weights, cut, flat=shape[0] == 1)


def _with_presence(weights: NDArray[np.float64], empty: NDArray[np.bool_], present: float) -> NDArray[np.float64]:
    """Weights [S] of which those that mark anything add up to `present`: masks that were not looked at count as like these."""
    found = weights.copy()
    for which, share in ((empty, 1 - present), (~empty, present)):
        if which.any() and found[which].sum():
            found[which] *= share / found[which].sum()
    return found


def _same(one: LesionHypotheses, other: LesionHypotheses) -> bool:
    """Whether the likeliest masks of two lesions are mostly the same."""
    masks = [np.asarray(each.hypotheses.masks[~each.hypotheses.empty][:1] > 0) for each in (one, other)]
    if not all(map(len, masks)):
        return False
    both = (masks[0] & within(masks[1], other.box, one.box)).sum()
    return bool(both > SAME * (sum(mask.sum() for mask in masks) - both))


def _looked(
    trained: Trained, volume: Volume, probabilities: Probabilities | None, lesion: Lesion, ranking: Ranking
) -> tuple[Lesion, Neighbourhood]:
    """The lesion where it settles, and the crop on all slices that may show it; fast: where it was given."""

    def ask(lesion: Lesion, place: Neighbourhood, draws: int) -> Draws:
        return draw_masks(trained, volume, probabilities, lesion, ranking.seed, place, draws)

    spacing_mm = trained.record.data.spacing_mm
    sight = Sight(volume, trained.record.crop, spacing_mm, ask, ranking.depth_mm, ranking.draws)
    return (lesion, look_once(sight, lesion)) if ranking.fast else look_around(sight, lesion)


def _entropy(marginal: NDArray[np.float32]) -> NDArray[np.float32]:
    """Entropy in nats [Z, Y, X] of class probabilities [Z, K, Y, X]."""
    return -(marginal * np.log(np.where(marginal > 0, marginal, 1))).sum(1).astype(np.float32)
