"""Lesions wider than the crops that a model was trained on: looked at as they are, in wider and coarser crops, or in tiles.

    python examples/studies/wider_crops.py data/lidc-128-repack [--split val] [--model lidc-gated ...] [--draws 64]

The store's crops must be twice as wide as the models' (128 pixels for models of 64). Two groups of lesions are compared:
large ones, which some reader's mask makes reach to the border of the model's crop or beyond, and medium ones, which fill
half of it or more. Each lesion is looked at in crops as in training, in crops 1.5 times and twice as wide and coarser, and
in four crops side by side. The slices of a lesion share their draws. The script prints per model and group: GED of the
volumes (1 - IoU; with self-pairs), the model's mean volume as a multiple of the readers' mean volume, both of those that
mark anything, P(nothing marked), and the mean share of marked draws that touch the border of the crop.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.models.bundle.find import find_model
from ambiseg.models.core.overlap import pairwise_iou
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.prediction.settle import ZOOMS
from ambiseg.models.runs.trained import Trained, load_trained
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.resample import PlaneGrid, majority
from ambiseg.terminal.console import plain_errors

MODELS = ("lidc-gated", "lidc-mixture")
EDGE = 2  # outermost pixels of a crop that count as its border


def lesions(store: Store, split: str, crop: int) -> dict[str, list[NDArray[np.intp]]]:
    """The rows of the slices of each large and each medium lesion."""
    rows = defaultdict(list)
    for row in store.rows(split):
        cells = store.index[row].cells
        rows[cells["case"], cells["lesion"]].append(int(row))
    found: dict[str, list[NDArray[np.intp]]] = {"large": [], "medium": []}
    middle = (store.size[0] - 1) / 2
    for own in map(np.array, rows.values()):
        marked = np.argwhere((store.masks(own) > 0).any((0, 1)))
        reach = np.abs(marked - middle).max(initial=0) + 0.5
        if reach >= crop / 2:
            found["large"].append(own)
        elif reach >= crop / 4:
            found["medium"].append(own)
    return found


def drawn(trained: Trained, images: NDArray, grids: Sequence[PlaneGrid], draws: int) -> tuple[NDArray, NDArray]:
    """Masks [S, Z, H, W] of the slices [Z, H, W], whose parts on several grids are joined, and their weights [S]."""
    fill = float(images.min())
    crops = np.concatenate([grid.image(images, fill=fill) for grid in grids])[:, None]
    with torch.inference_mode():
        atoms = trained.predictive(crops).atoms(draws, generator_for(0, "wider"), tied=True)
    labels = atoms.labels.cpu().numpy().reshape(len(grids), len(images), -1, *crops.shape[2:])
    shape = images.shape[1:]
    parts = [majority(grid.coverage_back(label > 0, shape)) for grid, label in zip(grids, labels, strict=True)]
    weights = atoms.weights[0].double().cpu().numpy()
    return np.moveaxis(np.any(parts, 0), 1, 0).astype(np.uint8), weights / weights.sum()


def judge(masks: NDArray, weights: NDArray, readers: NDArray, inside: NDArray[np.bool_]) -> tuple[float, ...]:
    """The figures of one lesion; `inside` [H, W]: what is not the border of the crop."""
    ged = 2 * (1 - weights @ pairwise_iou(masks, readers).mean(1)) - (1 - weights @ pairwise_iou(masks) @ weights)
    ged -= 1 - pairwise_iou(readers).mean()
    sizes, theirs = masks.sum((1, 2, 3)), readers.sum((1, 2, 3))
    marked = max(weights[sizes > 0].sum(), 1e-9)
    touches = weights @ masks[..., ~inside].any((1, 2)) / marked
    return ged, weights @ sizes / marked / theirs[theirs > 0].mean(), 1 - marked, touches


def views(size: int, crop: int) -> dict[str, tuple[list[PlaneGrid], NDArray[np.bool_]]]:
    """The ways to look at an image: their grids, and which pixels lie inside the border of what is seen."""
    middle, ways = (size - 1) / 2, {}
    line = np.abs(np.arange(size) - middle) + 0.5
    for zoom in (zoom for zoom in ZOOMS if zoom * crop <= size):
        inside = line <= zoom * crop / 2 - EDGE
        ways[f"{zoom:g} times as wide"] = [PlaneGrid(crop, (middle, middle), (zoom, zoom))], inside & inside[:, None]
    tiles = [PlaneGrid(crop, (middle + y, middle + x), (1, 1)) for y, x in product((-crop / 2, crop / 2), repeat=2)]
    return {**ways, "four tiles": (tiles, np.ones((size, size), bool))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", nargs="+", default=MODELS)
    parser.add_argument("--draws", type=int, default=64)
    asked = parser.parse_args()
    store = Store.open(asked.store)
    print(
        "| model | lesions | crops | GED | volume / readers' | P(nothing) | touch the border |\n|---|---|---|---|---|---|---|"
    )
    for name in asked.model:
        trained = load_trained(find_model(name), torch.device("cpu"))
        for group, found in lesions(store, asked.split, trained.record.crop).items():
            for way, (grids, inside) in views(store.size[0], trained.record.crop).items():
                figures = []
                for rows in found:
                    readers = np.moveaxis(store.masks(rows), 1, 0)
                    figures.append(
                        judge(*drawn(trained, store.images(rows)[:, 0], grids, asked.draws), readers, inside)
                    )
                means = " | ".join(f"{value:.3f}" for value in np.mean(figures, 0))
                print(f"| `{name}` | {len(found)} {group} | {way} | {means} |", flush=True)


if __name__ == "__main__":
    with plain_errors():
        main()
