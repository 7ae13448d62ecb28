"""All figures of one lesion: a model's weighted volumes against its readers' volumes, and simple answers beside them.

Masks are volumes [Z, Y, X]. Distances, matching and hypotheses have the figures that images have. Presence and volume are
judged as `volume_scores` says. The baselines answer the same questions: the likeliest mask alone, the mean map cut at one
half, and each reader by the other readers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..core.overlap import pairwise_dice, pairwise_iou
from ..core.size import measure_all
from .catalogue import LESION_CASE_MEASURES
from .outcomes import Outcome
from .scores import image_scores
from .sides import Sides, both_sides
from .size_forecast import SizeVerdict, forecast_sizes, judge_sizes, judge_sizes_by_the_others
from .summary import NAN
from .volume_scores import Verdict, VolumeForecast, judge_each_by_the_others, judge_volumes

Baseline = Literal["likeliest mask", "mean map", "other readers"]
OF_A_LIST = ("hypothesis_nll", "hypothesis_brier")  # a single mask is no list


@dataclass(frozen=True)
class Judged:
    """The figures of one lesion's masks.

    Attributes:
        scores: by the names of `LESION_CASE_MEASURES`; nan where one is not defined.
        verdict: of presence and volume.
        outcome: the readers' choices among the hypotheses that `predict` lists; None for a baseline.
        sizes: of diameters and thresholds of size; None where nothing is known in mm.
    """

    scores: Mapping[str, float]
    verdict: Verdict
    outcome: Outcome | None = None
    sizes: SizeVerdict | None = None


def volumes_of(masks: NDArray[np.uint8], voxel_mm3: float | None) -> NDArray[np.float64]:
    """The volumes [N] of masks [N, Z, Y, X] in mm3; in voxels where the size of a voxel is not known.

    Example:
        >>> volumes_of(np.ones((1, 2, 3, 4), np.uint8), 0.5).tolist()
        [12.0]
    """
    counts = np.array([np.count_nonzero(mask) for mask in masks], np.float64)
    return counts * (1.0 if voxel_mm3 is None else voxel_mm3)


def forecast_of(sides: Sides, voxel_mm3: float | None) -> VolumeForecast:
    """The model's forecast of the volume: all of its masks by their weights."""
    return VolumeForecast(volumes_of(sides.labels, voxel_mm3), sides.weights)


def lesion_scores(
    sides: Sides, *, rng: np.random.Generator, spacing_mm: tuple[float, float, float] | None = None
) -> Judged:
    """The figures of a model's weighted masks of a lesion.

    Args:
        sides: the model's and the readers' masks, [..., Z, Y, X].
        rng: for draws from an exact support.
        spacing_mm: size of a voxel (z, y, x) in mm; None where it is not known. Then nothing in mm is defined.

    Returns:
        The figures by the names of `LESION_CASE_MEASURES`, the judged forecast, and the readers' choices.
    """
    verdict = _verdict(sides, spacing_mm)
    sizes = _size_verdict(sides, spacing_mm)
    found = image_scores(sides, rng=rng, spacing_mm=spacing_mm) | verdict.scores
    found |= {} if sizes is None else sizes.scores
    scores = {name: found.get(name, NAN) for name in LESION_CASE_MEASURES}
    return Judged(scores, verdict, sides.outcome, sizes)


def baseline_scores(
    sides: Sides,
    mean_map: NDArray[np.uint8],
    *,
    rng: np.random.Generator,
    spacing_mm: tuple[float, float, float] | None = None,
) -> dict[Baseline, Judged]:
    """The figures of simple answers to the same questions.

    Args:
        sides: the model's and the readers' masks.
        mean_map: the most probable class of each voxel, of the mean over the model's masks [Z, Y, X].
        rng: for draws from an exact support.
        spacing_mm: as for `lesion_scores`.

    Returns:
        The figures of each baseline. A lesion of a single reader has no "other readers".
    """
    masks: dict[Baseline, NDArray[np.uint8]] = {"likeliest mask": sides.hypotheses.masks[0], "mean map": mean_map}
    found = {name: _single(mask, sides, rng, spacing_mm) for name, mask in masks.items()}
    others = judge_each_by_the_others(volumes_of(sides.masks, _voxel(spacing_mm)), in_mm=spacing_mm is not None)
    if others is None:
        return found
    sizes = None if spacing_mm is None else judge_sizes_by_the_others(measure_all(sides.masks, spacing_mm))
    scores = _between_readers(sides, others) | ({} if sizes is None else sizes.scores)
    return found | {"other readers": Judged(scores, others, sizes=sizes)}


def _voxel(spacing_mm: Sequence[float] | None) -> float | None:
    return None if spacing_mm is None else float(np.prod(spacing_mm))


def _verdict(sides: Sides, spacing_mm: Sequence[float] | None) -> Verdict:
    voxel = _voxel(spacing_mm)
    return judge_volumes(forecast_of(sides, voxel), volumes_of(sides.masks, voxel), in_mm=voxel is not None)


def _size_verdict(sides: Sides, spacing_mm: tuple[float, float, float] | None) -> SizeVerdict | None:
    """The sizes of the model's weighted masks judged by those of the readers; None where nothing is known in mm."""
    if spacing_mm is None:
        return None
    model, readers = (
        forecast_sizes(measure_all(masks, spacing_mm), weights, np.zeros(len(masks), bool))
        for masks, weights in ((sides.labels, sides.weights), (sides.masks, sides.truth))
    )
    return judge_sizes(model, readers)


def _single(
    mask: NDArray[np.uint8], sides: Sides, rng: np.random.Generator, spacing_mm: tuple[float, float, float] | None
) -> Judged:
    """The figures of one mask as the whole answer."""
    alone = both_sides(mask[None], np.ones(1), sides.masks, draws=None)
    found = lesion_scores(alone, rng=rng, spacing_mm=spacing_mm)
    return replace(found, scores={**found.scores, **dict.fromkeys(OF_A_LIST, NAN)}, outcome=None)


def _between_readers(sides: Sides, verdict: Verdict) -> dict[str, float]:
    """Figures of one reader's mask against those of the others: overlaps are means over all pairs of readers."""
    count = len(sides.masks)
    pairs = ~np.eye(count, dtype=bool)
    iou, dice = (table(sides.masks)[pairs].mean() for table in (pairwise_iou, pairwise_dice))
    empty = 1 - float(verdict.marked.mean())
    found = {"top_iou": float(iou), "top_dice": float(dice), "empty_model": empty, "empty_readers": empty}
    found |= {"reader_diversity": sides.ged.reader_diversity}
    return dict.fromkeys(LESION_CASE_MEASURES, NAN) | found | verdict.scores
