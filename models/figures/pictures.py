"""The pictures of an evaluation in the order of its report, each with a caption that explains it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.store.store import Store

from ..evaluation.evaluation import Case, Evaluation
from ..metrics.catalogue import MEASURES
from ..runs.trained import Trained
from .chosen import case_panels, chosen_cases, sorting_figure
from .distribution import Spread, draw_distributions
from .diversity import draw_diversity
from .mode_bars import draw_modes
from .panels import draw_cases
from .picture import Picture
from .reliability_diagram import draw_reliability
from .style import png
from .wording import perfect_model, weights_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPREADS = ("ged16_v", "ged16_u", "ged_u")
KNOWN_FLOOR = "A perfect model's unbiased GED is 0 on average, so single cases lie on both sides of it."
READERS_FLOOR = (
    "A perfect model's unbiased GED is 0 on average if each image's readers are independent given the image. It is below 0 "
    "where images were selected because one of them marked something. Single cases lie on both sides."
)
LESION_BINS = {"presence": "Presence", "thresholds": "At least so large", "top": "Top hypothesis"}
PIXELS = {
    "pixels": "All pixels",
    "marked_pixels": "Pixels that anyone marks",
    "stated_pixels": "All, as stated",
    "stated_marked_pixels": "Marked, as stated",
}
STATED = " As stated: the probabilities that the model gives without a draw, beside those computed from its masks."
CASES = {
    "best": "The cases with the lowest GED",
    "median": "Cases about the median GED",
    "worst": "The cases with the highest GED",
}


def draw_pictures(
    evaluation: Evaluation,
    trained: Trained,
    store: Store,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Picture, ...]:
    """All pictures of an evaluation of `trained` on `store`; on_progress(done, pictures) is called after each."""
    kinds = chosen_cases(evaluation)
    total = 4 + bool(evaluation.lesions) + bool(evaluation.modes) + len(kinds)
    pictures: list[Picture] = []
    on_progress(0, total)
    for name, title, caption, figure in chain(_figures(evaluation), _cases(evaluation, kinds, trained, store)):
        pictures.append(Picture(name, title, caption, png(figure)))
        on_progress(len(pictures), total)
    return tuple(pictures)


Drawn = tuple[str, str, str, "Figure"]  # name, title, caption, figure


def _figures(evaluation: Evaluation) -> Iterator[Drawn]:
    """The pictures of all cases together."""
    about, bins = evaluation.about, evaluation.reliability
    note = f"{about.run} on {about.data}, {about.split}: {counted(about.cases, 'case')}"
    title = "How GED is distributed over the cases"
    yield (
        "ged",
        title,
        "One row per estimator. The dark box holds the middle half of the cases, and each paler box half of those left; dots "
        "are the rest. The orange dot is the mean with its 95 % interval by patient. Lower is better. "
        + (KNOWN_FLOOR if about.known_odds else READERS_FLOOR),
        draw_distributions(_spreads(evaluation), title, note, "squared GED"),
    )
    yield (
        "diversity",
        "Diversity and distance",
        "One point per case. Left: on the diagonal the model's masks differ as much as the readers' do. Above it the model is "
        "too diverse, below it the model is too sure. Right: GED is twice the height above the diagonal. With few readers "
        "single cases scatter; look at the mean.",
        draw_diversity(evaluation),
    )
    events = "what the truth is" if about.known_odds else "what readers drew"
    kind = "calibrated" if about.calibrated else "not calibrated"
    yield (
        "reliability-hypotheses",
        "Reliability of hypotheses",
        "Hypotheses (with \"none of these\") by their stated probability. On the diagonal they are chosen as often as stated. "
        "Orange bars are the differences whose weighted mean is the ECE. Pale dots stand for fewer than ten hypotheses.",
        draw_reliability(
            {"All hypotheses": bins["hypotheses"], "Top hypothesis": bins["top"]},
            "Reliability of hypotheses", f"stated probability against {events}; {kind}", events="hypotheses",
        ),
    )  # fmt: skip
    yield (
        "reliability-pixels",
        "Reliability of pixels",
        "Pixels by the model's probability of foreground. Most are undisputed background, so the ECE of all pixels is small "
        "for every model. The ECE of the pixels that a reader or the model marks is more informative."
        + (STATED if "stated_pixels" in bins else ""),
        draw_reliability(
            {title: bins[kind] for kind, title in PIXELS.items() if kind in bins},
            "Reliability of pixels", f"probability of foreground against {events}", events="pixels",
        ),
    )  # fmt: skip
    if evaluation.lesions:
        whole = evaluation.lesions.reliability
        yield (
            "reliability-lesions",
            "Reliability of whole lesions",
            "Readers by the stated probability that the lesion is marked at all; by those that it is marked and its mean "
            "diameter is at least 6, 8 or 15 mm, or its volume at least 100 or 250 mm³; and the most probable hypothesis of "
            "each lesion by its probability. On the diagonal these come true as often as stated.",
            draw_reliability(
                {title: whole[name] for name, title in LESION_BINS.items() if name in whole},
                "Reliability of whole lesions", f"stated probability against {events}; {kind}", events="events",
            ),
        )  # fmt: skip
    if evaluation.modes:
        yield (
            "modes",
            "Mode probabilities",
            "The model's probability of each mask that can be drawn, beside the true one. Bars should end at the lines, or "
            "points lie on the diagonal.",
            draw_modes(evaluation.modes, about.group or "case"),
        )


def _spreads(evaluation: Evaluation) -> dict[str, Spread]:
    """The distributions of GED over the cases, by their labels."""
    about = evaluation.about
    shown = SPREADS if about.weights == "exact" or about.samples > 16 else SPREADS[:2]
    return {
        MEASURES[name].label.split(" (")[0].format(weights=weights_of(about)): Spread(
            np.array([case.scores[name] for case in evaluation.cases]),
            evaluation.figures[name],
            perfect_model(name, about),
        )
        for name in shown
    }


def _cases(
    evaluation: Evaluation, kinds: Mapping[str, Sequence[Case]], trained: Trained, store: Store
) -> Iterator[Drawn]:
    """The pictures of single cases, of each kind of `chosen_cases`."""
    known = store.manifest.known_odds
    choice = "the true probability of what is nearest to it" if known else "the share of readers nearest to it"
    label = MEASURES[sorting_figure(evaluation)].label.format(weights=weights_of(evaluation.about))
    for kind, cases in kinds.items():
        title = CASES[kind]
        note = f"by {label}; above a hypothesis its probability, and {choice}"
        yield (
            f"cases-{kind}",
            title,
            f"Chosen by {label}. From the left: the image, all masks that "
            f"{'can be drawn' if known else 'readers drew'}, the model's probability of foreground, and the "
            "hypotheses, the most probable first.",
            draw_cases(case_panels(trained, store, evaluation, cases), title, note),
        )
