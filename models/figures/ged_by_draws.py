"""GED against the number of draws, as in figure 4 of the Probabilistic U-Net (Kohl et al. 2018), for any evaluated runs.

The V-statistic of n draws expects

    2 E d(s, y) - (1 - 1/n) E d(s, s') - E d(y, y')

where d(s, s') is the distance of two different draws. An evaluation holds the terms of all of its masks. So the figure at
any number of draws follows from them, and needs no new draws.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..evaluation.stored import StoredEvaluation
from ..metrics.distances import without_self_pairs
from ..metrics.summary import Figure as Summary
from ..metrics.summary import summarise
from .numbers import true_minus
from .style import BLUE, INK, ORANGE, PALE, RULE, STONE, name_axes, new_figure, nothing_to_show, place_panels, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWS = (1, 2, 4, 8, 16, 50, 100)
NEEDED = ("overlap", "sample_diversity", "reader_diversity", "ged_u")
COLOURS = (BLUE, ORANGE, INK, "#2f855a", "#805ad5", "#b83280", STONE)
MARKS = "os^Dv*P"
APART = 0.025  # of the runs' points at one number of draws, as a share of that number
WIDTH, HEIGHT = 8.2, 4.9  # inches


@dataclass(frozen=True)
class Course:
    """A run's GED, V-statistic, at each of `DRAWS`; and a perfect model's means at these, nan with single readers."""

    summaries: tuple[Summary, ...]
    perfect: NDArray[np.float64]


def courses(evaluations: Sequence[StoredEvaluation]) -> dict[str, Course]:
    """The course of each evaluation that holds the terms of GED, by the run's name."""
    return {one.name: _course(one) for one in evaluations if all(name in one.scores for name in NEEDED)}


def _course(one: StoredEvaluation) -> Course:
    overlap, diversity, readers, unbiased = (one.scores[name] for name in NEEDED)
    draws = one.about.samples if one.about.weights == "draws" else None
    apart = np.array([without_self_pairs(value, draws) for value in diversity])
    readers_apart = 2 * overlap - apart - unbiased  # of two different readers
    values = [2 * overlap - (1 - 1 / n) * apart - readers for n in DRAWS]
    perfect = [(1 + 1 / n) * readers_apart - readers for n in DRAWS]
    rng = np.random.default_rng(one.about.seed)
    return Course(
        tuple(summarise(some, one.patients, rng) for some in values),
        np.array([_mean(some) for some in perfect]),
    )


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def draw_ged_by_draws(found: Mapping[str, Course], note: str) -> "Figure":
    """One line per run, with 95 % intervals by patient, over the number of draws on a logarithmic axis."""
    figure = new_figure(WIDTH, HEIGHT, "GED by the number of draws", note)
    panel = figure.subplots()
    place_panels(figure, 0.65, 0.55, right=0.3)
    known = {name: one for name, one in found.items() if not np.isnan([each.mean for each in one.summaries]).all()}
    if not known:
        nothing_to_show(panel, "not defined in any case")
        return figure
    for place, (name, one) in enumerate(known.items()):
        _line(panel, name, one, place, len(known))
    perfect = next(iter(known.values())).perfect
    if not np.isnan(perfect).any():
        panel.plot(DRAWS, perfect, color=PALE, linewidth=1, linestyle=(0, (4, 3)), label="perfect model")
    panel.set_xscale("log", base=2)
    panel.set_xticks(DRAWS, list(map(str, DRAWS)))
    panel.minorticks_off()
    panel.set_ylim(min(0.0, panel.get_ylim()[0]), None)
    plain(panel)
    name_axes(panel, "draws", "squared GED, V-statistic")
    legend = panel.legend(fontsize=9, labelcolor=INK, edgecolor=RULE, framealpha=0.9, loc="upper right")
    legend.get_frame().set_linewidth(0.6)
    return figure


def _line(panel: "Axes", name: str, one: Course, place: int, lines: int) -> None:
    colour, mark = COLOURS[place % len(COLOURS)], MARKS[place % len(MARKS)]
    x = np.array(DRAWS) * (1 + APART * (place - (lines - 1) / 2))
    means = np.array([each.mean for each in one.summaries])
    label = f"{name}: {true_minus(f'{means[DRAWS.index(16)]:.3f}')} at 16"
    panel.plot(x, means, color=colour, marker=mark, linewidth=1.4, markersize=5, label=label)
    for where, each in zip(x, one.summaries, strict=True):
        if not np.isnan(each.low):
            panel.plot([where, where], [each.low, each.high], color=colour, linewidth=1.2, alpha=0.6)
