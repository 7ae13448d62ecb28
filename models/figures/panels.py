"""Cases as pictures: the image with its readers' outlines, the model's map, and the hypotheses with their probabilities."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.exports.segments import COLOURS

from .chosen import Panel
from .drawing import Field, Step, extent, field_of_view, legible, outline, scale_bar, share, show_image, show_map
from .numbers import decimals, true_minus
from .style import INK, PALE, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

READERS, MODEL = "#ffd166", "#4cc9f0"  # outlines in images of two classes; of more, each class has its own colour
HYPOTHESES = 4
OUTLINED = 4  # foreground classes up to which masks are outlines; with more they are coloured in
TILE, GAP, LABEL, WORDS, HEAD, EDGE = 1.4, 0.1, 1.3, 0.36, 0.66, 0.12  # inches
MARGIN, SMALLEST = 0.25, 20  # room about the marks (a share of their side), pixels in a field of view
COLUMNS = 3 + HYPOTHESES


def draw_cases(panels: Sequence[Panel], title: str, note: str) -> "Figure":
    """Draw one row per case: image, all readers' outlines, probability of foreground, and the most probable hypotheses, each
    with the model's probability and the share of readers whose mask is nearest to it.
    """
    width = LABEL + COLUMNS * (TILE + GAP) + EDGE
    height = HEAD + len(panels) * (TILE + WORDS) + EDGE
    figure = new_figure(width, height, title, note)
    for row, panel in enumerate(panels):
        below = height - HEAD - (row + 1) * (TILE + WORDS)
        tiles = [
            figure.add_axes((
                (LABEL + column * (TILE + GAP)) / width, below / height, TILE / width, TILE / height
            ))
            for column in range(COLUMNS)
        ]  # fmt: skip
        _label(figure, panel, below / height, (below + TILE) / height)
        _row(tiles, panel)
    return figure


def _label(figure: "Figure", panel: Panel, bottom: float, top: float) -> None:
    left = EDGE / figure.get_figwidth()
    words = panel.name.replace(", ", "\n")
    figure.text(left, top, words, fontsize=9.5, weight="bold", color=INK, va="top", linespacing=1.35)
    rest, chosen = panel.outcome.probabilities[HYPOTHESES:].sum(), panel.outcome.hits[HYPOTHESES:].sum()
    others = f"other masks:\nmodel {share(rest)}\n{_choosers(panel)} {share(chosen)}"
    facts = f"GED {true_minus(decimals(panel.distance))}\n\n{others}"
    figure.text(left, bottom, facts, fontsize=8.5, color=PALE, va="bottom", linespacing=1.35)


def _row(tiles: Sequence["Axes"], panel: Panel) -> None:
    step = panel.step_mm or (1.0, 1.0)
    field = _field(panel, step)
    few = _few_classes(panel)
    for tile in tiles:
        tile.axis("off")
    image, readers, marginal, *hypotheses = tiles
    for tile in (image, readers, marginal):
        show_image(tile, panel.image, step, field)
    _words(image, "image")
    if panel.step_mm is not None:
        scale_bar(image, field)
    _readers(readers, panel, step, few)
    show_map(marginal, panel.marginal, step)
    _words(marginal, "model's map")
    for number, tile in enumerate(hypotheses[: len(panel.hypotheses.masks)]):
        show_image(tile, panel.image, step, field)
        _hypothesis(tile, panel, number, step, few)


def _few_classes(panel: Panel) -> bool:
    return len(np.unique(np.concatenate((panel.masks, panel.hypotheses.masks)))) <= OUTLINED + 1


def _field(panel: Panel, step: Step) -> Field:
    """The field of view, in mm or pixels: a square about all that readers or hypotheses mark."""
    shown = np.concatenate((panel.masks[panel.truth > 0], panel.hypotheses.masks[:HYPOTHESES]))
    marked: NDArray[np.bool_] = np.logical_or.reduce(shown)
    return field_of_view(marked, step, share=MARGIN, least=SMALLEST * max(step))


def _readers(tile: "Axes", panel: Panel, step: Step, few: bool) -> None:
    """All readers' masks, and how many of them are empty; with many classes only the most probable mask."""
    read = panel.masks[panel.truth > 0]
    if not few:
        _mask(tile, panel.masks[panel.truth.argmax()], step, few, READERS)
        _words(tile, "one mask", f"of {len(read)}")
        return
    for mask in read:
        _mask(tile, mask, step, few, READERS, width=1.1)
    empty = float(panel.truth @ ~panel.masks.reshape(len(panel.masks), -1).any(1))
    noun = "mode" if panel.known else "reader"
    _words(tile, f"{len(read)} {noun}{'s' if len(read) > 1 else ''}", f"empty {share(empty)}" if empty else "")


def _hypothesis(tile: "Axes", panel: Panel, number: int, step: Step, few: bool) -> None:
    mask = panel.hypotheses.masks[number]
    _mask(tile, mask, step, few, MODEL)
    if not mask.any():
        legible(
            tile.text(0.5, 0.06, "nothing marked", transform=tile.transAxes, ha="center", color="white", fontsize=9)
        )
    hits = panel.outcome.hits[number]
    _words(tile, share(panel.hypotheses.probabilities[number]), f"{_choosers(panel)} {share(hits)}", bold=True)


def _mask(tile: "Axes", mask: NDArray[np.uint8], step: Step, few: bool, colour: str, width: float = 1.7) -> None:
    """Outlines of a mask's classes in `colour`, or each in its own; with many classes, coloured in."""
    labels = np.unique(mask[mask > 0])
    if not few:
        tile.imshow(_coloured(mask), extent=extent(mask.shape, step), interpolation="nearest")
        return
    for label in labels:
        own = colour if labels.max() == 1 else COLOURS[(label - 1) % len(COLOURS)]
        outline(tile, np.where(mask == label, label, 0).astype(np.uint8), step, own, width)


def _coloured(mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Label maps [H, W] as colours [H, W, 4], half transparent; background shows the image."""
    from matplotlib import colormaps

    colours = np.array(colormaps["tab20"](np.arange(256) % 20))
    colours[:, 3] = 0.6
    colours[0] = 0
    return np.asarray(colours[mask])


def _words(tile: "Axes", first: str, second: str = "", *, bold: bool = False) -> None:
    """Write the titles above a tile."""
    tile.set_title(first, fontsize=9.5, color=INK, loc="left", pad=4, weight="bold" if bold else "normal")
    tile.set_title(second, fontsize=8.5, color=PALE, loc="right", pad=4)


def _choosers(panel: Panel) -> str:
    """Whose choice is compared with the model's probability."""
    return "truth" if panel.known else "readers"
