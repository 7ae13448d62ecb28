"""Draws of a model: masks with the prior's density at their z, how often each pixel is marked, and how uncertain it is.

After the figures of the Probabilistic U-Net (Kohl et al. 2018, appendix) and of calibrated adversarial refinement (Kassapis
et al. 2021, whose calibration net states the entropy of the pixels without a draw).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ambiseg.preprocessing.exports.segments import COLOURS
from ambiseg.preprocessing.store.store import IGNORE, Store

from ...core.predictive import FinitePredictive, harden
from ...core.randomness import generator_for
from ...runs.trained import Trained
from ..drawing import Field, field_of_view, legible, outline, share, show_image
from ..numbers import true_minus
from ..style import INK, new_figure
from .crops import Crop, crops
from .gallery_picture import DIM, MARGIN, PIXEL
from .latent_picture import latent_net

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COUNTED = 100  # draws from which frequencies and entropies are
TILE, EDGE, HEAD = 1.5, 0.15, 1.15  # inches
MAPS = "magma"


@dataclass(frozen=True)
class DrawsView:
    """An image, its readers' masks, and what a model draws on it.

    Attributes:
        image: [H, W], 0 to 1.
        readers: label maps [R, H, W].
        frequency: the share of the model's masks that mark each pixel [H, W].
        entropy: of each pixel's class probabilities [H, W] in bits, as the model states them, else as its masks have them.
        stated: whether the model states them.
        sharp: the entropy of the first draw's class probabilities [H, W] in bits.
        draws: label maps [N, H, W].
        words: what is written on each draw [N].
    """

    image: NDArray[np.float64]
    readers: NDArray[np.uint8]
    frequency: NDArray[np.float64]
    entropy: NDArray[np.float64]
    stated: bool
    sharp: NDArray[np.float64]
    draws: NDArray[np.uint8]
    words: tuple[str, ...]


@torch.inference_mode()
def draws_views(
    trained: Trained,
    store: Store,
    split: str,
    *,
    images: int = 6,
    draws: int = 8,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[DrawsView]:
    """Views of images spread evenly over a split.

    A draw of a latent variable tells the prior's log-density at its z, against that at the prior's mean, in nats, and the
    densest comes first. A mask of a finite support tells its probability, and the most probable comes first. Draws of other
    models tell nothing.

    Args:
        trained: any model.
        store: the data set.
        split: "train", "val", "test" or "all".
        images: how many.
        draws: how many for each.
        on_progress: called with (images done, images in all).

    Raises:
        DataError: the model cannot read the data.
    """
    return [_view(trained, crop, draws) for crop in crops(trained, store, split, images, on_progress)]


def _view(trained: Trained, crop: Crop, draws: int) -> DrawsView:
    predictive = trained.method(crop.image)
    atoms = predictive.atoms(COUNTED, generator_for(0, "counted", crop.row))
    stated = predictive.pixelwise()
    logits, words = drawn(trained, crop, draws)
    marked = (atoms.labels[0] > 0).double()
    return DrawsView(
        image=crop.shown,
        readers=crop.masks,
        frequency=torch.einsum("n,nhw->hw", atoms.weights[0].double(), marked).cpu().numpy(),
        entropy=_bits((atoms.marginal if stated is None else stated)[0]),
        stated=stated is not None,
        sharp=_bits(logits[0, 0].float().softmax(0)),
        draws=harden(logits)[0][0].cpu().numpy(),
        words=words,
    )


def drawn(trained: Trained, crop: Crop, draws: int) -> tuple[Tensor, tuple[str, ...]]:
    """Logits [1, N, K, H, W] of a crop's draws in the order in which they are shown, and what is written on each."""
    predictive, generator = trained.method(crop.image), generator_for(0, "draws", crop.row)
    if isinstance(predictive, FinitePredictive):
        few = predictive.coarser(draws)
        chances, order = few.log_probabilities.exp().sort(dim=1, descending=True, stable=True)
        return few.decode(order[:, :draws]), tuple(share(value) for value in chances[0, :draws].tolist())
    net = latent_net(trained)
    if net is None:
        return predictive.sample(draws, generator), ("",) * draws
    prior = net.prior_of(crop.image)
    z = prior.draw(prior.noise(draws, generator))
    density = prior.log_prob(z)[0] - prior.log_prob(prior.moments()[0].unsqueeze(1))[0]
    order = density.sort(descending=True, stable=True).indices
    words = (true_minus(f"{round(value, 1) + 0.0:+.1f} nats") for value in density[order].tolist())
    return torch.cat([net.decoder(crop.image)(some) for some in z[:, order].split(16, 1)], 1), tuple(words)


