"""The picture at the demo's end: one lesion, what its readers drew, and what the model says they might draw."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ambiseg.models.figures.style import INK, PALE
from ambiseg.preprocessing.files import whole_file
from ambiseg.preprocessing.store.intensity import LUNG_WINDOW

if TYPE_CHECKING:
    from ambiseg.models.prediction.inference import LesionHypotheses
    from ambiseg.preprocessing.store.store import Store

    from .demo_target import Target

READERS, HYPOTHESIS = "#ffd166", "#4cc9f0"
COLUMNS = 5
HALF_MM = 16.0  # half the field of view, at least


def draw_demo(path: Path, store: "Store", target: "Target", result: "LesionHypotheses") -> None:
    """Write the picture: the crop and its readers' outlines above, the hypotheses with their probabilities below."""
    from matplotlib.figure import Figure

    rows = np.array([target.row])
    image, masks = store.images(rows)[0, 0], store.masks(rows)[0]
    found, shown = result.hypotheses, min(len(result.hypotheses.masks), COLUMNS)
    half = max(HALF_MM, _reach(masks, store.spacing_mm or 1.0) + 5)
    figure = Figure(figsize=(2.5 * COLUMNS, 6.4), dpi=110, facecolor="white")
    axes = figure.subplots(2, COLUMNS)
    figure.subplots_adjust(0.01, 0.05, 0.99, 0.84, 0.05, 0.2)
    for panel in axes.flat:
        panel.axis("off")
    for panel in (*axes[0], *axes[1, :shown]):
        _image(panel, image, store.spacing_mm or 1.0, half)
    _scale(axes[0, 0], half)
    axes[0, 0].set_title("simulated CT", fontsize=11, color=INK, loc="left")
    for number, (panel, mask) in enumerate(zip(axes[0, 1:], masks, strict=False), start=1):
        _outline(panel, mask, _places(mask.shape, store.spacing_mm or 1.0), READERS)
        note = "" if mask.any() else ": no lesion"
        panel.set_title(f"reader {number}{note}", fontsize=11, color=INK, loc="left")
    for number, panel in enumerate(axes[1, :shown]):
        mask = found.masks[number, target.voxel[0] - result.box[0].start]
        _outline(panel, mask, _scan_places(target, result, mask.shape), HYPOTHESIS)
        note = "" if mask.any() else ": no lesion" if not found.masks[number].any() else ": not in this slice"
        panel.set_title(f"{found.probabilities[number]:.0%}{note}", fontsize=13, color=INK, loc="left", weight="bold")
    rest = 1 - found.probabilities[:shown].sum()
    figure.text(
        0.01,
        0.95,
        "What four readers drew, and what the model expects readers to draw",
        fontsize=15,
        color=INK,
        weight="bold",
    )
    facts = "Simulated pixels around real outlines of LIDC-IDRI; a patient that the model has not seen. Below: the likeliest "
    figure.text(
        0.01, 0.91, f"{facts}hypotheses, other masks {rest:.0%} (trained for a minute only).", fontsize=9.5, color=PALE
    )
    with whole_file(path) as aside:
        figure.savefig(aside, format="png", metadata={"Software": None})


def _reach(masks: NDArray[np.uint8], spacing_mm: float) -> float:
    """How far the readers' masks reach from the crop's centre, in mm."""
    _, y, x = np.nonzero(masks)
    middle = (masks.shape[-1] - 1) / 2
    return float(max(np.abs(y - middle).max(initial=0), np.abs(x - middle).max(initial=0)) * spacing_mm)


def _places(shape: tuple[int, ...], step: float) -> tuple[NDArray, NDArray]:
    """Positions (y, x) in mm from the centre of a crop's pixels."""
    y, x = ((np.arange(count) - (count - 1) / 2) * step for count in shape)
    return y, x


def _scan_places(target: "Target", result: "LesionHypotheses", shape: tuple[int, ...]) -> tuple[NDArray, NDArray]:
    """Positions (y, x) in mm from the lesion's centre of the scan's voxels in the predicted box."""
    y, x = (
        (side.start + np.arange(count) - middle) * step
        for side, count, middle, step in zip(
            result.box[1:], shape, target.voxel[1:], target.volume.spacing_mm[1:], strict=True
        )
    )
    return y, x


def _image(panel: Any, image: NDArray, step: float, half: float) -> None:
    edge, (low, high) = image.shape[-1] * step / 2, LUNG_WINDOW
    panel.imshow(image, cmap="gray", vmin=low, vmax=high, extent=(-edge, edge, edge, -edge), interpolation="bilinear")
    panel.set(xlim=(-half, half), ylim=(half, -half))


def _outline(panel: Any, mask: NDArray[np.uint8], places: tuple[NDArray, NDArray], colour: str) -> None:
    if mask.any():
        panel.contour(places[1], places[0], mask > 0, [0.5], colors=[colour], linewidths=2)


def _scale(panel: Any, half: float) -> None:
    panel.plot([-half + 2, -half + 12], [half - 2, half - 2], color="white", linewidth=2.5, solid_capstyle="butt")
    panel.text(-half + 2, half - 2.8, "10 mm", color="white", fontsize=9, va="bottom")
