"""Reliability of hypotheses before and after calibration, one column per run: the picture of docs/how-to/calibrate.md.

ambiseg benchmark known-truth -o kt --methods modal,generalized-mixture-full,probunet
for run in kt/modal-seed0 kt/generalized-mixture-full-seed0 kt/probunet-seed0; do ambiseg calibrate $run; done
python examples/calibration_figure.py kt/modal-seed0 kt/generalized-mixture-full-seed0 kt/probunet-seed0 -o calibration.png
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ambiseg.models.figures.style import BLUE, INK, ORANGE, STONE, heading, name_axes, new_figure, place_panels, plain
from ambiseg.models.metrics.reliability import Bins

WIDTH, HEIGHT = 3.0, 3.0  # inches per panel
LARGEST = 260.0  # area of the dot of the fullest bin, points^2


def diagram(panel: Axes, bins: Bins) -> None:
    """Observed frequency against predicted probability; the area of a dot shows how many hypotheses it represents."""
    known = bins.counts > 0
    x, y = bins.mean_confidence[known], bins.frequency[known]
    panel.plot([0, 1], [0, 1], color=INK, linewidth=1, zorder=1)
    panel.vlines(x, np.minimum(x, y), np.maximum(x, y), color=ORANGE, linewidth=2, alpha=0.6, zorder=2)
    area = LARGEST * np.sqrt(bins.counts[known] / bins.counts.max())
    panel.scatter(x, y, area, color=BLUE, edgecolor="white", linewidth=0.8, alpha=0.9, zorder=3, clip_on=False)
    panel.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal")
    panel.set_xticks((0, 0.5, 1), ("0", ".5", "1"))
    panel.set_yticks((0, 0.5, 1), ("0", ".5", "1"))
    panel.spines["bottom"].set_color(STONE)
    plain(panel)


def draw(checks: list[dict[str, Any]]) -> Figure:
    """One row before and one after calibration, one column per check."""
    about = checks[0]
    columns = len(checks)
    figure = new_figure(
        WIDTH * columns + 0.5,
        2 * HEIGHT + 1.6,
        "Hypotheses before (above) and after calibration (below)",
        f"{about['data']}, {about['checked_on']}: observed frequency against predicted probability",
    )
    panels = figure.subplots(2, columns, squeeze=False)
    place_panels(figure, 0.75, 0.6, hspace=0.3, wspace=0.22)
    for column, check in enumerate(checks):
        for row, when in enumerate(("before", "after")):
            bins = Bins(**{name: np.array(values) for name, values in check[when]["reliability"]["hypotheses"].items()})
            panel = panels[row, column]
            diagram(panel, bins)
            fitted = (
                f"T {check['fitted']['temperature']:.2f}"
                if row
                else check["run"].removesuffix("-seed0").removeprefix("generalized-")
            )
            heading(panel, fitted, f"ECE {bins.ece:.3f}")
            name_axes(panel, "predicted" if row else "", "observed" if column == 0 else "")
    return figure


def main() -> None:
    """Draw the checks of the given runs."""
    parser = argparse.ArgumentParser(description="Reliability before and after calibration, of several runs.")
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, calibrated by `ambiseg calibrate`")
    parser.add_argument("-o", "--output", type=Path, default=Path("calibration.png"))
    asked = parser.parse_args()
    checks = [json.loads((run / "calibration" / "check.json").read_text(encoding="utf-8")) for run in asked.runs]
    draw(checks).savefig(asked.output, metadata={"Software": None})


if __name__ == "__main__":
    main()
