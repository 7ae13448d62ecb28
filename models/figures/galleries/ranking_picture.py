"""Whether a model's own ranking of its masks agrees with the readers: rank correlations, image by image.

A model with codes, heads, members or explicit weights ranks its masks by their probability; one with a latent variable could
only rank its draws by the prior's density. Qiu and Lui (2020, figure 2) show that the density ranks nothing.
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

from ...core.overlap import pairwise_iou
from ...core.predictive import FinitePredictive, harden
from ...core.randomness import generator_for
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
PARTS = 8  # of the ranking, in which agreement is averaged
AT_ONCE = 16
BINS = np.linspace(-1, 1, 21)


@dataclass(frozen=True)
class Ranked:
    """The masks of an image: what the model ranks them by [N], and their mean IoU with the readers [N]."""

    stated: NDArray[np.float64]
    agreement: NDArray[np.float64]

    @property
    def correlation(self) -> float:
        """Spearman's rank correlation of both; nan where there are few masks, or either is the same for all of them.

        >>> round(Ranked(np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.9, 0.5, 0.6, 0.1])).correlation, 2)
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
        order = predictive.log_probabilities.sort(dim=1, descending=True, stable=True).indices[:, :MASKS]
        masks = _hard(predictive.decode, order)
        stated = predictive.log_probabilities.gather(1, order)[0].double().exp().cpu().numpy()
        masks, place = np.unique(masks, axis=0, return_inverse=True)
        stated = np.bincount(place.ravel(), stated)
    else:
        net = latent_net(trained)
        if net is None:
            raise UsageError(
                f"{trained.name} ({trained.method.name}) states neither a probability nor a density of a mask: expected a run "
                "of a method with finitely many masks, or of probunet or generalized."
            )
        prior = net.prior_of(crop.image)
        z = prior.draw(prior.noise(MASKS, generator_for(0, "ranking", crop.row)))
        masks = _hard(net.decoder(crop.image), z)
        stated = prior.log_prob(z)[0].double().cpu().numpy()
    return Ranked(stated, pairwise_iou(masks, crop.masks).mean(1))


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


def draw_ranking(found: Sequence[Ranked], title: str, note: str) -> "Figure":
    """Two panels: the rank correlations of the images, and the agreement along the ranking. `note` stands below the title."""
    figure = new_figure(9.2, 4.4, title, note)
    left, right = figure.subplots(1, 2)
    place_panels(figure, 0.65, 0.6, wspace=0.28)
    values = correlations(found)
    if not len(values):
        for panel in (left, right):
            nothing_to_show(panel, "no image with masks to rank")
        return figure
    left.hist(values, BINS, color=STONE, edgecolor="white", linewidth=0.8)
    left.axvline(0, color=INK, linewidth=0.9)
    left.axvline(float(np.median(values)), color=ORANGE, linewidth=2)
    plain(left, grid="y")
    left.set(xlim=(-1.02, 1.02))
    heading(left, "Does the model rank as readers would?", true_minus(f"median {np.median(values):.2f}"))
    name_axes(left, "rank correlation of an image's masks", "images")
    _along(right, found)
    return figure


def _along(panel: "Axes", found: Sequence[Ranked]) -> None:
    """Mean agreement in each part of the ranking, from what the model puts last to what it puts first."""
    parts = [_by_part(one) for one in found if not np.isnan(one.correlation) and len(one.stated) >= PARTS]
    if not parts:
        nothing_to_show(panel, f"no image with {PARTS} masks to rank")
        return
    table = np.array(parts)
    error = table.std(0) / np.sqrt(len(table))
    x = (np.arange(PARTS) + 0.5) / PARTS
    panel.vlines(x, table.mean(0) - 1.96 * error, table.mean(0) + 1.96 * error, color=BLUE, linewidth=2, alpha=0.5)
    panel.plot(x, table.mean(0), "o-", color=BLUE, linewidth=1.2, markersize=5.5)
    panel.set(xlim=(0, 1), ylim=(0, 1))
    panel.set_xticks((0, 1), ("last", "first"))
    plain(panel)
    heading(panel, "Agreement along the ranking", counted(len(table), "image"))
    panel.text(0.03, 0.03, "bars: 1.96 standard errors over images", transform=panel.transAxes, fontsize=8, color=PALE)
    name_axes(panel, "place in the model's ranking", "mean IoU with the readers")


def _by_part(one: Ranked) -> NDArray[np.float64]:
    order = np.argsort(one.stated, kind="stable")
    return np.array([part.mean() for part in np.array_split(one.agreement[order], PARTS)])
