"""A small picture of a lesion for its summary: the most probable outlines on three planes, with orientation and scale."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ambiseg.preprocessing.exports.segments import COLOURS
from ambiseg.preprocessing.volumes.volume import Volume

from ..core.size import Length
from ..figures.drawing import Step, field_about, grey_window, legible, outline, scale_bar, show_image
from ..figures.style import png
from ..prediction.inference import LesionHypotheses
from ..prediction.neighbourhood import Box, within
from .viewer.region import likeliest_voxel, region

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 3  # outlines
MARGIN_MM, SIDE_MM = 8.0, 24.0  # around what is marked; the smallest field of view


@dataclass(frozen=True)
class Plane:
    """One of the planes: how it is cut from voxels [Z, Y, X], so that the head or the front is up, and its edges' letters."""

    name: str
    axis: int
    upright: bool
    left: str
    right: str
    top: str
    bottom: str

    def cut(self, values: NDArray, at: int) -> NDArray:
        """The plane [rows, columns] of values [..., Z, Y, X] at an index of its axis."""
        found = values.take(at, axis=values.ndim - 3 + self.axis)
        return found[..., ::-1, :] if self.upright else found


PLANES = (
    Plane("Axial", 0, False, "R", "L", "A", "P"),
    Plane("Coronal", 1, True, "R", "L", "H", "F"),
    Plane("Sagittal", 2, True, "A", "P", "H", "F"),
)


def outlined(result: LesionHypotheses) -> list[int]:
    """The most probable hypotheses that mark anything, by their index: at most three."""
    marking = (result.hypotheses.masks > 0).any((1, 2, 3))
    return np.flatnonzero(marking)[:SHOWN].tolist()


def three_planes(result: LesionHypotheses, volume: Volume, unit: str, length: Length = "mm") -> bytes:
    """A PNG of a lesion's most probable outlines on the planes through its most marked voxel; one plane of a single slice.

    Args:
        result: the hypotheses.
        volume: the scan.
        unit: "HU" for the lung window, else a window from the scan's own values.
        length: the unit of lengths. Where it is pixels, the plane is a picture, without the sides of a patient.
    """
    from matplotlib.figure import Figure

    box = region(result, volume)
    values = volume.array[box]
    window = grey_window(values, unit)
    planes = PLANES if len(volume.array) > 1 else PLANES[:1]
    figure = Figure(figsize=(2.6 * len(planes), 2.8), dpi=140, facecolor="white")
    panels = figure.subplots(1, len(planes), squeeze=False)[0]
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.92, 0.03)
    for panel, (plane, image, masks, step) in zip(panels, _cuts(result, volume, box, planes), strict=True):
        _draw(panel, plane, image, masks, step, window, length)
    return png(figure)


def data_url(picture: bytes) -> str:
    """A PNG as the address of an image on a page."""
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def _cuts(
    result: LesionHypotheses, volume: Volume, box: Box, planes: tuple[Plane, ...]
) -> Iterator[tuple[Plane, NDArray, NDArray[np.uint8], Step]]:
    masks = within(result.hypotheses.masks[outlined(result)], result.box, box)
    for plane in planes:
        have, want = result.box[plane.axis], box[plane.axis]
        at = min(max(likeliest_voxel(result)[plane.axis] + have.start - want.start, 0), want.stop - want.start - 1)
        rows, columns = (step for axis, step in enumerate(volume.spacing_mm) if axis != plane.axis)
        image = plane.cut(volume.shown(box), at)
        image = np.moveaxis(image, 0, -1) if image.ndim == 3 else image  # colours
        yield plane, image, plane.cut(masks, at), (rows, columns)


def _draw(
    panel: "Axes",
    plane: Plane,
    image: NDArray,
    masks: NDArray[np.uint8],
    step: Step,
    window: tuple[float, float],
    length: Length,
) -> None:
    marked: NDArray[np.bool_] = np.asarray((masks > 0).any(0))
    field = field_about(marked, step, margin=MARGIN_MM, least=SIDE_MM)
    show_image(panel, image, step, field, window)
    for index in reversed(range(len(masks))):
        outline(panel, masks[index], step, COLOURS[index], 1.6)
    scale_bar(panel, field, length)
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    if length == "px":
        return
    panel.set_title(plane.name, fontsize=9, loc="left", pad=3)
    letters = {(0.03, 0.5): plane.left, (0.97, 0.5): plane.right, (0.5, 0.96): plane.top, (0.5, 0.04): plane.bottom}
    for (x, y), letter in letters.items():
        legible(
            panel.text(x, y, letter, transform=panel.transAxes, color="white", fontsize=8, ha="center", va="center")
        )
