"""What a latent variable stands for: masks over its first two dimensions, and how well it tells readers' masks apart.

Both follow the figures of the Probabilistic U-Net (Kohl et al. 2018, appendix). The plane shows the mask at each place of a
grid over the first two dimensions of z (all others at the prior's mean), the prior's density, and where the posterior puts
each reader's mask. Reconstructions are the masks at the posterior's means.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ambiseg.preprocessing.errors import UsageError
from ambiseg.preprocessing.exports.segments import COLOURS
from ambiseg.preprocessing.store.store import IGNORE, Store

from ...core.predictive import harden
from ...methods.gated import Gated
from ...methods.latent_unet import LatentUNet
from ...runs.trained import Trained
from ..drawing import Field, field_of_view, legible, outline, show_image
from ..numbers import true_minus
from ..style import INK, PALE, name_axes, new_figure
from .crops import crops
from .gallery_picture import DIM, MARGIN, PIXEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRID = 7  # masks along each dimension
REACH = 2.5  # standard deviations of the prior, on either side of its mean
FINE = 61  # places along each dimension at which the density is drawn
LEVELS = (np.exp(-2.0), np.exp(-0.5))  # of the density's peak: one and two standard deviations of a Gaussian
PLANE, TILE, GAP, HEAD, EDGE = 5.6, 1.7, 0.55, 0.8, 0.15  # inches


@dataclass(frozen=True)
class LatentView:
    """An image, its readers' masks, and what the latent variable makes of them.

    Attributes:
        image: [H, W], 0 to 1.
        masks: of the readers, label maps [R, H, W].
        axes: the places of the grid along each of the first dimensions of z, one or two of them [D', G].
        grid: the masks there [G (second), G (first), H, W]; of one dimension [1, G, H, W].
        density: of the prior at FINE places along the same dimensions, as a share of its peak [FINE or 1, FINE].
        posterior: means of the posterior of each reader's mask in these dimensions [R, D'].
        rebuilt: the masks at the posterior's means [R, H, W].
        likely: the prior's log-density at these means, less that at its own mean, in nats [R].
    """

    image: NDArray[np.float64]
    masks: NDArray[np.uint8]
    axes: NDArray[np.float64]
    grid: NDArray[np.uint8]
    density: NDArray[np.float64]
    posterior: NDArray[np.float64]
    rebuilt: NDArray[np.uint8]
    likely: NDArray[np.float64]


@torch.inference_mode()
def latent_views(
    trained: Trained,
    store: Store,
    split: str,
    *,
    images: int = 4,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[LatentView]:
    """Views of images spread evenly over a split.

    Args:
        trained: a model with a latent variable: probunet, generalized, or gated with latent shapes.
        store: the data set.
        split: "train", "val", "test" or "all".
        images: how many.
        on_progress: called with (images done, images in all).

    Raises:
        UsageError: the model has no such variable.
        DataError: the model cannot read the data.
    """
    net = latent_net(trained)
    if net is None:
        raise UsageError(
            f"{trained.name} ({trained.method.name}) has no latent variable to show: expected a run of probunet, generalized "
            "or gated; for codes, heads and members leave out `kind`."
        )
    views = []
    for crop in crops(trained, store, split, images, on_progress):
        masks = crop.masks
        if isinstance(trained.method, Gated):  # whose latent variable knows nothing of empty masks
            masks = masks[(masks % IGNORE).any((1, 2))]
        views.append(_view(net, crop.image, crop.shown, masks))
    return views


def latent_net(trained: Trained) -> LatentUNet | None:
    """The part of a model that has a latent variable; None where there is no such part."""
    method = trained.method.shapes if isinstance(trained.method, Gated) else trained.method
    return method if isinstance(method, LatentUNet) else None


def _view(net: LatentUNet, image: Tensor, shown: NDArray[np.float64], masks: NDArray[np.uint8]) -> LatentView:
    prior, decode = net.prior_of(image), net.decoder(image)
    mean, variance = (part[0] for part in prior.moments())
    flat = min(2, len(mean))
    axes = _ticks(mean[:flat], variance[:flat], GRID)
    places = torch.from_numpy(masks.astype(np.int64)).to(image.device)
    posterior = net.posterior_of(image.expand(len(places), -1, -1, -1), places).moments()[0]
    fine = _places(mean, _ticks(mean[:flat], variance[:flat], FINE))
    density = prior.log_prob(fine.flatten(0, -2).unsqueeze(0))[0].unflatten(0, fine.shape[:-1])
    at_mean = prior.log_prob(mean[None, None])[0, 0]
    return LatentView(
        image=shown,
        masks=masks,
        axes=axes.cpu().double().numpy(),
        grid=_decoded(decode, _places(mean, axes).unflatten(0, (-1, GRID)) if flat == 1 else _places(mean, axes)),
        density=np.atleast_2d((density - density.max()).exp().double().cpu().numpy()),
        posterior=posterior[:, :flat].double().cpu().numpy(),
        rebuilt=_decoded(decode, posterior),
        likely=(prior.log_prob(posterior.unsqueeze(0))[0] - at_mean).double().cpu().numpy(),
    )


def _ticks(mean: Tensor, variance: Tensor, count: int) -> Tensor:
    """Places [D', count] along each dimension."""
    steps = torch.linspace(-REACH, REACH, count, device=mean.device)
    return mean[:, None] + variance.sqrt()[:, None] * steps


def _places(mean: Tensor, axes: Tensor) -> Tensor:
    """z at the places of a grid [(G,) G, D]; the first dimension runs along the last axis, the others are at the mean."""
    parts = torch.meshgrid(*axes.flip(0), indexing="ij")
    rest = [value.expand_as(parts[0]) for value in mean[len(axes) :]]
    return torch.stack([*reversed(parts), *rest], -1)


def _decoded(decode: Callable[[Tensor], Tensor], z: Tensor) -> NDArray[np.uint8]:
    """The masks at z [..., D]."""
    labels = [harden(decode(some[None]))[0][0] for some in z.flatten(0, -2).split(GRID)]
    found: NDArray[np.uint8] = torch.cat(labels).unflatten(0, z.shape[:-1]).cpu().numpy()
    return found


def draw_latent(views: Sequence[LatentView], title: str) -> "Figure":
    """One row per image: its readers, and the masks over the plane of the first two dimensions."""
    note = "Masks over the first dimensions of z; lines: one and two standard deviations of the prior; dots: readers' masks."
    height = HEAD + len(views) * (PLANE + GAP) + EDGE
    width = 2 * EDGE + TILE + GAP + PLANE
    figure = new_figure(width, height, title, note)
    for row, view in enumerate(views):
        below = height - HEAD - (row + 1) * (PLANE + GAP) + GAP
        field = _field(view)
        tile = figure.add_axes((EDGE / width, (below + PLANE - TILE) / height, TILE / width, TILE / height))
        _readers(tile, view, field)
        plane = figure.add_axes(((EDGE + TILE + GAP) / width, below / height, PLANE / width, PLANE / height))
        _plane(plane, view, field)
    return figure


def draw_reconstructions(views: Sequence[LatentView], title: str) -> "Figure":
    """One row per image, one column per reader: the mask, and that at the posterior's mean."""
    note = (
        "Yellow: the reader; blue: the mask at the posterior's mean; nats: the prior's density there, against its mean."
    )
    columns = max(len(view.masks) for view in views)
    height = HEAD + len(views) * (TILE + EDGE) + EDGE
    width = max(2 * EDGE + columns * (TILE + EDGE), 8.0)
    figure = new_figure(width, height, title, note)
    for row, view in enumerate(views):
        below = height - HEAD - (row + 1) * (TILE + EDGE) + EDGE
        field = _field(view)
        for reader, (mask, rebuilt) in enumerate(zip(view.masks, view.rebuilt, strict=True)):
            left = (EDGE + reader * (TILE + EDGE)) / width
            panel = figure.add_axes((left, below / height, TILE / width, TILE / height))
            show_image(panel, DIM * view.image, PIXEL, field)
            panel.axis("off")
            outline(panel, mask % IGNORE, PIXEL, COLOURS[1], 1.6)
            outline(panel, rebuilt, PIXEL, COLOURS[0], 1.2)
            says = true_minus(f"IoU {_iou(mask, rebuilt):.2f}   {round(view.likely[reader], 1) + 0.0:+.1f} nats")
            legible(panel.text(0.04, 0.95, says, transform=panel.transAxes, color="white", fontsize=7.5, va="top"))
    return figure


def _iou(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Of everything that is marked; 1 where nothing is."""
    counts = one != IGNORE
    a, b = (one > 0) & counts, (other > 0) & counts
    union = (a | b).sum()
    return float(((one == other) & a & b).sum() / union) if union else 1.0


def _field(view: LatentView) -> Field:
    marked: NDArray[np.bool_] = np.asarray((view.masks % IGNORE).any(0) | view.rebuilt.any(0) | view.grid.any((0, 1)))
    return field_of_view(marked, PIXEL, margin=0.5 + MARGIN * max(marked.shape))


def _readers(panel: "Axes", view: LatentView, field: Field) -> None:
    show_image(panel, view.image, PIXEL, field)
    panel.axis("off")
    for number, mask in enumerate(view.masks):
        outline(panel, mask % IGNORE, PIXEL, COLOURS[number % len(COLOURS)], 1.2)
    panel.set_title("readers", fontsize=10, color=INK, loc="left")


def _plane(panel: "Axes", view: LatentView, field: Field) -> None:
    """The masks as tiles, each centred on its place; rows from the smallest second number up."""
    flat = len(view.axes) == 1
    sides = [_half_step(axis) for axis in view.axes]
    for row, line in enumerate(view.grid):
        for column, mask in enumerate(line):
            x = view.axes[0][column]
            y, half = (0.0, sides[0]) if flat else (view.axes[1][row], sides[1])
            _tile(panel, view.image, mask, field, (x - sides[0], x + sides[0], y - half, y + half))
    x_fine = np.linspace(view.axes[0][0], view.axes[0][-1], FINE)
    if not flat:
        y_fine = np.linspace(view.axes[1][0], view.axes[1][-1], FINE)
        panel.contour(x_fine, y_fine, view.density, LEVELS, colors="white", linewidths=1, linestyles="dashed")
    for number, place in enumerate(view.posterior):
        x, y = place[0], 0.0 if flat else place[1]
        panel.plot(
            x, y, "o", color=COLOURS[number % len(COLOURS)], markeredgecolor="white", markersize=8, clip_on=False
        )
    low, high = view.axes[0][0] - sides[0], view.axes[0][-1] + sides[0]
    bottom, top = (-sides[0], sides[0]) if flat else (view.axes[1][0] - sides[1], view.axes[1][-1] + sides[1])
    panel.set(xlim=(low, high), ylim=(bottom, top), aspect="auto")
    name_axes(panel, "z, first dimension", "" if flat else "z, second dimension")
    panel.tick_params(length=2, labelsize=8, labelcolor=PALE)


def _tile(panel: "Axes", image: NDArray, mask: NDArray[np.uint8], field: Field, place: Field) -> None:
    """The part of an image in the field of view, with a mask coloured in, at a place of the plane."""
    left, right, bottom, top = (round(value) for value in field)
    part = (slice(max(top, 0), bottom + 1), slice(max(left, 0), right + 1))
    colours = np.repeat(DIM * image[part][..., None], 3, -1)
    for label in np.unique(mask[mask > 0]):
        here = mask[part] == label
        colours[here] = 0.45 * colours[here] + 0.55 * _rgb(COLOURS[(label - 1) % len(COLOURS)])
    panel.imshow(colours.clip(0, 1), extent=place, interpolation="nearest")


def _half_step(axis: NDArray[np.float64]) -> float:
    return float(axis[1] - axis[0]) / 2


def _rgb(colour: str) -> NDArray[np.float64]:
    return np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
