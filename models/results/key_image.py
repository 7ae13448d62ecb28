"""A lesion on one picture, with nothing to click: where it lies, the outlines of its hypotheses, and the numbers as a table.

It is 1024 pixels wide and high, and can be read at half that size. No name is on it.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.exports.segments import COLOURS
from ambiseg.preprocessing.volumes.volume import Volume

from ..figures.drawing import Field, Step, extent, field_about, grey_window, outline, percent, scale_bar, show_image
from ..prediction.document import Document, LesionEntry, SizesEntry
from ..prediction.inference import LesionHypotheses
from .viewer import words
from .viewer.region import best_slice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PIXELS, DPI = 1024, 100
SHOWN = 8  # hypotheses
MARGIN_MM, SIDE_MM = 10.0, 30.0  # about what is marked, and the smallest field of view
TEXT, HEAD, NOTE = 16.5, 21.0, 14.5  # sizes of letters in points
LIGHT, DIM, DARK = "#f2f2f2", "#b5b9c2", "#101216"
COLUMNS = {"": 0.085, "probability": 0.17, "size": 0.40, "long × short axis": 0.70}  # where they begin
TOP, ROW = 0.378, 0.0345  # of the table, as shares of the height


def draw_key_image(
    document: Document, lesion: LesionEntry, result: LesionHypotheses, volume: Volume, unit: str
) -> NDArray[np.uint8]:
    """The picture [1024, 1024, 3] in RGB, of the slice on which the hypotheses mark most.

    Args:
        document: hypotheses.json.
        lesion: its entry for the lesion.
        result: the lesion's hypotheses.
        volume: the scan.
        unit: "HU" chooses the lung window.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(PIXELS / DPI, PIXELS / DPI), dpi=DPI, facecolor=DARK)
    canvas = FigureCanvasAgg(figure)
    number = best_slice(result)
    _heading(figure, document, lesion, result.box[0].start + number + 1, len(volume.array))
    _panels(figure, result, volume, number, unit)
    _table(figure, lesion)
    _footer(figure, lesion)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def shown_slice(result: LesionHypotheses) -> slice:
    """Which slices z of the scan the picture shows: a single one."""
    z = result.box[0].start + best_slice(result)
    return slice(z, z + 1)


def _heading(figure: "Figure", document: Document, lesion: LesionEntry, number: int, slices: int) -> None:
    figure.text(
        0.02, 0.982, "Possible outlines of a lesion, by AI", fontsize=HEAD, color=LIGHT, va="top", weight="bold"
    )
    where = f"Lesion {lesion.number}   ·   {words.place(lesion.centre_mm)} (RAS)"
    if slices > 1:
        where += f"   ·   slice {number} of {slices} from below"
    figure.text(0.02, 0.944, where, fontsize=NOTE, color=DIM, va="top")
    made = f"{document.program}, model {document.model.name}"
    figure.text(0.98, 0.012, made, fontsize=12, color=DIM, ha="right", va="bottom")


def _panels(figure: "Figure", result: LesionHypotheses, volume: Volume, number: int, unit: str) -> None:
    """The whole slice with a frame, and what is in the frame with outlines."""
    whole = volume.array[result.box[0].start + number]
    step = volume.spacing_mm[1:]
    near = whole[result.box[1:]]
    marked = (result.hypotheses.masks[:, number] > 0).any(0) | (result.probability[number] > 0.1)
    field = field_about(marked, step, margin=MARGIN_MM, least=SIDE_MM)
    window = grey_window(whole, unit)
    for left, image, shown in ((0.02, whole, extent(whole.shape, step)), (0.505, near, field)):
        panel = figure.add_axes((left, 0.435, 0.475, 0.475), facecolor="black")
        show_image(panel, image, step, shown, window)
        panel.set(xticks=[], yticks=[], aspect="equal")
        panel.spines[:].set_visible(False)
    _frame(figure.axes[0], field, (result.box[1].start * step[0], result.box[2].start * step[1]))
    _outlines(figure.axes[1], result, number, step)
    scale_bar(figure.axes[1], field, inset=0.05, width=4, size=NOTE)


def _frame(panel: "Axes", field: Field, corner_mm: Step) -> None:
    """Where a field of view lies that begins at the corner (y, x) of a box."""
    from matplotlib.patches import Rectangle

    left, right, bottom, top = field
    place = (left + corner_mm[1], top + corner_mm[0])
    panel.add_patch(Rectangle(place, right - left, bottom - top, fill=False, edgecolor="white", linewidth=1.5))


def _outlines(panel: "Axes", result: LesionHypotheses, number: int, step: Step) -> None:
    """All outlines, the most probable on top and with the broadest line."""
    masks = result.hypotheses.masks[:SHOWN, number]
    for index in reversed(range(len(masks))):
        outline(panel, masks[index], step, COLOURS[index], 3.2 if index == 0 else 2.0)


def _table(figure: "Figure", lesion: LesionEntry) -> None:
    from matplotlib.patches import Rectangle

    for title, left in COLUMNS.items():
        figure.text(left, TOP + ROW, title, fontsize=NOTE, color=DIM, va="center")
    for row, entry in enumerate(lesion.hypotheses[:SHOWN]):
        y = TOP - row * ROW
        figure.add_artist(Rectangle((0.03, y - 0.011), 0.035, 0.022, color=COLOURS[row], linewidth=0))
        size = ("no lesion", "") if entry.empty else (words.extent(entry.size), words.axes(entry.size))
        for text, left in zip((str(entry.rank), percent(entry.probability), *size), COLUMNS.values(), strict=True):
            figure.text(left, y, text, fontsize=TEXT, color=LIGHT, va="center")


def _footer(figure: "Figure", lesion: LesionEntry) -> None:
    facts = [f"P(no lesion) {percent(lesion.no_lesion)}"]
    hidden = sum(entry.probability for entry in lesion.hypotheses[SHOWN:]) + lesion.residual
    if hidden >= 0.0005:
        facts.append(f"other outlines {percent(hidden)}")
    figure.text(0.03, 0.096, "   ·   ".join(facts), fontsize=TEXT, color=LIGHT, va="center")
    if lesion.size is not None:
        figure.text(0.03, 0.064, _size(lesion.size.if_marked), fontsize=NOTE, color=LIGHT, va="center")
    research = "FOR RESEARCH USE ONLY. NOT FOR DIAGNOSIS."
    figure.text(0.02, 0.012, research, fontsize=15, color="#f9c74f", va="bottom", weight="bold")


def _size(sizes: SizesEntry) -> str:
    """Median and 90 % interval of volume, or area, and of the mean diameter."""
    flat = sizes.volume_mm3 is None
    named = (
        (sizes.extent, "area" if flat else "volume", "mm²" if flat else "mm³"),
        (sizes.mean_diameter_mm, "diameter", "mm"),
    )
    said = []
    for spread, name, unit in named:
        median, low, high = (words.number(spread, which) for which in ("median", "low_90", "high_90"))
        said.append(f"{name} {median} {unit} ({low} to {high})")
    return f"If marked (90 %): {', '.join(said)}"
