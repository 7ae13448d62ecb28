"""The training curves of a run as a picture: losses and validation scores by step."""

import math
from typing import TYPE_CHECKING, Any

from ambiseg.preprocessing.files import whole_file

from ..runs.run_folder import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"train": "#8da0b3", "validation": "#0b5fa5", "best": "#c44e00"}
TITLES = {
    "loss": "Loss (nats per image)",
    "kl": "KL divergence (nats per image)",
    "ged": "Squared GED on validation (lower is better)",
    "hm_iou": "Matched IoU on validation (higher is better)",
}
WIDE = 20  # ratio of the largest to the smallest value from which a scale is logarithmic
DECADES = 4  # that are logarithmic at most: smaller values lie in the linear part of the scale


def draw_progress(run: Run) -> None:
    """Write `progress.png` into the run folder."""
    from matplotlib.figure import Figure

    entries = run.read_log()
    series = _series(entries)
    if not series:
        return
    figure = Figure(figsize=(9, 2.6 * ((len(series) + 1) // 2)), layout="constrained")
    axes = list(figure.subplots((len(series) + 1) // 2, 2, squeeze=False).flat)
    for name, axis in zip(series, axes, strict=False):
        _draw(axis, name, entries)
    for axis in axes[len(series) :]:
        axis.set_visible(False)
    config = run.record.config
    figure.suptitle(f"{config.method} on {run.record.data.name}, seed {config.seed}", fontsize=11)
    with whole_file(run.path / "progress.png") as file:
        figure.savefig(file, dpi=110, format="png")


def _series(entries: list[dict[str, Any]]) -> list[str]:
    """What is drawn: the figures that have titles, and the losses of players that learn side by side, such as "prior/loss"."""
    known = {name: None for entry in entries for name in entry}
    return [*(name for name in TITLES if name in known), *(name for name in known if name.endswith("/loss"))]


def _draw(axis: "Axes", name: str, entries: list[dict[str, Any]]) -> None:
    for kind in ("train", "validation"):
        points = [(entry["step"], entry[name]) for entry in entries if entry["kind"] == kind and name in entry]
        if points:
            style = {"marker": "o", "markersize": 3} if kind == "validation" else {"linewidth": 1}
            axis.plot(*zip(*points, strict=True), color=COLOURS[kind], label=kind, **style)
    scored = [entry for entry in entries if entry["kind"] == "validation" and name in entry]
    if name in ("ged", "hm_iou") and scored:
        best = (min if name == "ged" else max)(scored, key=lambda entry: entry[name])
        axis.annotate(
            f"{best[name]:.3f}",
            (best["step"], best[name]),
            xytext=(4, 6),
            textcoords="offset points",
            color=COLOURS["best"],
        )
    axis.set_title(TITLES.get(name) or f"Loss of the {name.removesuffix('/loss')}", fontsize=9, loc="left")
    axis.set_xlabel("step", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
    if name not in ("ged", "hm_iou"):
        _scale(axis, [entry[name] for entry in entries if name in entry])
        axis.yaxis.set_major_formatter(lambda value, place: f"{value:,.10g}")
        axis.legend(fontsize=8, frameon=False)


def _scale(axis: "Axes", values: list[float]) -> None:
    """A logarithmic scale, linear near 0, for values over a wide range, with ticks at round values.

    A narrow range stays linear: a logarithmic one would have no round value in it, and ticks such as 1.86338 x 10^0.
    """
    from matplotlib.ticker import NullLocator, SymmetricalLogLocator

    sizes = [abs(value) for value in values if value]
    if not sizes or max(sizes) < WIDE * min(sizes):
        return
    near = 10.0 ** max(math.floor(math.log10(min(sizes))), math.ceil(math.log10(max(sizes))) - DECADES)
    axis.set_yscale("symlog", linthresh=near)
    few = max(sizes) < 100 * near
    axis.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=near, subs=(1, 2, 5) if few else (1,)))
    axis.yaxis.set_minor_locator(NullLocator())
