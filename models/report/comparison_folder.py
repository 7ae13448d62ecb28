"""The folder of a comparison: its numbers, its pictures, and a page that shows all of it.

comparison.json    the runs and all differences
comparison.csv     one row per figure and pair of runs
comparison.png     the differences with their intervals, also as SVG
distribution.png   the GED16 of each run over the cases, also as SVG
ged-by-draws.png   the GED of each run by the number of draws, also as SVG
report.html        everything on one page that needs no network

The same evaluations give the same bytes.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.files import disk_errors, make_folder, whole_file

from ..comparison.comparison import Comparison
from ..evaluation.stored import StoredEvaluation
from ..figures.differences import draw_differences
from ..figures.distribution import Spread, draw_distributions
from ..figures.ged_by_draws import courses, draw_ged_by_draws
from ..figures.picture import Picture
from ..figures.style import png, svg
from ..figures.wording import perfect_model
from ..metrics.summary import summarise
from .comparison_page import render_comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPORT = "report.html"
SOMETIMES = ("distribution.png", "distribution.svg", "ged-by-draws.png", "ged-by-draws.svg")
SPREAD = "ged16_v"  # the figure whose distribution is always shown


def write_comparison(folder: Path, comparison: Comparison, evaluations: Sequence[StoredEvaluation]) -> Path:
    """Write a comparison of `evaluations` into `folder`, in place of an earlier one.

    Returns:
        The path of the page.

    Raises:
        ResourceError: The folder cannot be written.
    """
    pictures: list[Picture] = []
    files: dict[str, bytes] = {}
    for name, title, caption, figure in _figures(comparison, evaluations):
        pictures.append(Picture(name, title, caption, png(figure)))
        files |= {f"{name}.png": pictures[-1].png, f"{name}.svg": svg(figure)}
    files[REPORT] = render_comparison(comparison, pictures).encode()
    make_folder(folder)
    with disk_errors(folder):
        for name in SOMETIMES:
            (folder / name).unlink(missing_ok=True)
    comparison.write(folder)
    for name, content in files.items():
        with whole_file(folder / name) as file:
            file.write_bytes(content)
    return folder / REPORT


def _figures(
    comparison: Comparison, evaluations: Sequence[StoredEvaluation]
) -> Iterator[tuple[str, str, str, "Figure"]]:
    """Name, title, caption and figure of each picture."""
    counts = f"{counted(comparison.cases, comparison.noun)}, {counted(comparison.patients, 'patient')}"
    note = f"{comparison.data}, {comparison.split}: {counts}"
    yield (
        "comparison",
        "Differences of runs",
        "One panel per figure, one line per pair of runs: the mean difference, second less first, and its 95 % interval by "
        "patient. In “A → B” A is the first run and B the second. Blue: the second is better. Orange: the first is better. "
        "Grey: undecided after correction for all tests, or neither way is better.",
        draw_differences(comparison, f"{note}; 95 % intervals by patient"),
    )
    spreads = _spreads(evaluations)
    if spreads:
        yield (
            "distribution",
            "How GED16 is distributed over the cases",
            "One row per run. The dark box holds the middle half of the cases, and each paler box half of those left; dots are "
            "the rest. The orange dot is the mean with its 95 % interval by patient. Lower is better. Intervals of runs may "
            "overlap even where their difference, case by case, is significant.",
            draw_distributions(spreads, "How GED16 is distributed over the cases", note, "squared GED, 16 draws"),
        )
    found = courses(evaluations)
    if found:
        yield (
            "ged-by-draws",
            "GED by the number of draws",
            "One line per run: what the V-statistic expects at that number of draws, from all masks of the evaluation, with "
            "95 % intervals by patient. Points are moved sideways so that they do not hide each other. It falls with the "
            "number of draws for every model, and faster for a model of diverse masks. Dashed: a perfect model, if readers are "
            "independent given the image.",
            draw_ged_by_draws(found, note),
        )


def _spreads(evaluations: Sequence[StoredEvaluation]) -> dict[str, Spread]:
    """Each run's GED16 by its name, of those that have it."""
    return {
        one.name: Spread(
            one.scores[SPREAD],
            summarise(one.scores[SPREAD], one.patients, np.random.default_rng(one.about.seed)),
            perfect_model(SPREAD, one.about),
        )
        for one in evaluations
        if SPREAD in one.scores and not np.isnan(one.scores[SPREAD]).all()
    }
