"""Reliability diagrams: how often events of a given probability happened (DeGroot and Fienberg 1983)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..metrics.reliability import Bins
from .style import BLUE, INK, ORANGE, PALE, STONE, heading, name_axes, new_figure, nothing_to_show, place_panels, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 10  # a bin with fewer events is drawn pale: chance plays a large part in it
WIDTH = 4.6  # inches per panel


def draw_reliability(bins: Mapping[str, Bins], title: str, note: str, *, events: str) -> "Figure":
    """Draw one panel per set of bins, for example before and after calibration.

    The upper part shows observed frequency against predicted probability, with bars to the diagonal; bins with fewer than
    `FEW` events are pale. The lower part shows how many `events` each bin holds, on a logarithmic axis.
    """
    figure = new_figure(WIDTH * max(len(bins), 2) * (1 if len(bins) > 1 else 0.62), 5.6, title, note)
    panels = figure.subplots(2, len(bins), squeeze=False, height_ratios=(3.4, 1))
    place_panels(figure, 0.75, 0.55, wspace=0.28, hspace=0.12)
    for number, (name, one) in enumerate(bins.items()):
        _diagram(panels[0, number], panels[1, number], name, one, events)
    return figure


def _diagram(panel: "Axes", counts: "Axes", name: str, bins: Bins, events: str) -> None:
    heading(panel, name, f"ECE {bins.ece:.3f}")
    if not bins.counts.sum():
        heading(panel, name)
        nothing_to_show(panel, f"no {events}")
        counts.axis("off")
        return
    known = bins.counts > 0
    few = bins.counts[known] < FEW
    x, y = bins.mean_confidence[known], bins.frequency[known]
    panel.plot([0, 1], [0, 1], color=INK, linewidth=1, zorder=1)
    panel.vlines(x, np.minimum(x, y), np.maximum(x, y), color=ORANGE, linewidth=2.5, alpha=0.55)
    panel.plot(x, y, color=BLUE, linewidth=1, alpha=0.5)
    for some, colour in ((few, STONE), (~few, BLUE)):
        panel.plot(x[some], y[some], "o", color=colour, markersize=6.5, markeredgecolor="white")
    panel.text(0.03, 0.95, "more often than stated", fontsize=8.5, color=PALE, va="top")
    panel.text(0.97, 0.05, "less often than stated", fontsize=8.5, color=PALE, ha="right")
    panel.set(xlim=(-0.02, 1.02), ylim=(-0.03, 1.03))
    _ticks(panel, named=False)
    panel.set_yticks((0, 0.25, 0.5, 0.75, 1), ("0", ".25", ".5", ".75", "1"))
    plain(panel)
    name_axes(panel, y="observed frequency")
    edges = np.linspace(0, 1, len(bins.counts) + 1)
    counts.bar((edges[:-1] + edges[1:])[known] / 2, bins.counts[known], 0.86 * edges[1], color=STONE)
    counts.set(xlim=(-0.02, 1.02), yscale="log")
    counts.set_ylim(min(0.5, bins.counts[known].min() / 2), None)
    counts.minorticks_off()
    _ticks(counts, named=True)
    plain(counts)
    name_axes(counts, "predicted probability", events)


def _ticks(panel: "Axes", *, named: bool) -> None:
    panel.set_xticks((0, 0.25, 0.5, 0.75, 1), ("0", ".25", ".5", ".75", "1") if named else [""] * 5)
