"""Masks of any program against the masks of readers: the figures of `ambiseg evaluate`, without a model or a store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.errors import DataError, UsageError
from ambiseg.preprocessing.tables import read_table

from ..core.overlap import pairwise_dice
from ..core.randomness import seed_of
from ..metrics.catalogue import DRAWS
from ..metrics.distances import equal_weights
from ..metrics.matching import hm_iou
from ..metrics.outcomes import Outcome, hypothesis_bins
from ..metrics.reliability import pooled_ece
from ..metrics.scores import drawn_masks, energy_at
from ..metrics.sides import Sides, both_sides
from ..metrics.summary import NAN, Figure, FigureSummary, figure_summaries, summarise
from .mask_sets import Layout, MaskSet, Progress, check_labels, common_unit, matched_folders, read_masks

SUM = 1e-3  # by which the weights of a case may miss 1
MATCHED = DRAWS[0]
Weights = Mapping[str, Mapping[str, float]]  # of each mask by its name, by case
ESTIMATORS = {"v": "V-statistic", "u": "unbiased"}
FIGURES: dict[str, tuple[str, Literal["lower", "higher"] | None]] = {  # name: label, which way is better
    "ged_v": ("GED, all masks, V-statistic (as in papers)", "lower"),
    "ged_u": ("GED, all masks, unbiased", "lower"),
    **{f"ged{n}_{kind}": (f"GED{n}, {words}", "lower") for n in DRAWS for kind, words in ESTIMATORS.items()},
    "overlap": ("  distance to readers", "lower"),
    "sample_diversity": ("  diversity of masks", None),
    "reader_diversity": ("  diversity of readers", None),
    "hm_iou": (f"HM-IoU of {MATCHED} masks, or of all if fewer", "higher"),
    "d_max": ("D_max: best Dice for each reader, mean", "higher"),
    "dice": ("Dice, mean over masks and readers", "higher"),
    "iou": ("IoU, mean over masks and readers", "higher"),
    "collective_insight": ("Collective insight (CI)", "higher"),
    "combined_sensitivity": ("  combined sensitivity", "higher"),
    "diversity_agreement": ("  diversity agreement", "higher"),
    "empty_masks": ("P(empty mask), masks", None),
    "empty_readers": ("P(empty mask), readers", None),
    "volume_masks": ("Mean size, masks", None),
    "volume_readers": ("Mean size, readers", None),
}  # fmt: skip
POOLED = {"hypothesis_ece": "ECE of the list of masks", "top_ece": "ECE of the most probable mask"}


@dataclass(frozen=True)
class CaseScores:
    """One case: its figures by name, the readers' choices among its masks, where weights were given, and the unit of sizes."""

    case: str
    readers: int
    masks: int
    figures: Mapping[str, float]
    outcome: Outcome | None
    unit: str


class CaseRow(BaseModel):
    """A case in scores.json; null where a figure is not defined."""

    model_config = ConfigDict(frozen=True)

    case: str
    readers: int
    masks: int
    figures: dict[str, float | None]


class Scores(BaseModel):
    """The content of scores.json: what was compared, means over the cases with 95 % intervals, and each case.

    Attributes:
        ambiseg: Version that made it.
        weighted: Whether weights were given; else every mask has the same.
        unit: Of sizes: "mm³", "mm²", or "pixels" where files do not say.
        seed: Of the bootstrap, and of draws from weighted masks.
        figures: By name; the intervals resample cases.
        cases: One by one.
    """

    model_config = ConfigDict(frozen=True)

    ambiseg: str
    weighted: bool
    unit: str
    seed: int
    figures: dict[str, FigureSummary]
    cases: list[CaseRow]


