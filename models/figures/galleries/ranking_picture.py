"""Whether a model ranks its masks as readers would: mask by mask, and after they are merged into hypotheses.

A model with codes, heads, members or explicit weights could rank its masks by their probability; one with a latent variable by
the prior's density at their z. Qiu and Lui (2020, figure 2) show that the density says nothing about a mask. Hypotheses are
ranked by how much of the model's distribution lies near them, which needs neither.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.store.store import Store

from ...core.hypotheses import TOP
from ...core.overlap import pairwise_iou
from ...core.predictive import FinitePredictive, harden
from ...core.randomness import generator_for
from ...metrics.distances import equal_weights
from ...metrics.sides import both_sides
from ...runs.trained import Trained
from ..numbers import true_minus
from ..style import BLUE, INK, ORANGE, PALE, STONE, heading, name_axes, new_figure, nothing_to_show, place_panels, plain
from .crops import Crop, crops
from .latent_picture import latent_net

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MASKS = 64  # of an image
FEW = 4  # masks below which there is no ranking
AT_ONCE = 16
BINS = np.linspace(-1, 1, 21)


@dataclass(frozen=True)
class Ranked:
    """The masks of an image, and the hypotheses that they are merged into.

    Attributes:
        stated: each mask's probability, or the prior's log-density in nats [N].
        agreement: each mask's mean IoU with the readers [N].
        hits: the share of the readers that chose each hypothesis [K], the most probable first.
        density: the prior's log-density at the z of each hypothesis [K] in nats; None where there is none.
    """

    stated: NDArray[np.float64]
    agreement: NDArray[np.float64]
    hits: NDArray[np.float64]
    density: NDArray[np.float64] | None = None

    @property
    def correlation(self) -> float:
        """Spearman's rank correlation of both; nan where there are few masks, or either is the same for all of them.

        >>> round(Ranked(np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.9, 0.5, 0.6, 0.1]), np.ones(1)).correlation, 2)
        0.8
        """
        from scipy.stats import rankdata

        if len(self.stated) < FEW or np.ptp(self.stated) < 1e-9 or np.ptp(self.agreement) < 1e-9:
            return float("nan")
        return float(np.corrcoef(rankdata(self.stated), rankdata(self.agreement))[0, 1])


@torch.inference_mode()
def ranked_masks(
    trained: Trained,
    store: Store,
    split: str,
    *,
    images: int = 100,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Ranked]:
    """The masks of images spread evenly over a split: those of a finite support, or 64 draws with the prior's density.

    Args:
        trained: a model with a finite support or a latent variable.
        store: the data set.
        split: "train", "val", "test" or "all".
        images: how many.
        on_progress: called with (images done, images in all).

    Returns:
        One per image. Equal masks of a finite support count once, with the sum of their probabilities.

    Raises:
        UsageError: the model states neither a probability nor a density of a mask.
        DataError: the model cannot read the data.
    """
    return [_ranked(trained, crop) for crop in crops(trained, store, split, images, on_progress)]


def _ranked(trained: Trained, crop: Crop) -> Ranked:
    predictive = trained.method(crop.image)
    if isinstance(predictive, FinitePredictive):
        few = predictive.coarser(MASKS)
        chances, order = (
            part[:, :MASKS] for part in few.log_probabilities.exp().sort(dim=1, descending=True, stable=True)
        )
        masks, weights = _hard(few.decode, order), chances[0].double().cpu().numpy()
        left_out = max(0.0, 1 - float(weights.sum()))
        sides = both_sides(masks, weights / weights.sum(), crop.masks, draws=None, left_out=left_out)
        once, place = np.unique(masks, axis=0, return_inverse=True)
        agreement = pairwise_iou(once, crop.masks).mean(1)
        return Ranked(np.bincount(place.ravel(), weights).astype(np.float64), agreement, sides.outcome.hits[:-1])
    net = latent_net(trained)
    if net is None:
        raise UsageError(
            f"{trained.name} ({trained.method.name}) states neither a probability nor a density of a mask: expected a run of a "
            "method with finitely many masks, or of probunet or generalized."
        )
    prior = net.prior_of(crop.image)
    z = prior.draw(prior.noise(MASKS, generator_for(0, "ranking", crop.row)))
    masks, density = _hard(net.decoder(crop.image), z), prior.log_prob(z)[0].double().cpu().numpy()
    sides = both_sides(masks, equal_weights(MASKS), crop.masks, draws=MASKS)
    same = (sides.hypotheses.masks[:, None] == sides.labels).all((2, 3))
    densest = np.where(same, density, -np.inf).max(1)  # several draws may be the same mask
    return Ranked(density, pairwise_iou(masks, crop.masks).mean(1), sides.outcome.hits[:-1], densest)


def _hard(decode: Callable[[Tensor], Tensor], which: Tensor) -> NDArray[np.uint8]:
    """Label maps [N, H, W] of what is decoded from [1, N, ...], some at a time."""
    parts = [harden(decode(some))[0][0] for some in which.split(AT_ONCE, 1)]
    found: NDArray[np.uint8] = torch.cat(parts).cpu().numpy()
    return found


def correlations(found: Sequence[Ranked]) -> NDArray[np.float64]:
    """The rank correlations of the images in which they are defined."""
    values = np.array([one.correlation for one in found])
    return values[~np.isnan(values)]


def said(found: Sequence[Ranked]) -> str:
    """The result in a sentence."""
    values = correlations(found)
    if not len(values):
        return "No image has masks that differ in what they are ranked by and in agreement."
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return true_minus(
        f"Rank correlation with the mean IoU to the readers: median {middle:.2f}, middle half {low:.2f} to {high:.2f}, "
        f"{counted(len(values), 'image')}."
    )


def by_place(hits: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The mean share of readers [TOP] that chose the hypothesis at each place of images' lists; 0 beyond a list's end.

    >>> by_place([np.array([0.75, 0.25]), np.array([1.0])])[:3].tolist()
    [0.875, 0.125, 0.0]
    """
    table = np.zeros((len(hits), TOP))
    for row, one in zip(table, hits, strict=True):
        row[: len(one)] = one
    found: NDArray[np.float64] = table.mean(0)
    return found


