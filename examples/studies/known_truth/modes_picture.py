"""The known-truth benchmark as a picture: the probability that each entry gives each mode, beside the true one.

    python examples/studies/known_truth/modes_picture.py [benchmarks/known-truth]

Writes `results.png`, and the table of results as `results.md`, into the folder of `ambiseg benchmark known-truth`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ambiseg.models.benchmarks.trials.results import Result, markdown, read_results
from ambiseg.models.benchmarks.trials.table_text import by_entry
from ambiseg.models.figures.style import INK, PALE
from ambiseg.preprocessing.files import whole_file
from ambiseg.preprocessing.sources.papers.known_readers import MODES
from ambiseg.terminal.console import plain_errors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#b8b2a7", "#e07a3f", "#2b6cb0", "#d9a5ad")  # of MODES, and of what is like none of them
COLUMNS = 4
GAP = 0.2  # between groups of bars, in bars


def draw_results(path: Path, results: Sequence[Result]) -> None:
    """Write a PNG with one panel per entry: a bar for each mode in each group of images, one for the masks that are like
    no mode, and a line at the true value.

    With several seeds the bars are their mean, and each seed is a dot.
    """
    from matplotlib.figure import Figure

    entries = by_entry(results)
    rows = -(-len(entries) // COLUMNS)
    figure = Figure(figsize=(3.1 * COLUMNS, 0.95 + 1.85 * rows), dpi=110, facecolor="white")
    panels = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True)
    height = figure.get_figheight()
    figure.subplots_adjust(0.045, 0.42 / height, 0.99, 1 - 1.0 / height, 0.1, 0.5)
    for number, (panel, (name, own)) in enumerate(zip(panels.flat, entries.items(), strict=False)):
        _panel(panel, name, own, labelled=number % COLUMNS == 0)
    for panel in panels.flat[len(entries) :]:
        panel.axis("off")
    _heading(figure, height)
    with whole_file(path) as aside:
        figure.savefig(aside, format="png", metadata={"Software": None})


def _heading(figure: "Figure", height: float) -> None:
    """Title and legend, above the panels."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure.text(
        0.012, 1 - 0.3 / height, "How probable each mask is: the models' answers and the truth", fontsize=14, color=INK,
        weight="bold", va="center",
    )  # fmt: skip
    bars = [
        Patch(color=colour, label=mode) for mode, colour in zip((*MODES, "like none of them"), COLOURS, strict=True)
    ]
    keys = [*bars, Line2D([], [], color=INK, linewidth=2, label="truth")]
    figure.legend(
        handles=keys, ncols=len(keys), frameon=False, fontsize=10, labelcolor=INK, loc="center left",
        bbox_to_anchor=(0.004, 1 - 0.6 / height), handlelength=1.1, columnspacing=1.4,
    )  # fmt: skip


def _panel(panel: "Axes", name: str, results: Sequence[Result], *, labelled: bool) -> None:
    groups = list(results[0].modes)
    model = np.array([[_with_rest(result.modes[group]["model"]) for group in groups] for result in results])
    truth = np.array([_with_rest(results[0].modes[group]["truth"]) for group in groups])  # [groups, modes + 1]
    places = _places(*truth.shape)
    for mode, colour in enumerate(COLOURS):
        panel.bar(places[:, mode], model.mean(0)[:, mode], width=0.86, color=colour)
        if len(results) > 1:
            for seed in model:
                panel.plot(places[:, mode], seed[:, mode], ".", color=INK, markersize=2.5)
    panel.hlines(truth[:, :-1], places[:, :-1] - 0.44, places[:, :-1] + 0.44, color=INK, linewidth=2)
    panel.set_title(name, fontsize=10, color=INK, loc="left", weight="bold", pad=5)
    error = np.mean([result.mode_error for result in results])
    panel.set_title(f"error {error:.3f}".replace("0.", "."), fontsize=9, color=PALE, loc="right", pad=5)
    panel.set(ylim=(0, 1), xlim=(places.min() - 0.7, places.max() + 0.7))
    panel.set_xticks(places[:, :-1].mean(1), groups, fontsize=9, color=INK)
    panel.set_yticks((0, 0.5, 1), ("0", ".5", "1"), fontsize=8.5, color=PALE)
    panel.tick_params(length=0)
    panel.grid(axis="y", color="#e8e8e8", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.spines["bottom"].set_color("#bbbbbb")
    if labelled:
        panel.set_ylabel("probability", fontsize=9, color=PALE)


def _with_rest(probabilities: Sequence[float]) -> list[float]:
    """The modes' probabilities and what they lack to 1."""
    return [*probabilities, 1 - sum(probabilities)]


def _places(groups: int, modes: int) -> NDArray[np.float64]:
    """Where the bars stand [groups, modes]."""
    return np.add.outer(np.arange(groups) * (modes + GAP), np.arange(modes, dtype=np.float64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("benchmarks/known-truth"))
    asked = parser.parse_args()
    results = read_results(asked.folder)
    if not results:
        raise SystemExit(f"{asked.folder} holds no results: run `ambiseg benchmark known-truth` first.")
    draw_results(asked.folder / "results.png", results)
    with whole_file(asked.folder / "results.md") as file:
        file.write_text(markdown(results), encoding="utf-8")
    print(f"Written: {asked.folder}/results.png and results.md")


if __name__ == "__main__":
    with plain_errors():
        main()
