"""The picture of merging_models.py: the effect of the threshold above, that of the number of draws below."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ambiseg.models.core.hypotheses import MERGE
from ambiseg.models.figures.style import (
    BLUE,
    INK,
    ORANGE,
    PALE,
    RULE,
    heading,
    name_axes,
    new_figure,
    place_panels,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (BLUE, ORANGE, "#4c9a6a", "#8a6bb8")
Found = Mapping[str, Sequence[Sequence[Mapping[str, float]]]]  # by run: figures by threshold, by threshold and draws


def draw_study(path: Path, found: Found, thresholds: Sequence[float], draws: Sequence[int], name: str) -> None:
    """Write a PNG of the figures of each run, `found`, as merging_models.py computes them."""
    figure = new_figure(
        11, 6.3, f"Merging on {name}", "dotted: the default threshold; dashed: what counting alone costs"
    )
    panels = figure.subplots(2, 3)
    place_panels(figure, 0.65, 0.95, hspace=0.62, wspace=0.3)
    above = {"n": "Hypotheses an image", "iou": "IoU, reader and nearest hypothesis", "ece": "ECE of the probabilities"}
    below = {
        "shift": "Shift of the probabilities",
        "p1 moves": "The first probability moves",
        "covered": "95 % intervals that hold",
    }
    at_default = slice(len(draws) * thresholds.index(MERGE), len(draws) * (thresholds.index(MERGE) + 1))
    for colour, (run, (by_threshold, by_draws, *_)) in zip(COLOURS, found.items(), strict=False):
        for panel, key in zip(panels[0], above, strict=True):
            panel.plot(thresholds, [one[key] for one in by_threshold], "o-", color=colour, markersize=4, label=run)
        for panel, key in zip(panels[1], below if by_draws else (), strict=False):
            panel.plot(draws, [one[key] for one in by_draws[at_default]], "o-", color=colour, markersize=4)
        if by_draws:
            panels[1, 0].plot(draws, [one["counting"] for one in by_draws[at_default]], "--", color=colour, linewidth=1)
            panels[1, 2].plot(draws, [one["expected"] for one in by_draws[at_default]], "--", color=PALE, linewidth=1)
    for panel, title in zip(panels.flat, (*above.values(), *below.values()), strict=True):
        plain(panel)
        heading(panel, title)
    for panel in panels[0]:
        panel.axvline(MERGE, color=INK, linewidth=1, linestyle=":")
        name_axes(panel, "merge threshold, 1 - IoU")
        panel.set_ylim(*_room(panel))
    for panel in panels[1]:
        panel.set_xscale("log", base=2)
        panel.set_xticks(draws, [f"{n}" for n in draws])
        panel.minorticks_off()
        name_axes(panel, "draws")
        panel.set_ylim(0)
    panels[1, 2].set_ylim(0.8, 1)
    panels[1, 2].axhline(0.95, color=RULE, linewidth=1)
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(),
        loc="lower left",
        ncols=4,
        frameon=False,
        labelcolor=INK,
        fontsize=9.5,
    )
    figure.savefig(path, metadata={"Software": None})


def _room(panel: "Axes") -> tuple[float, float]:
    """From 0, or for overlaps from .5, to a little above the lines."""
    low, high = panel.get_ylim()
    return (0.5, 1.02) if low > 0.5 and high < 1.05 else (0, high)
