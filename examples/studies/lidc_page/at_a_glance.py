"""The one picture and the one table of a benchmark: every entry and seed, by slice and by lesion, beside the best published."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from beside_published import MATCHED
from curves import on_axis

from ambiseg.models.audit.published_figures import Published
from ambiseg.models.benchmarks.trials.measured import Measured
from ambiseg.models.benchmarks.trials.table_text import Column, entry_rows, markdown_table, short
from ambiseg.models.figures.style import (
    BLUE,
    HEAD,
    HEADING,
    INK,
    ORANGE,
    PALE,
    heading,
    new_figure,
    place_panels,
    plain,
    png,
)
from ambiseg.models.metrics.scores import PAPERS_DRAWS
from ambiseg.preprocessing.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLEAN = "none seen"  # in the column "leak" of published figures
PICTURE = "at-a-glance.png"
NAMES, PANEL, ROW, FOOT = 2.1, 3.25, 0.27, 0.45  # inches: the entries' names, a panel's width, an entry, below


def mask_ms(run: Measured) -> float:
    """Milliseconds per mask, of as many as papers draw."""
    return run.sampling_ms(PAPERS_DRAWS) / PAPERS_DRAWS


BY_SLICE = Column[Measured]("GED16", lambda run: run.figure("ged16_v").mean, short)
OVERLAP = Column[Measured]("HM-IoU16", lambda run: run.figure("hm_iou16").mean, short)
BY_LESION = Column[Measured]("lesions: GED16, unbiased", lambda run: run.lesion_figure("ged16_u").mean, short)
COLUMNS = (
    BY_SLICE,
    Column[Measured]("GED16, unbiased", lambda run: run.figure("ged16_u").mean, short),
    OVERLAP,
    Column[Measured]("ECE, calibrated", lambda run: run.figure("ece_after").mean, short),
    BY_LESION,
    Column[Measured]("lesions: HM-IoU16", lambda run: run.lesion_figure("hm_iou16").mean, short),
    Column[Measured]("lesions: Brier, presence", lambda run: run.lesion_figure("presence_brier").mean, short),
    Column[Measured]("training min", lambda run: run.training.seconds / 60, "{:.0f}".format, timed=True),
    Column[Measured]("ms per mask", mask_ms, "{:.1f}".format, timed=True),
)


def ged16(one: Published) -> float | None:
    """A published row's GED of 16 draws; None where it has none."""
    return one.ged[PAPERS_DRAWS].value if PAPERS_DRAWS in one.ged else None


def hm_iou16(one: Published) -> float | None:
    """A published row's HM-IoU of 16 draws; None where it has none."""
    text = one.rest.get(MATCHED, "")
    return float(text) if text else None


@dataclass(frozen=True)
class Shown:
    """A panel: its heading, which way is better, the number of a run, and that of a published row."""

    title: str
    better: str
    value: Callable[[Measured], float]
    published: Callable[[Published], float | None] = lambda one: None


PANELS = (
    Shown("GED16 by slice", "lower is better", BY_SLICE.value, ged16),
    Shown("HM-IoU16 by slice", "higher is better", OVERLAP.value, hm_iou16),
    Shown("GED16 by lesion", "unbiased, lower is better", BY_LESION.value),
)


def best_clean(published: Sequence[Published]) -> Published | None:
    """The published row with the lowest GED16 of those in whose code or paper no leak was seen."""
    clean = [one for one in published if one.rest.get("leak") == CLEAN and ged16(one) is not None]
    return min(clean, key=lambda one: ged16(one) or 0.0, default=None)


def at_a_glance(entries: Mapping[str, Sequence[Measured]], best: Published | None) -> str:
    """The section of a page: picture and table of entries, the best first, `best` being what is drawn as a line."""
    table = markdown_table(entry_rows({f"`{name}`": own for name, own in entries.items()}, COLUMNS, spread=True))
    line = (
        f"Dashed: {best.method}, the best published GED16 without a visible leak ({best.rest.get('split', '')}, "
        f"{best.rest.get('passes', '')} network passes per mask), on other crops of the same scans. "
        if best
        else ""
    )
    return (
        f"## At a glance\n\n![GED and HM-IoU of every entry and seed]({PICTURE})\n\n{line}A dot is a seed, the bar their mean; "
        f"± in the table is the standard deviation over seeds. Times are those of the first seed.\n\n{table}\n"
    )


def draw_at_a_glance(path: Path, entries: Mapping[str, Sequence[Measured]], best: Published | None, note: str) -> None:
    """Write a PNG of all entries, the best at the top; `note` stands above the panels."""
    shown = [one for one in PANELS if not all(isnan(one.value(run)) for own in entries.values() for run in own)]
    width, height = NAMES + len(shown) * PANEL, HEAD + HEADING + max(len(entries), 4) * ROW + FOOT
    figure = new_figure(width, height, "How near each method comes to the readers", note)
    panels = figure.subplots(1, len(shown), squeeze=False, sharey=True)
    place_panels(figure, NAMES, FOOT, wspace=0.12)
    for panel, one in zip(panels.flat, shown, strict=True):
        _panel(panel, one, entries, best)
    panels.flat[0].set_yticks(range(len(entries)), entries)
    panels.flat[0].set_ylim(len(entries) - 0.4, -0.6)
    with whole_file(path) as aside:
        aside.write_bytes(png(figure))


def _panel(panel: "Axes", shown: Shown, entries: Mapping[str, Sequence[Measured]], best: Published | None) -> None:
    for place, own in enumerate(entries.values()):
        values = [shown.value(run) for run in own]
        panel.plot(values, [place] * len(values), "o", color=BLUE, markersize=4, alpha=0.6, markeredgewidth=0)
        panel.plot([fmean(values)], [place], "|", color=INK, markersize=11, markeredgewidth=2)
    known = None if best is None else shown.published(best)
    if known is not None:
        panel.axvline(known, color=ORANGE, linewidth=1.4, linestyle=(0, (4, 3)))
    plain(panel, grid="x")
    panel.xaxis.set_major_formatter(on_axis)
    panel.locator_params(axis="x", nbins=5)
    panel.tick_params(labelcolor=INK, length=0)
    panel.tick_params(axis="x", labelcolor=PALE)
    heading(panel, shown.title, shown.better)
