"""The page of an evaluation: its figures and pictures, and how they were computed."""

from collections.abc import Mapping, Sequence

from ambiseg.preprocessing.counted import counted

from ..evaluation.evaluation import Evaluation
from ..evaluation.summary_document import EvaluationAbout
from ..figures.picture import Picture
from ..figures.wording import calibration, data_facts, model_masks, short_hash
from ..lesions.by_lesion import BASELINES
from .table import MOVES, Row, lesion_table, stability_rows, table
from .template import render

KEY_FIGURES = ("ged16_v", "ged16_u", "hm_iou16", "top_dice", "top_ece", "ambiguity_auroc")
BETTER = {"lower": "lower is better", "higher": "higher is better", None: ""}


def render_page(evaluation: Evaluation, pictures: Sequence[Picture]) -> str:
    """The HTML of a report. It names cases by their rows in the data set, never by patient."""
    about, blocks = evaluation.about, table(evaluation)
    return render(
        "evaluation.html",
        about=about,
        estimators=about.estimators,
        patients=len({case.index["patient"] for case in evaluation.cases}),
        facts=_facts(about),
        key_figures=_key_figures(blocks),
        blocks=blocks,
        has_floor=bool(about.floor),
        lesions=None if evaluation.lesions is None else evaluation.lesions.summary(),
        lesion_blocks=lesion_table(evaluation),
        baselines=BASELINES,
        stability={kind: (found.summary(), stability_rows(found)) for kind, found in evaluation.stability.items()},
        moves=MOVES,
        better=BETTER,
        pictures=pictures,
    )


def _facts(about: EvaluationAbout) -> dict[str, str]:
    """The facts of an evaluation, by name."""
    data = data_facts(about)
    if about.data_hash != about.trained_on:
        data["Data"] += "; not the data that the model was trained on"
    data["Split"] += f", {about.cases} of {counted(about.cases_in_split or about.cases, 'case')}"
    return {
        "Run": f"{about.run}, method {about.method}",
        "Weights": short_hash(about.weights_hash),
        "Calibration": calibration(about.calibrated),
        **data,
        "Model's masks": model_masks(about),
        "Seed": str(about.seed),
        "Version": f"ambiseg {about.ambiseg}",
    }


def _key_figures(blocks: Mapping[str, Sequence[Row]]) -> list[Row]:
    found = {row.measure.name: row for rows in blocks.values() for row in rows}
    return [found[name] for name in KEY_FIGURES if name in found]
