"""A comparison as a forest plot: the mean differences of each figure with their intervals."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ..comparison.comparison import Comparison, Difference
from ..metrics.catalogue import MEASURES
from .style import BLUE, HEAD, HEADING, INK, ORANGE, PALE, STONE, heading, new_figure, place_panels, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"second is better": BLUE, "first is better": ORANGE, "undecided": STONE}
COLUMNS = 3
WIDTH, ROW, GAP, FOOT = 3.2, 0.34, 0.7, 0.65  # inches: a panel, a pair of runs in it, between panels, below them


def draw_differences(comparison: Comparison, note: str) -> "Figure":
    """Draw one panel per figure, with one line per pair of runs; `note` stands above them.

    The dot is the pair's mean difference, second run less first, and the bar is its 95 % bootstrap interval by patient. The
    colours show which run is better after correction for all tests. "Undecided" includes figures that have no better way.
    """
    from matplotlib.lines import Line2D

    panels = [list(rows) for _, rows in groupby(comparison.differences, key=lambda row: row.figure)]
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    height = ROW * len(panels[0])  # of a panel
    names = 0.075 * max(len(pair_name(row)) for row in panels[0]) + 0.2  # inches for the names of the pairs
    figure = new_figure(
        columns * WIDTH + names, HEAD + HEADING + lines * (height + GAP) - GAP + FOOT, "Differences of runs", note
    )
    axes = figure.subplots(lines, columns, squeeze=False)
    place_panels(figure, names, FOOT, wspace=0.14, hspace=GAP / height)
    for place, (axis, differences) in enumerate(zip(axes.flat, panels, strict=False)):
        _panel(axis, differences, named=place % columns == 0)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    keys = [Line2D([], [], color=colour, marker="o", linewidth=2.2, label=text) for text, colour in COLOURS.items()]
    figure.legend(
        handles=keys, ncols=len(keys), frameon=False, fontsize=8.5, labelcolor=PALE, loc="lower left",
        bbox_to_anchor=(0.004, 0.0), handlelength=1.6,
    )  # fmt: skip
    return figure


def pair_name(row: Difference) -> str:
    """What is compared, in the order of the command: the first run, then the second; the difference is second less first."""
    return f"{row.first} → {row.second}"


def _panel(axis: "Axes", rows: Sequence[Difference], *, named: bool) -> None:
    measure = MEASURES[rows[0].figure]
    for place, row in enumerate(rows):
        colour = _colour(row)
        if not math.isnan(row.low):
            axis.plot([row.low, row.high], [place, place], color=colour, linewidth=2.2, solid_capstyle="round")
        axis.plot([row.difference], [place], "o", color=colour, markersize=6)
    axis.axvline(0, color=INK, linewidth=0.9, zorder=0)
    plain(axis, grid="x")
    ends = [abs(end) for row in rows for end in (row.low, row.high, row.difference) if not math.isnan(end)]
    reach = 1.12 * max(ends) or 1.0
    axis.set(xlim=(-reach, reach), ylim=(len(rows) - 0.4, -0.6))
    axis.locator_params(axis="x", nbins=5)
    labels = [pair_name(row) for row in rows] if named else [""] * len(rows)
    axis.set_yticks(range(len(rows)), labels, fontsize=9, color=INK)
    arrow = {"lower": "← better", "higher": "better →", None: ""}[measure.better]
    heading(axis, measure.name, arrow)


def _colour(row: Difference) -> str:
    if not row.significant or row.better is None:
        return COLOURS["undecided"]
    return COLOURS["second is better" if row.better == row.second else "first is better"]
