"""A mosaic of a store's crops beside their readers' outlines, to look at what a model will learn from."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from ..counted import counted
from ..errors import InputError
from ..files import whole_file
from .intensity import LUNG_WINDOW
from .store import IGNORE, Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, distinct to the colour blind, those that are bright on grey first
COLOURS = ("#56B4E9", "#E69F00", "#F0E442", "#CC79A7", "#009E73", "#D55E00", "#0072B2")
LineStyle = Literal["solid"] | tuple[float, tuple[float, ...]]
LINES: tuple[LineStyle, ...] = ("solid", (0, (2.5, 1.2)), (0, (0.8, 0.8)))  # another kind for every seven readers
WIDEST, NARROWEST = 2.6, 1.0  # points: from the first reader to the last, so that equal outlines lie inside each other
SMALLEST = 0.25  # of the crop: the least side of the field about the marks
TILE, SEAM, GAP, LINE = 1.75, 0.03, 0.16, 0.22  # inches: a panel, between its two, between crops, a line of text
SHEET, INK, PALE = "#15171c", "#f1f3f6", "#9aa1ad"

Field = tuple[float, float, float]


class _Style(TypedDict):
    color: str
    linestyle: LineStyle
    linewidth: float


def choose_rows(store: Store, split: str, count: int, seed: int) -> NDArray[np.intp]:
    """Up to `count` rows of a split ("all" for any), drawn by `seed`, ascending; one per lesion while lesions last."""
    rows = store.rows(split)
    if not len(rows):
        raise InputError(f"The split {split} of {store.path} is empty: choose another `split`.")
    shuffled = np.random.default_rng(seed).permutation(rows)
    seen: set[tuple[str, str, str]] = set()
    first: list[int] = []
    later: list[int] = []
    for number in shuffled.tolist():
        lesion = store.index[number].lesion
        (later if lesion in seen else first).append(number)
        seen.add(lesion)
    return np.sort(np.array((first + later)[:count], np.intp))


def draw_mosaic(store: Store, rows: NDArray[np.intp], path: Path, columns: int | None = None) -> None:
    """Write a PNG of the crops `rows`, each beside its marked part with all readers' outlines; it names no patient or case.

    HU are shown in the lung window, relative values over each crop's own range. Below a crop stand its row in the store and
    how many of its readers marked it, and one square per reader: filled where the reader marked, empty where not. An
    absent reader has none.
    """
    columns = columns or min(len(rows), max(2, round(float(np.sqrt(0.75 * len(rows))))))
    masks = store.labels(rows)
    masks = np.where(masks == IGNORE, 0, masks)
    names = _outline_names(store)
    figure, panels = _sheet(-(-len(rows) // columns), columns, len(names))
    for (whole, part), row, image, mask in zip(panels, rows, store.images(rows), masks, strict=False):
        present = store.present[row, : len(names)]
        field = _field(mask[present].any(0))
        for panel in (whole, part):
            _image(panel, image, store.intensity.unit)
        _frame(whole, field)
        for reader in np.flatnonzero(present):
            _outline(part, mask[reader], int(reader), len(names))
        y, x, half = field
        part.set(xlim=(x - half, x + half), ylim=(y + half, y - half))
        _scale_bar(part, field, store.spacing_mm or store.index[row]["spacing_x_mm"])
        _caption(whole, part, int(row), mask.any((1, 2)), present)
    _legend(figure, store, names, len(rows))
    with whole_file(path) as aside:
        figure.savefig(aside, dpi=140, format="png", metadata={"Software": None})


def _sheet(lines: int, columns: int, readers: int) -> tuple["Figure", list[tuple["Axes", "Axes"]]]:
    """A figure with two square panels side by side for each crop, line by line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = max(columns, 2) * (2 * TILE + SEAM + GAP) + GAP
    head = GAP + LINE * (1.5 + -(-readers // _legend_columns(width, readers)))
    height = head + lines * (TILE + LINE + GAP)
    figure = Figure(figsize=(width, height), facecolor=SHEET)
    FigureCanvasAgg(figure)
    panels = []
    for number in range(lines * columns):
        line, column = divmod(number, columns)
        left, bottom = GAP + column * (2 * TILE + SEAM + GAP), height - head - line * (TILE + LINE + GAP) - TILE
        places = [(each / width, bottom / height, TILE / width, TILE / height) for each in (left, left + TILE + SEAM)]
        panels.append((figure.add_axes(places[0]), figure.add_axes(places[1])))
    for pair in panels:
        for panel in pair:
            panel.axis("off")
    return figure, panels


def _field(marked: NDArray[np.bool_]) -> Field:
    """Centre (y, x) and half the side of a square about what is marked in a crop [H, W], within it; all if nothing is."""
    side = float(min(marked.shape))
    if not marked.any():
        return (marked.shape[0] - 1) / 2, (marked.shape[1] - 1) / 2, side / 2
    ends = [(np.flatnonzero(marked.any(1 - axis))[[0, -1]]) for axis in (0, 1)]
    half = max(0.75 * max(np.ptp(end) + 1 for end in ends), SMALLEST * side / 2)
    half = side / 2 if half > 0.45 * side else half
    y, x = (
        float(np.clip(end.mean(), half - 0.5, length - 0.5 - half))
        for end, length in zip(ends, marked.shape, strict=True)
    )
    return y, x, float(half)


def _image(panel: "Axes", image: NDArray[Any], unit: str) -> None:
    """An image [C, H, W]: three channels as colours, else the first in grey."""
    low, high = (
        LUNG_WINDOW if unit == "HU" else (float(image.min()), max(float(image.max()), float(image.min()) + 1e-6))
    )
    shown = np.clip((image.astype(np.float32) - low) / (high - low), 0, 1)
    pixels = shown.transpose(1, 2, 0) if len(shown) == 3 else shown[0]
    panel.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def _frame(panel: "Axes", field: Field) -> None:
    """A thin square where the panel beside it looks, unless that is everything."""
    from matplotlib.patches import Rectangle

    y, x, half = field
    if 2 * half >= abs(np.subtract(*panel.get_xlim())):
        return
    panel.add_patch(Rectangle((x - half, y - half), 2 * half, 2 * half, fill=False, ec=INK, lw=0.6, alpha=0.8))


def _style(reader: int, readers: int) -> _Style:
    """Colour, kind and width of a reader's line."""
    widest = WIDEST if readers <= 5 else (WIDEST + NARROWEST) / 2
    return {
        "color": COLOURS[reader % len(COLOURS)],
        "linestyle": LINES[reader // len(COLOURS) % len(LINES)],
        "linewidth": widest - (widest - NARROWEST) * reader / max(readers - 1, 1),
    }


def _outline(panel: "Axes", mask: NDArray[np.uint8], reader: int, readers: int) -> None:
    """The outlines of all classes of a mask [H, W]; it is padded, so that they close at the border."""
    style = _style(reader, readers)
    y, x = (np.arange(-1, length + 1) for length in mask.shape)
    for label in np.unique(mask[mask > 0]):
        panel.contour(
            x,
            y,
            np.pad(mask, 1) == label,
            [0.5],
            colors=[style["color"]],
            linestyles=[style["linestyle"]],
            linewidths=[style["linewidth"]],
        )


def _caption(whole: "Axes", part: "Axes", row: int, marked: NDArray[np.bool_], present: NDArray[np.bool_]) -> None:
    from matplotlib.patches import Rectangle

    text = f"row {row}   \u00b7   marked by {int((marked & present).sum())} of {int(present.sum())}"
    whole.text(0, -0.035, text, transform=whole.transAxes, fontsize=7.5, color=PALE, va="top")
    side, step = 0.04, 0.058
    first = 1 - side - step * (int(present.sum()) - 1)
    for place, reader in enumerate(np.flatnonzero(present)):
        colour = COLOURS[reader % len(COLOURS)]
        part.add_patch(
            Rectangle(
                (first + step * place, -0.085),
                side,
                side,
                transform=part.transAxes,
                clip_on=False,
                fc=colour if marked[reader] else "none",
                ec=colour,
                lw=0.8,
            )
        )


def _scale_bar(panel: "Axes", field: Field, spacing: float | str | None) -> None:
    """A bar of 10 mm (5 or 1 mm in a small field) where the pixel size is known."""
    if not spacing:
        return
    y, x, half = field
    length_mm = next((mm for mm in (10, 5, 1) if mm / float(spacing) < half), None)
    if length_mm is None:
        return
    left, low = x - 0.9 * half, y + 0.88 * half
    panel.plot([left, left + length_mm / float(spacing)], [low, low], color="white", linewidth=2, solid_capstyle="butt")
    panel.text(left, low - 0.06 * half, f"{length_mm} mm", color="white", fontsize=6.5, va="bottom")


def _legend_columns(width: float, readers: int) -> int:
    """Entries in a line of the legend: all lines alike."""
    lines = -(-readers // max(1, int(width / 0.95)))
    return -(-readers // lines)


def _outline_names(store: Store) -> list[str]:
    """A name for each outline: a reader, one of the known modes, or the label map to which flips are applied."""
    if store.manifest.flips:
        return ["labels before flips"]
    if store.manifest.known_odds:
        return [f"mode {number}" for number in range(store.readers)]
    return [f"reader {number + 1}" for number in range(store.readers)]


def _legend(figure: "Figure", store: Store, names: Sequence[str], count: int) -> None:
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    name = f"{store.manifest.name}: {count:,} of {counted(len(store), 'crop')}"
    figure.text(GAP / width, 1 - GAP / height, name, fontsize=11, weight="bold", color=INK, va="top")
    columns = _legend_columns(width, len(names))
    for reader, called in enumerate(names):
        line, column = divmod(reader, columns)
        x, y = (GAP + 0.95 * column) / width, 1 - (GAP + LINE * (1.55 + line)) / height
        figure.add_artist(Line2D([x, x + 0.25 / width], [y, y], **_style(reader, len(names))))
        figure.text(x + 0.32 / width, y, called, fontsize=8, color=INK, va="center")
