"""A picture of one lesion's hypotheses: what the scan shows, how likely each voxel is, and each mask's outline."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.exports.segments import COLOURS
from ambiseg.preprocessing.volumes.volume import Volume

from ..core.hypotheses import Hypotheses, source_words
from ..core.size import Length, measure
from ..figures.drawing import (
    Field,
    Step,
    field_about,
    grey_window,
    legible,
    outline,
    percent,
    plane_of,
    scale_bar,
    show_image,
    show_map,
)
from ..figures.style import INK, PALE
from ..prediction.inference import LesionHypotheses
from .viewer.region import best_slice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
SHOWN = 8
MARGIN_MM = 8.0
SIDE_MM = 24.0  # the smallest field of view


def save_preview(path: Path, result: LesionHypotheses, volume: Volume, unit: str, length: Length = "mm") -> None:
    """Write a PNG of the slice on which the hypotheses mark most; `unit` "HU" chooses the lung window, `length` is the unit of
    lengths.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = result.hypotheses
    number = best_slice(result)
    step = volume.spacing_mm[1:]
    field = _field(result, number, step)
    window = grey_window(volume.array[result.box][number], unit)
    scan = plane_of(volume.shown(result.box), number)
    shown = min(len(found.masks), SHOWN)
    rows = 1 + -(-shown // COLUMNS)
    figure = Figure(figsize=(3.1 * COLUMNS, 3.45 * rows + 0.75), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    figure.subplots_adjust(0.02, 0.35 / figure.get_figheight(), 0.98, 1 - 0.95 / figure.get_figheight(), 0.08, 0.2)
    for panel in (*axes.flat[:3], *axes.flat[COLUMNS : COLUMNS + shown]):
        show_image(panel, scan, step, field, window)
        panel.set(xticks=[], yticks=[], anchor="N")
        panel.spines[:].set_visible(False)
    _overview(axes[0, 0], found, number, step, field, shown, length)
    _map(axes[0, 1], result.probability[number], step, "magma", 1.0, "Probability of lesion")
    _map(axes[0, 2], result.entropy[number], step, "viridis", _most_entropy(result), "Entropy (nats)")
    _bars(axes[0, 3], found, shown)
    for index in range(shown):
        _hypothesis(axes.flat[COLUMNS + index], found, index, number, volume.spacing_mm, length)
    for panel in axes.flat[COLUMNS + shown :]:
        panel.axis("off")
    _heading(figure, result, volume, number, length)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a lesion's name in letters that the font lacks
        figure.savefig(path, metadata={"Software": None})


def _field(result: LesionHypotheses, number: int, step: Step) -> Field:
    """A square in mm of the plane about everything that is marked in the slice, or about its middle."""
    marked = (result.hypotheses.masks[:, number] > 0).any(0) | (result.probability[number] > 0.1)
    return field_about(marked, step, margin=MARGIN_MM, least=SIDE_MM)


def _overview(
    panel: "Axes", found: Hypotheses, number: int, step: Step, field: Field, shown: int, length: Length
) -> None:
    for index in reversed(range(shown)):
        outline(panel, found.masks[index, number], step, COLOURS[index], 1.3)
    scale_bar(panel, field, length)
    panel.set_title("All outlines", fontsize=10, color=INK, loc="left")


def _map(panel: "Axes", values: NDArray[np.float32], step: Step, colours: str, most: float, title: str) -> None:
    show_map(panel, values, step, colours=colours, most=most)
    panel.set_title(title, fontsize=10, color=INK, loc="left")


def _most_entropy(result: LesionHypotheses) -> float:
    """The largest entropy that the classes allow: ln 2 unless more than one class is marked."""
    return float(max(np.log(2), result.entropy.max()))


def _bars(panel: "Axes", found: Hypotheses, shown: int) -> None:
    """Probabilities with their intervals, and what is left over."""
    values = np.append(found.probabilities[:shown], max(0.0, 1 - found.probabilities[:shown].sum()))
    places = np.arange(shown + 1)
    reach = values.copy()
    panel.barh(places, values, 0.68, color=[*COLOURS[:shown], "#d5d8de"])
    if found.intervals is not None:
        low, high = found.intervals[:shown].T
        reach[:shown] = high
        panel.hlines(places[:shown], low, high, color=INK, linewidth=1)
    for row, value, end in zip(places.tolist(), values, reach, strict=True):
        panel.text(end + 0.04 * reach.max(), row, percent(value), va="center", fontsize=8.5, color=INK)
    names = [str(number) for number in places[1:]] + ["rest"]
    panel.set(
        ylim=(max(shown, 4) + 0.6, -0.6), xlim=(0, 1.3 * reach.max()), yticks=places, yticklabels=names, xticks=[]
    )
    panel.tick_params(length=0, labelsize=8.5, labelcolor=INK)
    for side in ("top", "right", "bottom"):
        panel.spines[side].set_visible(False)
    panel.spines["left"].set_color(PALE)
    panel.set_title("Probability", fontsize=10, color=INK, loc="left")
    place = panel.get_position()
    panel.set_position((place.x0 + 0.025, place.y0, place.width - 0.025, place.height))


def _hypothesis(
    panel: "Axes",
    found: Hypotheses,
    index: int,
    number: int,
    spacing_mm: tuple[float, float, float],
    length: Length,
) -> None:
    mask = found.masks[index]
    outline(panel, mask[number], spacing_mm[1:], COLOURS[index], 2)
    if found.masks.max() > 1:
        _name_classes(panel, mask[number], spacing_mm[1:])
    panel.set_title(f"{index + 1}   {percent(found.probabilities[index])}", fontsize=11, color=INK, loc="left")
    note = _size(mask, spacing_mm, length)
    panel.text(0.99, 1.025, note, transform=panel.transAxes, ha="right", va="bottom", fontsize=8.5, color=PALE)
    panel.plot([0, 1], [1.0, 1.0], transform=panel.transAxes, color=COLOURS[index], linewidth=5, clip_on=True)
    if not mask[number].any():
        text = "not in this slice" if mask.any() else "no lesion"
        legible(panel.text(0.5, 0.06, text, transform=panel.transAxes, ha="center", color="white", fontsize=10))


def _name_classes(panel: "Axes", mask: NDArray[np.uint8], step: Step) -> None:
    """Each class's label where its part of a mask [Y, X] is widest."""
    from scipy import ndimage

    for label in np.unique(mask[mask > 0]):
        depth = ndimage.distance_transform_edt(np.pad(mask == label, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        legible(panel.text(x * step[1], y * step[0], str(label), color="white", fontsize=8, ha="center", va="center"))


def _size(mask: NDArray[np.uint8], spacing_mm: tuple[float, float, float], length: Length) -> str:
    size = measure(mask, spacing_mm)
    if not size.slices:
        return "empty"
    extent = f"{size.area_mm2:.0f} {length}²" if len(mask) == 1 else f"{size.volume_mm3:.0f} {length}³"
    return f"{extent}, {size.long_axis_mm:.1f} {length}"


def _heading(figure: "Figure", result: LesionHypotheses, volume: Volume, number: int, length: Length) -> None:
    found = result.hypotheses
    x, y, z = result.lesion.place_mm
    height = figure.get_figheight()
    title = counted(len(found.masks), "hypothesis", "hypotheses")
    if result.lesion.name:
        title = f"{result.lesion.name}: {title}"
    figure.text(0.02, 1 - 0.2 / height, title, fontsize=15, color=INK, va="top", weight="bold", parse_math=False)
    source = source_words(found.draws, result.left_out)
    at = f"at ({x:.1f}, {y:.1f}, {z:.1f}) {'mm RAS' if length == 'mm' else length}"
    facts = f"{at}   ·   P(no lesion) {percent(result.no_lesion)}   ·   {source}"
    if len(volume.array) > 1:
        facts += f"   ·   slice {result.box[0].start + number + 1} of {len(volume.array)} from below"
    figure.text(0.02, 1 - 0.52 / height, facts, fontsize=9.5, color=PALE, va="top")
    figure.text(0.98, 0.1 / height, "For research use only", fontsize=8, color=PALE, ha="right")
