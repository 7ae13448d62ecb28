"""Mode probabilities against the known truth: bars by group where there are few, else points."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..metrics.modes import Group
from .style import BLUE, INK, ORANGE, PALE, STONE, heading, name_axes, new_figure, place_panels, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 24  # bars in a panel, and panels
COLUMNS = 3


def draw_modes(groups: Mapping[str, Group], named_by: str) -> "Figure":
    """Draw one panel per group: a bar for each mode's mean probability, a line at the truth, and a bar for other masks.

    named_by: what the groups are. With many modes or groups there is one point per mode and group, the model's against the
    true probability.
    """
    modes = max(len(group.truth) for group in groups.values())
    note = f"mean over the cases of each {named_by}" if len(groups) > 1 else "mean over all cases"
    title = "Mode probabilities: the model's and the truth"
    return _bars(groups, title, note) if max(modes, len(groups)) <= MOST else _points(groups, title, note)


def _bars(groups: Mapping[str, Group], title: str, note: str) -> "Figure":
    columns = min(COLUMNS, len(groups))
    rows = -(-len(groups) // columns)
    figure = new_figure(max(3.1 * columns, 5.2) + 0.6, 2.2 * rows + 1.35, title, note)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    place_panels(figure, 0.6, 0.55 + 0.25, wspace=0.1, hspace=0.5)
    for number, (panel, (name, group)) in enumerate(zip(panels.flat, groups.items(), strict=False)):
        _panel(panel, name, group)
        if number % columns == 0:
            name_axes(panel, y="probability")
    for panel in panels.flat[len(groups) :]:
        panel.axis("off")
    _legend(figure)
    return figure


def _panel(panel: "Axes", name: str, group: Group) -> None:
    places = np.arange(len(group.truth))
    panel.bar(places, group.model, 0.72, color=BLUE)
    panel.bar([len(places)], [max(0.0, 1 - group.model.sum())], 0.72, color=STONE)
    panel.hlines(group.truth, places - 0.42, places + 0.42, color=INK, linewidth=2.4)
    heading(panel, name, f"{group.cases} {'case' if group.cases == 1 else 'cases'}, error {group.error:.3f}")
    panel.set(ylim=(0, 1), xlim=(-0.7, len(places) + 0.7))
    step = 1 if len(places) <= 10 else 4
    panel.set_xticks([*places[::step], len(places)], [*map(str, places[::step]), "none"])
    panel.set_yticks((0, 0.5, 1), ("0", ".5", "1"))
    plain(panel, grid="y")


def _legend(figure: "Figure") -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    keys = [
        Patch(color=BLUE, label="model, by number of the mode"),
        Patch(color=STONE, label="like no mode"),
        Line2D([], [], color=INK, linewidth=2.4, label="truth"),
    ]
    figure.legend(
        handles=keys, ncols=3, frameon=False, fontsize=9, labelcolor=PALE, loc="lower left", handlelength=1.3,
        bbox_to_anchor=(0.01, 0.0),
    )  # fmt: skip


def _points(groups: Mapping[str, Group], title: str, note: str) -> "Figure":
    figure = new_figure(5.4, 5.6, title, note)
    panel = figure.subplots()
    place_panels(figure, 0.65, 0.55)
    truth: NDArray[np.float64] = np.concatenate([group.truth for group in groups.values()])
    model: NDArray[np.float64] = np.concatenate([group.model for group in groups.values()])
    most = 1.05 * max(truth.max(), model.max(), 1e-3)
    panel.plot([0, most], [0, most], color=INK, linewidth=1, zorder=1)
    panel.vlines(truth, np.minimum(truth, model), np.maximum(truth, model), color=ORANGE, linewidth=1, alpha=0.4)
    panel.plot(truth, model, "o", color=BLUE, alpha=0.6, markersize=4.5, markeredgewidth=0)
    panel.set(xlim=(0, most), ylim=(0, most), aspect="equal", anchor="NW")
    plain(panel)
    heading(panel, f"{len(truth)} modes", f"error {np.abs(truth - model).mean():.4f}")
    name_axes(panel, "true probability", "the model's probability")
    return figure
