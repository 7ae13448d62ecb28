"""The table of an evaluation's figures: its rows and their labels, for the command line and the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..evaluation.evaluation import Evaluation
from ..evaluation.summary_document import EvaluationAbout
from ..figures.wording import perfect_model, weights_of
from ..lesions.by_lesion import BASELINES
from ..lesions.stability import Stability
from ..metrics.catalogue import CATALOGUE, DRAWS, LESION_CATALOGUE, Measure
from ..metrics.summary import Figure

BLOCKS = {
    "draws": "Distance of the distributions, by number of draws",
    "weighted": "Distance of the distributions, all masks by their weights",
    "top": "Hypotheses",
    "empty": "Empty masks",
    "presence": "Presence: is the lesion marked at all?",
    "volume": "Volume",
    "calibration": "Calibration and ambiguity",
    "truth": "Known truth",
}
TWICE = ("ged_v", "ged_u", "overlap", "sample_diversity")  # with n draws of equal weight, the same as those at n


@dataclass(frozen=True)
class Row:
    """A figure as a table shows it; floor: a perfect model's mean, None where it is not known."""

    measure: Measure
    label: str
    figure: Figure
    floor: float | None


def table(evaluation: Evaluation) -> Mapping[str, Sequence[Row]]:
    """The rows of each block that has any, by the block's title; figures that no case defines are left out."""
    about = evaluation.about
    rows = [
        Row(measure, _label(measure, about), evaluation.figures[measure.name], perfect_model(measure.name, about))
        for measure in CATALOGUE
        if _shown(measure, evaluation)
    ]
    blocks = {title: [row for row in rows if row.measure.block == block] for block, title in BLOCKS.items()}
    return {title: found for title, found in blocks.items() if found}


def _label(measure: Measure, about: EvaluationAbout) -> str:
    return measure.label.format(weights=weights_of(about))


def _shown(measure: Measure, evaluation: Evaluation) -> bool:
    about, figure = evaluation.about, evaluation.figures[measure.name]
    if figure.cases == 0 or math.isnan(figure.mean):
        return False
    return not (measure.name in TWICE and about.weights == "draws" and about.samples in DRAWS)


@dataclass(frozen=True)
class LesionRow:
    """A figure of whole lesions as a table shows it: of the model, and the baselines' means (nan: not defined)."""

    measure: Measure
    label: str
    figure: Figure
    baselines: Sequence[float]


def lesion_table(evaluation: Evaluation) -> Mapping[str, Sequence[LesionRow]]:
    """The rows of each block of figures of whole lesions, by the block's title; nothing where only slices were evaluated."""
    lesions, about = evaluation.lesions, evaluation.about
    if lesions is None:
        return {}
    blocks: dict[str, list[LesionRow]] = {}
    for measure in LESION_CATALOGUE:
        figure = lesions.figures[measure.name]
        if figure.cases and not math.isnan(figure.mean):
            label = measure.label.format(weights="exact weights" if lesions.exact else weights_of(about))
            others = [lesions.baselines[name][measure.name].mean for name in BASELINES]
            blocks.setdefault(BLOCKS[measure.block], []).append(LesionRow(measure, label, figure, others))
    return blocks


MOVES = {  # the headings of `stability.MEASURES`
    "presence": "P(no lesion)",
    "volume": "median volume",
    "likeliest": "likeliest mask",
    "lists": "list",
    "sets": "all masks",
}


@dataclass(frozen=True)
class StabilityRow:
    """How far the model's answer moves under a change: for each of `MOVES` its mean, and the 95th percentile."""

    change: str
    moves: Sequence[tuple[Figure, float]]


def stability_rows(stability: Stability) -> list[StabilityRow]:
    """One row per change, the yardstick last."""
    return [StabilityRow(name, [stability.moved(name, measure) for measure in MOVES]) for name in stability.names]
