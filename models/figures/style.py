"""The look of all pictures: one palette that colour-blind people can read, few lines, words in two greys."""

from io import BytesIO
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, PALE = "#22252b", "#7a808c"  # main text, secondary text
BLUE, ORANGE, STONE = "#2b6cb0", "#e07a3f", "#b8b2a7"  # the model, what matters most, background
LIGHT_BLUE = "#d4e3f3"
GRID, RULE = "#e8e8e8", "#bbbbbb"
DPI = 130
HEAD, HEADING = 0.72, 0.26  # inches for the figure's title and note, for the panels' titles


def new_figure(width: float, height: float, title: str, note: str) -> "Figure":
    """A white figure of `width` x `height` inches with its title and a note at the upper left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    left = 0.12 / width
    figure.text(left, 1 - 0.22 / height, title, fontsize=12.5, weight="bold", color=INK, va="center")
    figure.text(left, 1 - 0.48 / height, note, fontsize=9, color=PALE, va="center")
    return figure


def place_panels(
    figure: "Figure", left: float, bottom: float, right: float = 0.2, top: float = HEAD + HEADING, **gaps: float
) -> None:
    """Set the room about the panels, in inches; `gaps` are those of `subplots_adjust`."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height, **gaps)


def plain(panel: "Axes", *, grid: Literal["both", "x", "y"] = "both") -> None:
    """No frame, a faint grid along `grid`, small pale numbers."""
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.spines["bottom"].set_color(RULE)
    panel.tick_params(length=0, labelsize=8.5, labelcolor=PALE)
    panel.grid(axis=grid, color=GRID, linewidth=0.8)
    panel.set_axisbelow(True)


def heading(panel: "Axes", title: str, note: str = "") -> None:
    """A panel's title at its upper left, a pale note at its upper right."""
    panel.set_title(title, fontsize=10, color=INK, loc="left", weight="bold", pad=6)
    panel.set_title(note, fontsize=9, color=PALE, loc="right", pad=6)


def name_axes(panel: "Axes", x: str = "", y: str = "") -> None:
    """Label the axes."""
    panel.set_xlabel(x, fontsize=9, color=PALE)
    panel.set_ylabel(y, fontsize=9, color=PALE)


def nothing_to_show(panel: "Axes", why: str) -> None:
    """Make a panel empty, with the reason in its middle."""
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    panel.text(0.5, 0.5, why, transform=panel.transAxes, ha="center", va="center", fontsize=9, color=PALE)


def png(figure: "Figure") -> bytes:
    """The figure as a PNG; the same figure gives the same bytes."""
    return _saved(figure, "png", Software=None)


def svg(figure: "Figure") -> bytes:
    """The figure as an SVG whose words are text; the same figure gives the same bytes."""
    return _saved(figure, "svg", Date=None)


def _saved(figure: "Figure", kind: str, **metadata: None) -> bytes:
    """The figure without `metadata` that changes from one time to the next."""
    import matplotlib

    stream = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "ambiseg", "svg.fonttype": "none"}):
        figure.savefig(stream, format=kind, metadata=metadata)
    return stream.getvalue()
