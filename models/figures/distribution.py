"""How a figure is distributed over cases: letter-value plots (Hofmann, Wickham and Kafadar 2017), one row per distribution."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..metrics.summary import Figure as Summary
from .numbers import true_minus
from .style import (
    BLUE,
    HEAD,
    INK,
    LIGHT_BLUE,
    ORANGE,
    PALE,
    name_axes,
    new_figure,
    nothing_to_show,
    place_panels,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST = 8  # cases beyond the ends of a box that is drawn
FEW = 40  # cases that are shown one by one
WIDTH, ROW = 8.2, 0.62  # inches


@dataclass(frozen=True)
class Spread:
    """A figure's values [N], one per case and nan where not defined; its mean and interval; a perfect model's mean."""

    values: NDArray[np.float64]
    summary: Summary
    floor: float | None = None


def draw_distributions(spreads: Mapping[str, Spread], title: str, note: str, axis: str) -> "Figure":
    """Draw one row per spread: nested boxes of letter values, a line at the median, a dot at the mean with its interval.

    title, note: above the picture; axis: what the values are. Spreads without a value are left out.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    defined = {name: one for name, one in spreads.items() if not np.isnan(one.values).all()}
    rows = max(len(defined), 1)
    figure = new_figure(WIDTH, 1.5 + ROW * rows, title, note)
    panel = figure.subplots()
    place_panels(figure, 0.085 * max(map(len, defined), default=0) + 0.25, 0.85, top=HEAD)
    if not defined:
        nothing_to_show(panel, "not defined in any case")
        return figure
    for place, one in enumerate(defined.values()):
        _row(panel, place, one)
    plain(panel, grid="x")
    panel.set(ylim=(rows - 0.4, -0.6))
    panel.set_yticks(range(rows), list(defined), fontsize=9.5, color=INK)
    name_axes(panel, axis)
    keys: list[Line2D | Patch] = [
        Patch(color=BLUE, label="middle half, further halves paler"),
        Line2D([], [], color="white", linewidth=2, label="median"),
        Line2D([], [], color=ORANGE, marker="o", linewidth=2, label="mean, 95 % interval"),
    ]
    if any(one.floor is not None for one in defined.values()):
        keys.append(Line2D([], [], color=INK, marker="|", markersize=11, linewidth=0, label="perfect model"))
    legend = figure.legend(
        handles=keys, ncols=len(keys), frameon=False, fontsize=8.5, labelcolor=PALE, loc="lower left",
        bbox_to_anchor=(0.004, 0.0), handlelength=1.3, columnspacing=1.4,
    )  # fmt: skip
    _outlined(legend.legend_handles[1])
    return figure


def _outlined(line: "object") -> None:
    """Add a dark rim, so that the white line of the median is visible on white."""
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    if isinstance(line, Line2D):
        line.set_path_effects([withStroke(linewidth=4, foreground=BLUE)])


def letter_values(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ends [depth, 2] of the boxes that hold the middle 1/2, 3/4, 7/8, ... of the values [N], the innermost first.

    There are as many boxes as leave `LEAST` values on each side beyond the last, but at least one.

    >>> letter_values(np.arange(9.0)).tolist()
    [[2.0, 6.0]]
    """
    depth = max(1, int(math.log2(max(len(values) / LEAST, 2))) - 1)
    tails = 0.5 ** np.arange(2, depth + 2)
    return np.quantile(values, np.stack((tails, 1 - tails), 1))


def _row(panel: "Axes", place: int, one: Spread) -> None:
    values = one.values[~np.isnan(one.values)]
    boxes = letter_values(values)
    for number, (low, high) in reversed(list(enumerate(boxes))):
        share = number / max(len(boxes) - 1, 1)
        height = 0.5 * (1 - 0.75 * number / len(boxes))
        panel.barh(place, high - low, height, low, color=_between(BLUE, LIGHT_BLUE, share), linewidth=0)
    low, high = boxes[-1]
    apart = values if len(values) <= FEW else values[(values < low) | (values > high)]
    panel.plot(apart, np.full(len(apart), place), ".", color=INK, alpha=0.35, markersize=3.5, markeredgewidth=0)
    panel.vlines(np.median(values), place - 0.25, place + 0.25, color="white", linewidth=2)
    _mean(panel, place, one)


def _mean(panel: "Axes", place: int, one: Spread) -> None:
    """The mean, its interval and its value just above the boxes, and a perfect model's mean."""
    mean, low, high = one.summary.mean, one.summary.low, one.summary.high
    level = place - 0.36
    if not math.isnan(low):
        panel.plot([low, high], [level, level], color=ORANGE, linewidth=2.2, solid_capstyle="round")
    panel.plot([mean], [level], "o", color=ORANGE, markersize=5)
    end = mean if math.isnan(high) else high
    panel.annotate(
        true_minus(f"{mean:.3f}"),
        (end, level),
        (6, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
        color=INK,
    )
    if one.floor is not None:
        panel.plot([one.floor], [level], "|", color=INK, markersize=11, markeredgewidth=1.6)


def _between(first: str, last: str, share: float) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return tuple((1 - share) * a + share * b for a, b in zip(to_rgb(first), to_rgb(last), strict=True))
