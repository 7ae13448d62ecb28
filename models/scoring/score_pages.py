"""What `ambiseg score` and `ambiseg data readers` write: a document, a table, a picture and a page.

scores.json, scores.csv, report.html      of scores: one row per case
readers.json, readers.csv, readers.png, report.html  of readers: one row per pair
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.documents import write_json
from ambiseg.preprocessing.files import disk_errors, only_writer, whole_file
from ambiseg.preprocessing.tables import write_table

from ..figures.numbers import decimals, interval
from ..figures.picture import Picture
from ..figures.style import BLUE, heading, name_axes, new_figure, place_panels, plain, png
from ..metrics.summary import NAN
from ..report.template import render
from .agreement import Agreement
from .mask_scores import FIGURES, POOLED, Scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPORT = "report.html"
SCORE_NOTES = (
    "The distance of two masks is 1 - IoU; two empty masks have distance 0. GED is the squared energy distance: with "
    "self-pairs (V-statistic), as papers give it, and without them (unbiased). 95 % intervals resample cases.",
    "Collective insight is 3 Sc Dm Da / (Sc + Dm + Da) of Rahman et al. (CVPR 2023), with 1 - Dice of two masks for what "
    "they call variance. Readers are not the truth: these figures say how well masks agree with these readers.",
)
READER_NOTES = (
    "Two empty masks have Dice 1. Kappa is Fleiss' kappa of whether a reader marks anything: 1 is perfect, 0 what chance "
    "gives.",
)
POSITIONS = "Readers are numbered image by image: one number need not be one person."


def score_rows(scores: Scores) -> list[tuple[str, ...]]:
    """The table of a score, headings first: figure, mean, interval, cases; only figures that are defined."""
    rows: list[tuple[str, ...]] = [("figure", "mean", "95 % interval", "cases")]
    labels = {name: label for name, (label, _) in FIGURES.items()} | POOLED
    for name, label in labels.items():
        if name in scores.figures and scores.figures[name].mean is not None:
            figure = scores.figures[name].figure
            unit = f", {scores.unit}" if name.startswith("volume") else ""
            rows.append((label + unit, decimals(figure.mean), interval(figure), str(figure.cases)))
    return rows


def reader_rows(found: Agreement) -> list[tuple[str, ...]]:
    """The table of readers, headings first."""
    rows: list[tuple[str, ...]] = [
        ("reader", "images", "marked something", f"mean size, {found.unit}", "mean Dice with the others")
    ]
    return rows + [
        (one.reader, str(one.images), f"{100 * one.marked:.0f} %", _number(one.mean_size, 1), _number(one.dice))
        for one in found.readers
    ]


def pair_rows(found: Agreement) -> list[tuple[str, ...]]:
    """The table of pairs, headings first."""
    size = f"size: second less first, {found.unit}"
    rows: list[tuple[str, ...]] = [
        ("pair", "images", "Dice", "IoU", "Dice if both marked", size, "relative size difference")
    ]
    return rows + [
        (
            f"{one.first}, {one.second}", str(one.images), _number(one.dice), _number(one.iou), _number(one.dice_if_both),
            _number(one.size_difference, 1), _number(one.relative_difference),
        )
        for one in found.pairs
    ]  # fmt: skip


def overall_rows(found: Agreement) -> list[tuple[str, ...]]:
    """What holds for all readers together, headings first."""
    return [
        ("figure", "value"),
        ("images read by two or more", str(found.images)),
        ("Fleiss' kappa of presence", _number(found.kappa)),
        ("all agree on presence", f"{100 * found.all_agree:.0f} % of the images"),
        ("Dice of two readers, mean", _number(found.dice)),
        ("IoU of two readers, mean", _number(found.iou)),
        ("relative size difference, mean", _number(found.relative_difference)),
    ]


def write_scores(folder: Path, scores: Scores) -> Path:
    """Write scores.json, scores.csv and report.html, and return the path of the page."""
    page = render(
        "scores.html",
        package=PAGES,
        kind="scores",
        title="Masks against readers",
        lead=f"{counted(len(scores.cases), 'case')}, {'with weights' if scores.weighted else 'masks of equal weight'}.",
        pictures=[],
        tables={"Figures": score_rows(scores)},
        notes=SCORE_NOTES,
    )
    columns = ["case", "readers", "masks", *FIGURES]
    with _alone(folder, "scores.json"):
        write_json(folder / "scores.json", scores)
        rows = (
            {"case": one.case, "readers": one.readers, "masks": one.masks} | _cells(one.figures) for one in scores.cases
        )
        write_table(folder / "scores.csv", rows, columns, for_people=True)
        with whole_file(folder / REPORT) as aside:
            aside.write_text(page, encoding="utf-8")
    return folder / REPORT


def write_agreement(folder: Path, found: Agreement) -> Path:
    """Write readers.json, readers.csv, readers.png and report.html, and return the path of the page."""
    drawn = png(draw_agreement(found))
    notes = READER_NOTES if found.named else (*READER_NOTES, POSITIONS)
    page = render(
        "scores.html",
        package=PAGES,
        kind="readers",
        title=f"Readers of {found.data}",
        lead=f"{counted(found.images, 'image')} read by two or more of {counted(len(found.readers), 'reader')}.",
        pictures=[Picture("readers", "Agreement of readers", CAPTION, drawn)],
        tables={"Together": overall_rows(found), "Readers": reader_rows(found), "Pairs": pair_rows(found)},
        notes=notes,
    )
    with _alone(folder, "readers.json"):
        write_json(folder / "readers.json", found)
        pairs = [one.model_dump() for one in found.pairs]
        write_table(folder / "readers.csv", map(_cells, pairs), list(pairs[0]), for_people=True)
        for name, content in (("readers.png", drawn), (REPORT, page.encode())):
            with whole_file(folder / name) as aside:
                aside.write_bytes(content)
    return folder / REPORT


CAPTION = "Left: mean Dice of each pair of readers. Right: share of the images read in which a reader marked anything."
PAGES = "ambiseg.models.report"


def draw_agreement(found: Agreement) -> "Figure":
    """The pairs' Dice as a matrix, and how often each reader marked something."""
    names = [one.reader for one in found.readers]
    table = np.full((len(names), len(names)), NAN)
    for one in found.pairs:
        place = names.index(one.first), names.index(one.second)
        table[place] = table[place[::-1]] = NAN if one.dice is None else one.dice
    figure = new_figure(8.4, 4.0, f"Readers of {found.data}", f"{counted(found.images, 'image')}")
    panels = figure.subplots(1, 2, squeeze=False)[0]
    place_panels(figure, 0.9, 0.7, wspace=0.45)
    heading(panels[0], "Dice of two readers")
    panels[0].imshow(table, cmap="Blues", vmin=0, vmax=1)
    for i, j in zip(*np.nonzero(~np.isnan(table)), strict=True):
        panels[0].text(
            j, i, f"{table[i, j]:.2f}", ha="center", va="center", color="white" if table[i, j] > 0.6 else "black"
        )
    panels[0].set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    panels[0].set_yticks(range(len(names)), names, fontsize=8)
    heading(panels[1], "Marked something")
    panels[1].barh(names, [100 * one.marked for one in found.readers], color=BLUE)
    panels[1].invert_yaxis()
    panels[1].set_xlim(0, 100)
    name_axes(panels[1], x="% of the images read")
    plain(panels[1], grid="x")
    return figure


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Allow one writer of a folder at a time."""
    with disk_errors(folder), only_writer(folder / name, what=str(folder)):
        yield


def _cells(values: Mapping[str, object]) -> dict[str, object]:
    return {name: "" if value is None else value for name, value in values.items()}


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
