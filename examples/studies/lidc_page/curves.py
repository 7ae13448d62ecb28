"""The validation curves of a benchmark: one panel per entry, with its own curve in front of all others."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ambiseg.models.benchmarks.trials.measured import entry_and_seed, run_folders
from ambiseg.models.benchmarks.trials.table_text import short
from ambiseg.models.figures.style import (
    BLUE,
    HEAD,
    HEADING,
    INK,
    ORANGE,
    RULE,
    heading,
    name_axes,
    new_figure,
    place_panels,
    plain,
    png,
)
from ambiseg.models.runs.run_folder import Run
from ambiseg.preprocessing.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 4
PANEL, GAP, FOOT = (3.0, 1.75), 0.62, 0.62  # inches: a panel's width and height, between rows, below them
ABOVE = 1.25  # how far above the median of the last points the axis goes: first points would squeeze the rest

Curve = Sequence[tuple[int, float]]


def read_curves(folder: Path) -> dict[str, list[Curve]]:
    """The validation GED (V-statistic) of each entry's runs, one curve a seed: points (step, GED)."""
    curves: dict[str, list[Curve]] = {}
    for path in run_folders(folder):
        log = Run.open(path).read_log()
        points = [(entry["step"], entry["ged"]) for entry in log if entry["kind"] == "validation"]
        if points:
            curves.setdefault(entry_and_seed(path)[0], []).append(points)
    return dict(sorted(curves.items(), key=lambda item: _best(item[1])[1]))


def draw_curves(path: Path, curves: Mapping[str, Sequence[Curve]], note: str) -> None:
    """Write a PNG of the curves, the entry with the lowest point first; `note` stands above the panels."""
    columns = min(COLUMNS, len(curves))
    rows = -(-len(curves) // columns)
    width, height = 0.75 + columns * PANEL[0], HEAD + HEADING + rows * (PANEL[1] + GAP) - GAP + FOOT
    figure = new_figure(max(width, 5.2), height, "GED on validation crops while training", note)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    place_panels(figure, 0.62, FOOT, wspace=0.1, hspace=GAP / PANEL[1])
    everything = [curve for own in curves.values() for curve in own]
    for number, (panel, (name, own)) in enumerate(zip(panels.flat, curves.items(), strict=False)):
        _panel(panel, name, own, everything)
        lowest = number + columns >= len(curves)
        panel.tick_params(labelbottom=lowest)
        name_axes(panel, "step" if lowest else "", "GED16" if number % columns == 0 else "")
    for panel in panels.flat[len(curves) :]:
        panel.axis("off")
    panels.flat[0].set(**_limits(everything))
    with whole_file(path) as aside:
        aside.write_bytes(png(figure))


def _panel(panel: "Axes", name: str, own: Sequence[Curve], everything: Sequence[Curve]) -> None:
    for curve in everything:
        panel.plot(*zip(*curve, strict=True), color=RULE, linewidth=0.8, alpha=0.7)
    for curve in own:
        panel.plot(*zip(*curve, strict=True), color=BLUE, linewidth=1.7, solid_capstyle="round")
    step, ged = _best(own)
    panel.plot([step], [ged], "o", color=ORANGE, markersize=5)
    plain(panel)
    panel.locator_params(axis="x", nbins=4)
    panel.xaxis.set_major_formatter(lambda value, place: f"{value:,.0f}")
    panel.yaxis.set_major_formatter(on_axis)
    panel.tick_params(labelcolor=INK)
    heading(panel, name, f"best {short(ged)}")


def on_axis(value: float, place: int) -> str:
    """A number of an axis: two decimals, without the zero before the point."""
    return f"{value:.2f}".replace("0.", ".", 1)


def _best(curves: Sequence[Curve]) -> tuple[int, float]:
    """The lowest point of an entry's curves."""
    return min((point for curve in curves for point in curve), key=lambda point: point[1])


def _limits(curves: Sequence[Curve]) -> dict[str, tuple[float, float]]:
    """Axes that begin at step 0 and show all but the highest first points."""
    values = sorted(ged for curve in curves for _, ged in curve)
    last = sorted(curve[-1][1] for curve in curves)
    top = min(values[-1], last[-1] * ABOVE)
    room = 0.06 * max(top - values[0], 0.05)
    steps = max(step for curve in curves for step, _ in curve)
    return {"xlim": (0, 1.02 * steps), "ylim": (values[0] - room, top + room)}
