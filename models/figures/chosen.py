"""The cases that a report shows: the best, median and worst ones, with the same draws as in the evaluation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.preprocessing.store.lesion_rows import pixel_mm
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.planes import centre_crop

from ..core.calibration import reweighting
from ..core.hypotheses import Hypotheses
from ..evaluation.evaluate_run import drawn, sides_of
from ..evaluation.evaluation import Case, Evaluation
from ..evaluation.rows import readable
from ..metrics.outcomes import Outcome
from ..runs.trained import Trained
from .drawing import grey_levels

SHOWN = 3  # cases of each kind


@dataclass(frozen=True)
class Panel:
    """What a report shows of one case.

    Attributes:
        name: Its row in the data set and its name there.
        distance: The figure by which cases are sorted.
        image: [H, W] or [H, W, 3] in 0..1.
        step_mm: Pixel size (y, x) in mm; None where it is not known.
        known: Whether the truth is known; then `masks` are all masks that can be drawn.
        masks: The readers' masks [R, H, W].
        truth: The weights of `masks` [R].
        hypotheses: The listed hypotheses.
        outcome: What readers chose among them.
        marginal: The model's probability of any foreground class [H, W].
    """

    name: str
    distance: float
    image: NDArray[np.float64]
    step_mm: tuple[float, float] | None
    known: bool
    masks: NDArray[np.uint8]
    truth: NDArray[np.float64]
    hypotheses: Hypotheses
    outcome: Outcome
    marginal: NDArray[np.float64]


def sorting_figure(evaluation: Evaluation) -> str:
    """The figure that sorts cases: the unbiased GED of the weighted masks, or the V-statistic with single readers."""
    return "ged_u" if evaluation.figures["ged_u"].cases else "ged_v"


def chosen_cases(evaluation: Evaluation, shown: int = SHOWN) -> Mapping[str, Sequence[Case]]:
    """At most `shown` cases under each of "best", "median" and "worst" by their GED; no case twice.

    The best come first and the worst last. Of few cases a third is best and a third worst, but at least one is best.
    """
    figure = sorting_figure(evaluation)
    known = [case for case in evaluation.cases if not np.isnan(case.scores[figure])]
    ordered = sorted(known, key=lambda case: case.scores[figure])
    ends = min(shown, max(1, len(ordered) // 3))
    inner = ordered[ends : len(ordered) - ends]
    begin = (len(inner) - min(shown, len(inner))) // 2
    kinds = {
        "best": ordered[:ends],
        "median": inner[begin : begin + shown],
        "worst": ordered[max(ends, len(ordered) - ends) :],
    }
    return {kind: cases for kind, cases in kinds.items() if cases}


def case_panels(
    trained: Trained,
    store: Store,
    evaluation: Evaluation,
    cases: Sequence[Case],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Panel]:
    """The panels of cases of an evaluation of `trained` on `store`: the same draws as the evaluation's."""
    panels = []
    for case in cases:
        panels.append(_panel(trained, store, evaluation, case))
        on_progress(len(panels), len(cases))
    return panels


@torch.inference_mode()
def _panel(trained: Trained, store: Store, evaluation: Evaluation, case: Case) -> Panel:
    about, row = evaluation.about, int(case.index["row"])
    size = max(about.crop)
    atoms, _ = drawn(trained, readable(trained, store), row, about.samples, about.seed, size)
    sides = sides_of(store, row, atoms, size, reweighting(trained.calibration, flat=True))
    return Panel(
        name=case_name(case),
        distance=case.scores[sorting_figure(evaluation)],
        image=_shown(centre_crop(store.images(np.array([row]))[0], size), store.intensity.unit),
        step_mm=pixel_mm(store, row),
        known=store.manifest.known_odds,
        masks=sides.masks,
        truth=sides.truth,
        hypotheses=sides.hypotheses,
        outcome=sides.outcome,
        marginal=atoms.marginal[0, 1:].sum(0).double().cpu().numpy(),
    )


def case_name(case: Case) -> str:
    """The case's row, and its name unless that identifies the patient."""
    name, patient = case.index["case"], case.index["patient"]
    return f"row {case.index['row']}" + ("" if patient in name or name in patient else f", {name}")


def _shown(image: NDArray, unit: str) -> NDArray[np.float64]:
    """An image [C, H, W] as greys [H, W] in 0..1 (the lung window for HU), or as colours [H, W, 3] of three channels."""
    scaled = grey_levels(image, unit)
    return np.moveaxis(scaled, 0, -1) if len(image) == 3 else scaled[0]