def _bits(probabilities: Tensor) -> NDArray[np.float64]:
    """Entropy [H, W] in bits of class probabilities [K, H, W]."""
    found: NDArray[np.float64] = (torch.special.entr(probabilities.double()).sum(0) / math.log(2)).cpu().numpy()
    return found


def draw_draws(views: Sequence[DrawsView], title: str) -> "Figure":
    """One row per image: the readers, the maps, and the draws."""
    rows, columns = len(views), 4 + len(views[0].draws)
    width, height = (TILE + EDGE) * columns + EDGE, HEAD + (TILE + EDGE) * rows
    note = (
        f"Marked: share of {COUNTED} masks. Entropy in bits, black 0, white {_most(views):.1f}. On a draw: the prior's density "
        "there against that at its mean, or the mask's probability."
    )
    figure = new_figure(width, height, title, note)
    names = [
        "readers", "marked", "entropy, stated" if views[0].stated else "entropy", "entropy, draw 1",
        *(f"draw {number + 1}" for number in range(columns - 4)),
    ]  # fmt: skip
    for row, view in enumerate(views):
        field = _field(view)
        below = (height - HEAD - (row + 1) * (TILE + EDGE) + EDGE) / height
        panels = [
            figure.add_axes(
                ((EDGE + column * (TILE + EDGE)) / width, below, TILE / width, TILE / height)
            )
            for column in range(columns)
        ]  # fmt: skip
        _fill(panels, view, field, _most(views))
        if row == 0:
            for panel, name in zip(panels, names, strict=True):
                panel.set_title(name, fontsize=9.5, color=INK, loc="left")
    return figure


def _most(views: Sequence[DrawsView]) -> float:
    """The largest entropy that a pixel of two classes has, or the largest there is."""
    return max(1.0, *(float(max(view.entropy.max(), view.sharp.max())) for view in views))


def _fill(panels: "Sequence[Axes]", view: DrawsView, field: Field, most: float) -> None:
    for panel in panels:
        panel.axis("off")
    show_image(panels[0], view.image, PIXEL, field)
    for number, mask in enumerate(view.readers):
        outline(panels[0], mask % IGNORE, PIXEL, COLOURS[number % len(COLOURS)], 1.1)
    for panel, values, top in zip(
        panels[1:4], (view.frequency, view.entropy, view.sharp), (1.0, most, most), strict=True
    ):
        panel.imshow(values, cmap=MAPS, vmin=0, vmax=top, interpolation="nearest")
        panel.set(xlim=field[:2], ylim=field[2:])
    for panel, mask, word in zip(panels[4:], view.draws, view.words, strict=True):
        show_image(panel, DIM * view.image, PIXEL, field)
        for label in np.unique(mask[mask > 0]):
            outline(panel, np.where(mask == label, label, 0), PIXEL, COLOURS[(label - 1) % len(COLOURS)], 1.5)
        legible(panel.text(0.05, 0.95, word, transform=panel.transAxes, color="white", fontsize=8.5, va="top"))


def _field(view: DrawsView) -> Field:
    marked: NDArray[np.bool_] = np.asarray((view.readers % IGNORE).any(0) | view.draws.any(0) | (view.frequency > 0.01))
    return field_of_view(marked, PIXEL, margin=0.5 + MARGIN * max(marked.shape))
