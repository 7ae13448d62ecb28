"""A picture of how a lesion's volume changed: its distribution at each time, and the change under both assumptions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..figures.style import (
    BLUE,
    INK,
    ORANGE,
    PALE,
    heading,
    name_axes,
    new_figure,
    nothing_to_show,
    place_panels,
    plain,
)
from ..metrics.volume_scores import INTERVALS, VolumeForecast
from .volume_growth import HABITS, change

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"independent": PALE, "same rank": BLUE}
WAYS = {"independent": "independent readers", "same rank": "same rank"}
SHOWN = 16.0  # times larger or smaller at most
TICKS = (0.1, 0.2, 0.5, 1, 1.5, 2, 3, 5, 10)


def draw_growth(volumes: Sequence[VolumeForecast], days: Sequence[float], growth: float) -> "Figure":
    """The picture of volumes in mm3 at some days; `growth` is the share that counts as growth."""
    last = days[-1]
    figure = new_figure(
        9.4, 3.9, "How the lesion changed", f"volumes if marked, and the change from day 0 to day {last:g}"
    )
    times, changes = figure.subplots(1, 2, width_ratios=(1, 1.25))
    place_panels(figure, 0.75, 0.6, wspace=0.28)
    _times(times, volumes, days)
    _changes(changes, volumes[0], volumes[-1], growth)
    return figure


def _times(panel: "Axes", volumes: Sequence[VolumeForecast], days: Sequence[float]) -> None:
    heading(panel, "Volume", "median, 50 and 90 % interval")
    known = [(day, given) for day, each in zip(days, volumes, strict=True) if (given := each.marked) is not None]
    if not known:
        nothing_to_show(panel, "nothing is marked at any time")
        return
    at = [day for day, _ in known]
    for level, width in zip(sorted(INTERVALS, reverse=True), (2, 6), strict=True):
        ends = np.array([given.quantiles(INTERVALS[level]) for _, given in known])
        panel.vlines(at, ends[:, 0], ends[:, 1], color=BLUE, linewidth=width, alpha=0.45)
    panel.plot(at, [given.quantiles((0.5,))[0] for _, given in known], "o-", color=BLUE, linewidth=1, markersize=5)
    plain(panel)
    panel.set(yscale="log", xticks=days)
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.yaxis.set_minor_formatter(lambda value, _: f"{value:,.0f}")
    panel.tick_params(which="minor", length=0, labelsize=7, labelcolor=PALE)
    span = days[-1] - days[0]
    panel.set_xlim(days[0] - 0.12 * span, days[-1] + 0.12 * span)
    name_axes(panel, "days", "volume, mm³")


def _changes(panel: "Axes", before: VolumeForecast, after: VolumeForecast, growth: float) -> None:
    heading(panel, "Change", f"P(at least so large); line: +{growth:.0%}")
    drawn = False
    for habit in HABITS:
        found = change(before, after, habit)
        if not len(found.weights):
            continue
        drawn = True
        order = np.argsort(found.log_ratio, kind="stable")
        ratios = np.clip(np.exp(found.log_ratio[order]), 1 / SHOWN, SHOWN)
        reached = 1 - np.concatenate(([0.0], np.cumsum(found.weights[order])[:-1]))
        label = f"{WAYS[habit]}: {found.grown(growth):.0%}"
        panel.step(ratios, reached, where="pre", color=COLOURS[habit], linewidth=1.8, label=label)
    if not drawn:
        nothing_to_show(panel, "no mask is marked at both times")
        return
    panel.axvline(1 + growth, color=ORANGE, linewidth=1.2)
    plain(panel)
    low, high = panel.get_xlim()
    panel.set(xscale="log", ylim=(0, 1.02), xlim=(max(low, 1 / SHOWN), min(high, SHOWN)))
    low, high = panel.get_xlim()
    ticks = [ratio for ratio in TICKS if low <= ratio <= high]
    panel.set_xticks(ticks, [f"{ratio - 1:+.0%}" if ratio != 1 else "0%" for ratio in ticks])
    panel.set_xticks([], minor=True)
    panel.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="best")
    name_axes(panel, "change of volume", "probability")
