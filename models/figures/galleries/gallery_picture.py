"""The gallery of a model with finitely many masks: what its most frequent codes, heads or members draw on several images.

It follows figure 5b of Modal Uncertainty Estimation (Qiu and Lui 2020): one row per image, one column per atom, and a blank
cell where the atom is nearly impossible for the image.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.exports.segments import COLOURS
from ambiseg.preprocessing.store.store import IGNORE, Store
from ambiseg.preprocessing.volumes.planes import centre_crop

from ...core.predictive import FinitePredictive, Predictive, harden
from ...evaluation.rows import chosen_rows, readable
from ...runs.trained import Trained
from ..drawing import Field, field_of_view, grey_levels, legible, outline, share, show_image
from ..style import INK, PALE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLANK = 1e-4  # a less probable cell stays blank, as in the paper
IMAGES_AT_ONCE = 32
TILE, EDGE, HEAD, LEAST_WIDTH = 1.45, 0.15, 1.15, 6.2  # inches
MARGIN = 0.08  # of the crop's side, about what is marked
READERS = COLOURS[1]
PIXEL = (1.0, 1.0)
DIM = 0.8  # of the image below a mask, so that outlines and numbers stand out


@dataclass(frozen=True)
class Gallery:
    """Some images of a split, their readers' masks, and what the model's most frequent atoms draw on them.

    Attributes:
        title: Title of the picture.
        note: Text below the title.
        images: [I, H, W], scaled to 0..1.
        readers: For each image its readers' label maps [R, H, W].
        atoms: Numbers of the atoms [A], the most frequent first.
        frequencies: Mean probability of each atom [A] over the whole split.
        masks: Label maps [I, A, H, W].
        probabilities: [I, A].
    """

    title: str
    note: str
    images: NDArray[np.float64]
    readers: tuple[NDArray[np.uint8], ...]
    atoms: NDArray[np.intp]
    frequencies: NDArray[np.float64]
    masks: NDArray[np.uint8]
    probabilities: NDArray[np.float64]


@torch.inference_mode()
def make_gallery(
    trained: Trained,
    store: Store,
    split: str,
    *,
    images: int = 6,
    masks: int = 8,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Gallery:
    """Find the most frequent atoms of a model on a split, and what they draw on images spread evenly over it.

    Args:
        trained: A model with finitely many masks.
        store: The data set.
        split: "train", "val", "test" or "all".
        images: Number of images.
        masks: The most atoms; atoms that would be blank on average are left out.
        on_progress: Called with (images read, images in all).

    Raises:
        UsageError: The method draws from a continuous distribution, or `images` or `masks` is below 1.
        InputError: The split has no images.
        DataError: The model cannot read the data.
    """
    if min(images, masks) < 1:
        raise UsageError(f"`images` and `masks` must be at least 1, got {images} and {masks}.")
    store = readable(trained, store)
    rows, chosen = chosen_rows(store, split), chosen_rows(store, split, images)
    total = np.zeros(())
    for done, predictive in _finite(trained, store, rows):
        total = total + predictive.log_probabilities.exp().double().sum(0).cpu().numpy()
        on_progress(done, len(rows))
    frequent = np.argsort(-total, kind="stable")[:masks]
    top = frequent[(total[frequent] >= BLANK * len(rows)) | (frequent == frequent[0])]
    drawn, probabilities = _drawn(trained, store, chosen, top)
    return Gallery(
        title=f"{trained.name}: its most frequent masks",
        note=f"{trained.method.name} on {store.manifest.name}, {split}. Above a column: the mask's number of {len(total)}, "
        f"its mean\nprobability over {counted(len(rows), 'image')}. "
        f"Blank: less than {100 * BLANK:.2f} % probable for the image.",
        images=grey_levels(centre_crop(store.images(chosen)[:, 0], trained.record.crop), store.intensity.unit),
        readers=tuple(
            centre_crop(read, trained.record.crop)[present]
            for read, present in zip(store.masks(chosen), store.present[chosen], strict=True)
        ),
        atoms=top,
        frequencies=total[top] / len(rows),
        masks=drawn,
        probabilities=probabilities,
    )


@torch.inference_mode()
def is_finite(trained: Trained, store: Store, split: str) -> bool:
    """Whether a model has finitely many masks, by what it says of the split's first image."""
    store = readable(trained, store)
    return isinstance(_predictive(trained, store, chosen_rows(store, split)[:1]), FinitePredictive)


def _finite(trained: Trained, store: Store, rows: NDArray[np.intp]) -> Iterator[tuple[int, FinitePredictive]]:
    """The predictive distributions of the rows in batches, each with the number of rows done."""
    for start in range(0, len(rows), IMAGES_AT_ONCE):
        part = rows[start : start + IMAGES_AT_ONCE]
        predictive = _predictive(trained, store, part)
        if not isinstance(predictive, FinitePredictive):
            raise UsageError(
                f"{trained.name} ({trained.method.name}) draws its masks from a continuous distribution and has no codes, "
                "heads or members to show: choose the `kind` draws, or a method with finitely many masks, e.g. modal."
            )
        yield start + len(part), predictive


