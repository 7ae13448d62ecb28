"""What the pictures of masks share: an image in its field of view, outlines, a map of probabilities, a scale bar, labels.

Planes are arrays [Y, X] whose pixels have the size `step` (y, x), in mm, or (1, 1) where their size is not known. Positions
are those of pixel centres, from (0, 0) at the upper left.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.store.intensity import LUNG_WINDOW

from ..core.size import Length
from .style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

Step = tuple[float, float]
Field = tuple[float, float, float, float]  # left, right, bottom, top: the limits of a square panel

FINE = 6  # points per pixel side, from which outlines are traced
BAR_SHARE = 0.3  # of a field of view that a bar of pixels takes at most
LEAST_SHARE = 0.0005  # below it a share would be rounded to 0 %


def field_of_view(
    marked: NDArray[np.bool_], step: Step, *, margin: float = 0.0, share: float = 0.0, least: float = 0.0
) -> Field:
    """A square about everything that is marked in a plane, as far as the plane allows; the whole plane without a mark.

    Args:
        marked: The marked pixels [Y, X].
        step: A pixel's size (y, x).
        margin: The room on each side, in the unit of `step`.
        share: The room on each side, as a share of the marks' larger side.
        least: The smallest side of the square, in the unit of `step`.

    Returns:
        The limits (left, right, bottom, top) of the square, in the unit of `step`.
    """
    height, width = (side * size for side, size in zip(marked.shape, step, strict=True))
    rows, columns = np.nonzero(marked if marked.any() else np.ones_like(marked))
    y, x = (rows.min() + rows.max()) / 2 * step[0], (columns.min() + columns.max()) / 2 * step[1]
    side = (1 + 2 * share) * max(np.ptp(rows) * step[0], np.ptp(columns) * step[1]) + 2 * margin
    half = min(max(side, least), height, width) / 2
    y = min(max(y, half - step[0] / 2), height - step[0] / 2 - half)
    x = min(max(x, half - step[1] / 2), width - step[1] / 2 - half)
    return x - half, x + half, y + half, y - half


def field_about(marked: NDArray[np.bool_], step: Step, *, margin: float, least: float) -> Field:
    """As `field_of_view`; where nothing is marked, about the plane's middle."""
    if not marked.any():
        marked = np.zeros_like(marked)
        marked[marked.shape[0] // 2, marked.shape[1] // 2] = True
    return field_of_view(marked, step, margin=margin, least=least)


def grey_window(values: NDArray, unit: str) -> tuple[float, float]:
    """The values that are shown black and white: the lung window for "HU", else almost the values' own range."""
    if unit == "HU":
        return LUNG_WINDOW
    low, high = np.percentile(values, (0.5, 99.5))
    return float(low), float(high)


def grey_levels(images: NDArray, unit: str) -> NDArray[np.float64]:
    """Images scaled so that black is 0 and white 1, by the `grey_window` of all of them together."""
    values = images.astype(np.float64)
    low, high = grey_window(values, unit)
    return np.asarray(((values - low) / max(high - low, 1e-6)).clip(0, 1))


def plane_of(shown: NDArray, number: int) -> NDArray:
    """A slice [Y, X] of values [Z, Y, X], or [Y, X, 3] of colours [3, Z, Y, X]: what `show_image` takes."""
    return shown[number] if shown.ndim == 3 else np.moveaxis(shown[:, number], 0, -1)


def extent(shape: tuple[int, ...], step: Step) -> Field:
    """The limits of a whole plane [Y, X]: the outer edges of its pixels."""
    return -step[1] / 2, (shape[1] - 0.5) * step[1], (shape[0] - 0.5) * step[0], -step[0] / 2


def show_image(panel: "Axes", image: NDArray, step: Step, field: Field, window: tuple[float, float] = (0, 1)) -> None:
    """An image [Y, X], or colours [Y, X, 3], of which `window` gives black and white, cut to a field of view."""
    low, high = window
    panel.imshow(image, cmap="gray", vmin=low, vmax=high, extent=extent(image.shape, step), interpolation="nearest")
    panel.set(xlim=field[:2], ylim=field[2:])


def outline(panel: "Axes", mask: NDArray[np.uint8], step: Step, colour: str, width: float) -> None:
    """The outlines of all classes of a mask [Y, X], along the borders of its pixels; `width` is in points."""
    fine = np.pad(mask, 1).repeat(FINE, 0).repeat(FINE, 1)
    y, x = ((np.arange(n) + 0.5) / FINE * size - 1.5 * size for n, size in zip(fine.shape, step, strict=True))
    for label in np.unique(mask[mask > 0]):
        panel.contour(x, y, fine == label, [0.5], colors=[colour], linewidths=width)


def show_map(
    panel: "Axes", values: NDArray[np.floating], step: Step, *, colours: str = "magma", most: float = 1.0
) -> None:
    """A map [Y, X] of values from 0 to `most`, with its scale; the image below shows through where values are small."""
    from matplotlib.cm import ScalarMappable

    clear = np.clip(2 * values / most, 0, 0.85)
    image = panel.imshow(values, cmap=colours, vmin=0, vmax=most, extent=extent(values.shape, step), alpha=clear)
    bar = panel.inset_axes((0.93, 0.08, 0.03, 0.45))
    panel.figure.colorbar(ScalarMappable(image.norm, image.cmap), cax=bar, ticks=[0, most])
    bar.yaxis.set_ticks_position("left")
    for label in bar.set_yticklabels(["0", f"{most:.2g}"], color="white", fontsize=8):
        legible(label)
    bar.tick_params(length=0)
    bar.set_frame_on(False)


def scale_bar(
    panel: "Axes", field: Field, length: Length = "mm", *, inset: float = 0.06, width: float = 2.5, size: float = 8
) -> None:
    """A bar in the lower left corner of a field of view: of 10 mm, or of a round number of pixels.

    Args:
        panel: where it is drawn.
        field: the field of view.
        length: the unit of the field of view.
        inset: how far the bar lies from both sides, as a share of them.
        width: of the bar in points.
        size: of its letters in points.
    """
    left, right, bottom, top = field
    x, y = left + inset * (right - left), bottom - inset * (bottom - top)
    long = 10 if length == "mm" else round_number((right - left) * BAR_SHARE)
    panel.plot([x, x + long], [y, y], color="white", linewidth=width, solid_capstyle="butt")
    legible(panel.text(x, y - 0.02 * (bottom - top), f"{long} {length}", color="white", fontsize=size, va="bottom"))


def round_number(most: float) -> int:
    """The largest of 1, 2, 5, 10, 20, 50, ... that is not above a number; at least 1.

    >>> round_number(37.0), round_number(9.9), round_number(0.4)
    (20, 5, 1)
    """
    power = 10 ** max(math.floor(math.log10(max(most, 1))), 0)
    return max(digit * power for digit in (1, 2, 5) if digit * power <= max(most, 1))


def legible(text: "Text") -> None:
    """Put a dark rim about light letters."""
    from matplotlib.patheffects import withStroke

    text.set_path_effects([withStroke(linewidth=2, foreground=INK)])


def percent(probability: float) -> str:
    """A probability in whole percent, with one decimal below 1 %.

    >>> percent(0.254), percent(0.004), percent(0.0001)
    ('25 %', '0.4 %', '0 %')
    """
    few = LEAST_SHARE <= probability < 0.0095
    return f"{100 * probability:.1f} %" if few else f"{100 * probability:.0f} %"


def share(probability: float) -> str:
    """A probability as of `percent`, but never 0 % for what is possible.

    >>> share(0.0001), share(0)
    ('< 0.1 %', '0 %')
    """
    return percent(probability) if probability >= LEAST_SHARE or probability <= 0 else "< 0.1 %"