def draw_ranking(found: Sequence[Ranked], title: str, note: str) -> "Figure":
    """Two panels: rank correlations of the images, and the readers' choice along the list. `note` stands below the title."""
    figure = new_figure(9.2, 4.4, title, note)
    left, right = figure.subplots(1, 2)
    place_panels(figure, 0.65, 0.6, wspace=0.28)
    values = correlations(found)
    if len(values):
        left.hist(values, BINS, color=STONE, edgecolor="white", linewidth=0.8)
        left.axvline(0, color=INK, linewidth=0.9)
        left.axvline(float(np.median(values)), color=ORANGE, linewidth=2)
        plain(left, grid="y")
        left.set(xlim=(-1.02, 1.02))
        name_axes(left, "rank correlation with the mean IoU to the readers", "images")
        heading(left, "Mask by mask", true_minus(f"median {np.median(values):.2f}"))
    else:
        nothing_to_show(left, "no image with masks to rank")
    _along(right, found)
    return figure


def _along(panel: "Axes", found: Sequence[Ranked]) -> None:
    """How many readers chose the hypothesis at each place of the list, by probability and, where there is one, by density."""
    ways = {"by probability": (BLUE, [one.hits for one in found])}
    dense = [one.hits[np.argsort(-one.density, kind="stable")] for one in found if one.density is not None]
    if dense:
        ways["by the prior's density"] = (ORANGE, dense)
    wide = 0.8 / len(ways)
    for number, (name, (colour, hits)) in enumerate(ways.items()):
        x = np.arange(TOP) + (number - (len(ways) - 1) / 2) * wide
        panel.bar(x, by_place(hits), 0.92 * wide, color=colour, label=name)
    panel.set(ylim=(0, 1))
    panel.set_xticks(range(TOP), list(map(str, range(1, TOP + 1))))
    plain(panel, grid="y")
    panel.legend(frameon=False, fontsize=9, labelcolor=PALE, loc="upper right")
    heading(panel, "Hypotheses", counted(len(found), "image"))
    name_axes(panel, "place in the list", "share of readers who chose it")
