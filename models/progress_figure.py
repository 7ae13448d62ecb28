"""The curves of a run as a picture: losses, and the validation scores against the steps."""

from typing import TYPE_CHECKING, Any

from ambiseg.preprocessing.files import whole_file

from .run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"train": "#8da0b3", "validation": "#0b5fa5", "best": "#c44e00"}
TITLES = {
    "loss": "Loss (nats an image)",
    "kl": "KL divergence (nats an image)",
    "ged": "Squared GED on validation (lower is better)",
    "hm_iou": "Matched IoU on validation (higher is better)",
}


def draw_progress(run: Run) -> None:
    """Write `progress.png` into the run folder."""
    from matplotlib.figure import Figure

    entries = run.read_log()
    series = [name for name in TITLES if any(name in entry for entry in entries)]
    figure = Figure(figsize=(9, 2.6 * ((len(series) + 1) // 2)), layout="constrained")
    axes = figure.subplots((len(series) + 1) // 2, 2, squeeze=False).flat
    for name, axis in zip(series, axes, strict=False):
        _draw(axis, name, entries)
    for axis in list(axes)[len(series) :]:
        axis.set_visible(False)
    config = run.record.config
    figure.suptitle(f"{config.method} on {run.record.data.name}, seed {config.seed}", fontsize=11)
    with whole_file(run.path / "progress.png") as file:
        figure.savefig(file, dpi=110, format="png")


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
    axis.set_title(TITLES[name], fontsize=9, loc="left")
    axis.set_xlabel("step", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
    if name in ("loss", "kl"):
        axis.set_yscale("symlog" if name == "kl" else "log")
        axis.legend(fontsize=8, frameon=False)
