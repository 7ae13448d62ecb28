"""Whether a model's masks differ as much as the readers' masks do, and how far they are from them: the three terms of GED.

All terms are unbiased, without self-pairs (see `metrics.distances`), so a perfect model of independent readers lies on
the diagonals on average, for any numbers of draws and readers. A single case may lie on either side.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.counted import counted

from ..evaluation.evaluation import Evaluation
from .style import BLUE, INK, ORANGE, PALE, heading, name_axes, new_figure, nothing_to_show, place_panels, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = (0.25, 0.5, 1.0)  # GEDs whose lines are drawn
MANY = 300  # cases from which on points are paler


def draw_diversity(evaluation: Evaluation) -> "Figure":
    """Draw two panels with one point per case: the model's diversity against the readers', and the distance between model
    and readers against the mean of both diversities. In the second, GED is twice the height above the diagonal.
    """
    model, readers, overlap = terms(evaluation)
    figure = new_figure(
        9.6, 4.9, "Diversity and distance", f"{counted(len(model), 'case')}, all distances 1 − IoU, without self-pairs"
    )
    left, right = figure.subplots(1, 2)
    place_panels(figure, 0.65, 0.55, wspace=0.26)
    if not len(model):
        for panel in (left, right):
            nothing_to_show(panel, "not defined: a single reader per case")
        return figure
    _points(left, readers, model)
    heading(left, "Do the masks differ as the readers' do?")
    name_axes(left, "diversity of the readers", "diversity of the model's masks")
    left.text(0.98, 0.93, "as diverse as the readers", fontsize=8, color=PALE, ha="right", rotation=45,
              rotation_mode="anchor", transform_rotates_text=True)  # fmt: skip
    _points(right, (model + readers) / 2, overlap)
    heading(right, "How far from the readers are they?")
    name_axes(right, "mean of both diversities", "distance between model and readers")
    for level in LEVELS:
        ends = np.array((0.0, 1.0 - level / 2))
        right.plot(ends, ends + level / 2, color=PALE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        right.text(0.02, 0.035 + level / 2, f"GED {level:g}", fontsize=8, color=PALE, rotation=45,
                   rotation_mode="anchor", transform_rotates_text=True)  # fmt: skip
    right.text(0.98, 0.93, "GED 0", fontsize=8, color=PALE, ha="right", rotation=45, rotation_mode="anchor",
               transform_rotates_text=True)  # fmt: skip
    return figure


def terms(evaluation: Evaluation) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Unbiased diversities of the model's masks and of the readers, and the distance between them, each [N], of the cases
    in which all are defined.
    """
    scores = [(case.ambiguity, case.scores["overlap"], case.scores["ged_u"]) for case in evaluation.cases]
    model, overlap, ged = np.array(scores).reshape(-1, 3).T
    readers = 2 * overlap - model - ged
    known = ~np.isnan(readers)
    return model[known], readers[known], overlap[known]


def _points(panel: "Axes", x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    alpha = 0.55 if len(x) < MANY else max(0.08, 0.55 * MANY / len(x))
    panel.plot([0, 1], [0, 1], color=INK, linewidth=1, zorder=1)
    panel.plot(x, y, "o", color=BLUE, alpha=alpha, markersize=4.5, markeredgewidth=0)
    panel.plot([x.mean()], [y.mean()], "D", color=ORANGE, markersize=8, markeredgecolor="white", markeredgewidth=1.2)
    panel.annotate("mean", (x.mean(), y.mean()), (8, -3), textcoords="offset points", fontsize=9, color=INK)
    panel.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal", anchor="NW")
    ticks = (0, 0.25, 0.5, 0.75, 1)
    panel.set_xticks(ticks, ("0", ".25", ".5", ".75", "1"))
    panel.set_yticks(ticks, ("0", ".25", ".5", ".75", "1"))
    plain(panel)