def _predictive(trained: Trained, store: Store, rows: NDArray[np.intp]) -> Predictive:
    """What a model predicts on the rows' images."""
    return trained.predictive(*trained.record.crops(store, rows))


def _drawn(
    trained: Trained, store: Store, rows: NDArray[np.intp], atoms: NDArray[np.intp]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Label maps [I, A, H, W] of the atoms on the rows' images, and their probabilities [I, A]."""
    masks, probabilities = [], []
    for _, predictive in _finite(trained, store, rows):
        index = torch.from_numpy(atoms).to(predictive.log_probabilities.device)
        index = index.expand(len(predictive.log_probabilities), -1)
        masks += [torch.cat([harden(predictive.decode(one))[0] for one in index.split(1, 1)], 1).cpu().numpy()]
        probabilities += [predictive.log_probabilities.gather(1, index).double().exp().cpu().numpy()]
    return np.concatenate(masks), np.concatenate(probabilities)


def draw_gallery(gallery: Gallery) -> "Figure":
    """One row per image: its readers, and the most frequent masks."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = gallery.probabilities.shape
    tiles, height = TILE * (columns + 1.15) + 2 * EDGE, TILE * rows + HEAD + EDGE
    width = max(tiles, LEAST_WIDTH)
    figure = Figure(figsize=(width, height), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns + 2, squeeze=False, width_ratios=(1, 0.15, *[1] * columns))
    figure.subplots_adjust(EDGE / width, EDGE / height, (tiles - EDGE) / width, 1 - HEAD / height, 0.06, 0.06)
    field = _field(gallery)
    for row, (image_panel, gap, *panels) in enumerate(axes):
        for panel in (image_panel, gap, *panels):
            panel.axis("off")
        show_image(image_panel, gallery.images[row], PIXEL, field)
        _readers(image_panel, gallery.readers[row])
        for column, panel in enumerate(panels):
            _cell(panel, gallery, row, column, field)
    _heading(figure, axes[0], gallery)
    return figure


def _field(gallery: Gallery) -> Field:
    """The field of view in pixels, the same for every cell: a square about all that is marked in the picture."""
    probable = gallery.masks[gallery.probabilities >= BLANK]
    shown = np.concatenate((*(read % IGNORE for read in gallery.readers), probable))
    marked: NDArray[np.bool_] = np.logical_or.reduce(shown)
    return field_of_view(marked, PIXEL, margin=0.5 + MARGIN * max(marked.shape))


def _readers(panel: Any, masks: NDArray[np.uint8]) -> None:
    """The outlines of all readers, and how many of them drew nothing."""
    for mask in masks:
        outline(panel, mask % IGNORE, PIXEL, READERS, 1.1)
    empty = sum(not (mask % IGNORE).any() for mask in masks)
    if empty:
        _corner(panel, f"{empty} of {len(masks)} empty", 7.5, "bottom")


def _cell(panel: Any, gallery: Gallery, row: int, column: int, field: Field) -> None:
    probability, mask = gallery.probabilities[row, column], gallery.masks[row, column]
    if probability < BLANK:
        return
    show_image(panel, DIM * gallery.images[row], PIXEL, field)
    for label in np.unique(mask[mask > 0]):
        colour = COLOURS[(label - 1) % len(COLOURS)]
        outline(panel, np.where(mask == label, label, 0), PIXEL, colour, 1.6)
    _corner(panel, share(probability), 9, "top")


def _corner(panel: Any, text: str, size: float, edge: str) -> None:
    y = 0.95 if edge == "top" else 0.05
    legible(panel.text(0.05, y, text, transform=panel.transAxes, color="white", fontsize=size, va=edge))


def _heading(figure: Any, top: Any, gallery: Gallery) -> None:
    width, height = figure.get_size_inches()
    figure.text(EDGE / width, 1 - 0.13 / height, gallery.title, fontsize=15, color=INK, va="top", weight="bold")
    figure.text(EDGE / width, 1 - 0.46 / height, gallery.note, fontsize=9.5, color=PALE, va="top", linespacing=1.3)
    top[0].set_title("readers", fontsize=10, color=INK, loc="left")
    for panel, atom, frequency in zip(top[2:], gallery.atoms, gallery.frequencies, strict=True):
        panel.set_title(f"#{atom}", fontsize=10, color=INK, loc="left", weight="bold")
        panel.text(0.96, 1.061, share(frequency), transform=panel.transAxes, fontsize=9, color=PALE, ha="right")