def score(
    readers: Path | str | NDArray[np.generic],
    masks: Path | str | NDArray[np.generic],
    weights: Path | str | Sequence[float] | None = None,
    *,
    layout: Layout | None = None,
    seed: int = 0,
    on_progress: Progress = lambda done, total: None,
) -> Scores:
    """Score masks of any program against readers' masks.

    Args:
        readers: A folder of masks (see `mask_sets`), or the masks [R, H, W] or [R, Z, H, W] of one case.
        masks: The same of the masks to score: draws, or a list.
        weights: A CSV file with the columns case, mask and weight (case may be absent where there is one), or the weights [S]
            of one case's masks; None: draws of equal weight.
        layout: How both folders are to be read; None: as the names tell (see `mask_sets`).
        seed: Seed of the bootstrap, and of draws from weighted masks.
        on_progress: Called with (cases done, cases in all).

    Returns:
        All figures. GED is given in both estimators; figures at n draws only where there are n masks, or weights.

    Raises:
        InputError: A folder has no masks, no case is in both, or the names tell two ways to read them.
        DataError: Masks do not fit each other, or the weights of a case are not one for each mask with the sum 1.
        UsageError: One of `readers` and `masks` is a folder and the other an array.

    Example:
        >>> readers = np.zeros((2, 4, 4), np.uint8)
        >>> readers[0, 1:3, 1:3] = 1
        >>> found = score(readers, readers, seed=0)
        >>> found.figures["ged_v"].mean, found.figures["d_max"].mean
        (0.0, 1.0)
    """
    if isinstance(readers, np.ndarray) != isinstance(masks, np.ndarray):
        raise UsageError("Expected two folders, or two arrays, as `readers` and `masks`.")
    if isinstance(readers, np.ndarray) and isinstance(masks, np.ndarray):
        made = _of_array(masks, "masks")
        given = None if weights is None else _one_each(weights, made.names)
        return _together([_case(_of_array(readers, "readers"), made, given, seed)], given is not None, seed)
    one, other = matched_folders(Path(str(readers)), Path(str(masks)), layout)
    given = None if weights is None else read_weights(Path(str(weights)))
    found = []
    for case in one:  # one at a time: volumes take much memory
        found.append(_case(read_masks(case, one[case]), read_masks(case, other[case]), given, seed))
        on_progress(len(found), len(one))
    return _together(found, given is not None, seed)


def read_weights(path: Path) -> Weights:
    """The weights in a CSV file with the columns case, mask and weight; without case where there is only one."""
    table = read_table(path, "a CSV with the columns case,mask,weight").lowered()
    table.need("mask", "weight")
    found: dict[str, dict[str, float]] = {}
    for row in table.rows:
        mine = found.setdefault(row["case"] if "case" in table.columns else "", {})
        if row["mask"] in mine:
            raise DataError(f"{table.where(row, 'mask')}: {row['mask']!r} has a weight already: give each mask one.")
        mine[row["mask"]] = table.number(row, "weight")
    return found


def case_weights(given: Weights, case: str, names: Sequence[str]) -> NDArray[np.float64]:
    """The weights [S] of a case's masks. Raises DataError unless there is one for each, none below 0, with the sum 1."""
    called = f"case {case!r}" if case else "the case"
    mine = given.get(case, {})
    if mine.keys() != set(names):
        odd = sorted(mine.keys() ^ set(names))[0]
        raise DataError(
            f"The weights of {called} do not fit its {len(names)} masks ({odd!r}): give one for each mask by its name."
        )
    found = np.array([mine[name] for name in names])
    if (found < 0).any() or abs(found.sum() - 1) > SUM:
        raise DataError(
            f"The weights of {called} have the sum {found.sum():.4g}, least {found.min():.4g}: expected none below 0, sum 1."
        )
    weights: NDArray[np.float64] = found / found.sum()
    return weights


def _of_array(masks: NDArray[np.generic], what: str) -> MaskSet:
    if masks.ndim not in (3, 4) or not masks.size:
        raise DataError(f"`{what}` have the shape {list(masks.shape)}: expected [N, H, W] or [N, Z, H, W].")
    return MaskSet("", tuple(map(str, range(len(masks)))), check_labels(masks, f"`{what}`"))


def _one_each(weights: Path | str | Sequence[float], names: Sequence[str]) -> Weights:
    """The weights of one case's masks, in their order or from a file."""
    if isinstance(weights, Path | str):
        return read_weights(Path(weights))
    if len(weights) != len(names):
        raise DataError(f"Got {counted(len(weights), 'weight')} for {counted(len(names), 'mask')}: give one for each.")
    return {"": {name: float(value) for name, value in zip(names, weights, strict=True)}}


def _case(readers: MaskSet, made: MaskSet, given: Weights | None, seed: int) -> CaseScores:
    """The figures of one case."""
    share = None if given is None else case_weights(given, made.case, made.names)
    if readers.masks.shape[1:] != made.masks.shape[1:]:
        raise DataError(
            f"The masks of {made.case or 'the case'} have the shape {list(made.masks.shape[1:])}, the readers' "
            f"{list(readers.masks.shape[1:])}: expected masks of the same image."
        )
    if (
        readers.affine is not None
        and made.affine is not None
        and not np.allclose(readers.affine, made.affine, atol=1e-2)
    ):
        raise DataError(f"The masks of {made.case or 'the case'} lie elsewhere than the readers': expected one grid.")
    count = len(made.masks)
    weights = equal_weights(count) if share is None else share
    sides = both_sides(made.masks, weights, readers.masks, draws=count if share is None else None)
    rng = np.random.default_rng(seed_of(seed, "score", readers.case))
    taken = drawn_masks(weights, sides.draws, max(DRAWS), rng)
    size = 1.0 if readers.spacing_mm is None else float(np.prod(readers.spacing_mm))
    found = {name: value for n in DRAWS for name, value in energy_at(n, sides, taken).items()} | _figures(
        sides, taken, size
    )
    figures = {name: found[name] for name in FIGURES}
    return CaseScores(
        readers.case, len(readers.masks), count, figures, None if share is None else sides.outcome, readers.unit
    )


def _figures(sides: Sides, taken: NDArray[np.intp], size: float) -> dict[str, float]:
    """Figures of all masks by their weights; `taken` stand for draws, `size` is that of a pixel."""
    dice = pairwise_dice(sides.labels, sides.masks)
    used = sides.weights > 0
    parts = insight(sides.labels[used], sides.masks, dice[used])
    (model, mean), (truth, theirs) = (
        (float(share @ (counts == 0)), float(share @ counts) * size)
        for share, counts in ((sides.weights, _sizes(sides.labels)), (sides.truth, _sizes(sides.masks)))
    )
    whole = sides.ged
    return parts | {
        "ged_v": whole.v, "ged_u": whole.u, "overlap": whole.overlap, "sample_diversity": whole.sample_diversity,
        "reader_diversity": whole.reader_diversity, "hm_iou": hm_iou(sides.iou.cross[taken[:MATCHED]]),
        "dice": float(sides.weights @ dice @ sides.truth), "iou": float(sides.weights @ sides.iou.cross @ sides.truth),
        "empty_masks": model, "empty_readers": truth, "volume_masks": mean, "volume_readers": theirs,
    }  # fmt: skip


def insight(masks: NDArray[np.uint8], readers: NDArray[np.uint8], dice: NDArray[np.float64]) -> dict[str, float]:
    """Collective insight and its parts (Rahman et al., CVPR 2023): CI = 3 Sc Dm Da / (Sc + Dm + Da).

    Sc is the sensitivity of the union of all masks for the union of all readers'; Dm the best Dice for each reader, mean over
    the readers (D_max); Da = 1 - (|V_max difference| + |V_min difference|) / 2, where V_max and V_min are the largest and the
    smallest 1 - Dice of two masks of a set. The paper calls V a variance; 1 - Dice is bounded and does not depend on the size
    of the image.

    Args:
        masks: [S, ...].
        readers: [R, ...].
        dice: of each mask with each reader's [S, R].

    Returns:
        "collective_insight", "combined_sensitivity", "d_max", "diversity_agreement"; Da and CI are nan for a single mask or
        reader.
    """
    ours, theirs = (masks > 0).any(0), (readers > 0).any(0)
    sensitivity = float((ours & theirs).sum() / theirs.sum()) if theirs.any() else float(not ours.any())
    best = float(dice.max(0).mean())
    (most, least), (true_most, true_least) = _spread(masks), _spread(readers)
    agreement = 1 - (abs(most - true_most) + abs(least - true_least)) / 2
    total = sensitivity + best + agreement
    return {
        "combined_sensitivity": sensitivity,
        "d_max": best,
        "diversity_agreement": agreement,
        "collective_insight": 3 * sensitivity * best * agreement / total if total else 0.0,
    }


def _spread(masks: NDArray[np.uint8]) -> tuple[float, float]:
    """The largest and the smallest 1 - Dice of two masks; nan where there are not two."""
    if len(masks) < 2:
        return NAN, NAN
    apart = 1 - pairwise_dice(masks)[np.triu_indices(len(masks), 1)]
    return float(apart.max()), float(apart.min())


def _sizes(masks: NDArray[np.uint8]) -> NDArray[np.intp]:
    counts: NDArray[np.intp] = np.count_nonzero(masks.reshape(len(masks), -1), axis=1)
    return counts


def _together(found: Sequence[CaseScores], weighted: bool, seed: int) -> Scores:
    """Means over the cases, and the ECE of weights over all of them."""
    unit = common_unit(one.unit for one in found)
    names = [one.case for one in found]
    figures: dict[str, Figure] = {
        name: summarise(np.array([one.figures[name] for one in found]), names, np.random.default_rng(seed))
        for name in FIGURES
    }
    chosen = [one.outcome for one in found if one.outcome is not None]
    if weighted:
        bins = hypothesis_bins(chosen)
        for kind, name in (("hypotheses", "hypothesis_ece"), ("top", "top_ece")):
            figures[name] = pooled_ece(bins[kind], names, np.random.default_rng(seed))
    rows = [
        CaseRow(
            case=one.case, readers=one.readers, masks=one.masks,
            figures={name: None if np.isnan(value) else value for name, value in one.figures.items()},
        )
        for one in found
    ]  # fmt: skip
    summaries = figure_summaries(figures)
    return Scores(ambiseg=version("ambiseg"), weighted=weighted, unit=unit, seed=seed, figures=summaries, cases=rows)
