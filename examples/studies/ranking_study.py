"""How a model's weighted set of masks is best listed: on the crops of a split, and the same crops one pixel to the side.

    python examples/studies/ranking_study.py data/lidc-128-repack lidc-gated --split val --limit 250

The ways:

    merged at .3      k-medoids whose number and start come from a threshold: masks closer than .3 (1 - IoU) are one
    K masks           the K masks to which the whole set has the least transport distance
    gain g            the same, and K grows while a further mask lowers that distance by g, up to eight

n: hypotheses. to the set: transport distance from the whole set to the list, 1 - IoU as the cost. moved: transport distance
between the lists of the two crops, mean and 95th percentile over the crops; the last row is that of the whole sets. p1, moved:
probability of the likeliest mask with a lesion, and how much it differs between the two. ECE: of the listed probabilities, by
what readers choose, summed per crop. The crop is the training crop about the centre of the stored one.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.models.bundle.find import find_model
from ambiseg.models.core.hypotheses import Hypotheses, rank
from ambiseg.models.core.overlap import pairwise_iou
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.evaluation.rows import chosen_rows
from ambiseg.models.metrics.distances import equal_weights
from ambiseg.models.metrics.matching import ot_iou, transport_distance
from ambiseg.models.metrics.outcomes import outcome
from ambiseg.models.metrics.reliability import binned, together
from ambiseg.models.runs.trained import Trained, load_trained
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.planes import centre_start
from ambiseg.terminal.console import plain_errors

Masks, Weights = NDArray[np.uint8], NDArray[np.float64]
Way = Callable[[Masks, Weights, NDArray[np.float64]], Hypotheses]
ROUNDS = 100


def merged(labels: Masks, weights: Weights, iou: NDArray[np.float64], *, threshold: float) -> Hypotheses:
    """The list of earlier versions: medoids that start at the densest masks and stay `threshold` apart."""
    distance, empty = 1 - iou, ~labels.any((1, 2))
    distance[empty[:, None] != empty] = np.inf
    medoids = _densest(distance < threshold, weights)
    for _ in range(ROUNDS):
        nearest, before = distance[:, medoids].argmin(1), medoids.copy()
        for k in range(len(medoids)):
            members = np.flatnonzero(nearest == k)
            apart = members[(distance[np.ix_(members, np.delete(medoids, k))] >= threshold).all(1)]
            medoids[k] = apart[np.round(distance[np.ix_(apart, members)] @ weights[members], 12).argmin()]
        if np.array_equal(medoids, before):
            break
    mass = np.bincount(distance[:, medoids].argmin(1), weights, len(medoids))
    order = np.argsort(-mass, kind="stable")
    return Hypotheses(labels[medoids[order]], mass[order], None, 0.0, None)


def _densest(near: NDArray[np.bool_], weights: Weights) -> NDArray[np.intp]:
    near, uncovered, chosen = near | np.eye(len(weights), dtype=bool), weights > 0, []
    while uncovered.any():
        chosen.append(int(np.where(uncovered, near[:, uncovered] @ weights[uncovered], -1).argmax()))
        uncovered &= ~near[chosen[-1]]
    return np.array(chosen)


def ranked(labels: Masks, weights: Weights, iou: NDArray[np.float64], **how: float) -> Hypotheses:
    return rank(labels, weights, iou=iou, **how)


WAYS: Mapping[str, Way] = {
    "merged at .3": partial(merged, threshold=0.3),
    **{f"{k} masks": partial(ranked, top=k, gain=0) for k in (3, 5, 8)},
    **{f"gain {gain:g}": partial(ranked, gain=gain) for gain in (0.005, 0.01, 0.02)},
}


@torch.inference_mode()
def both_crops(trained: Trained, store: Store, row: int, samples: int) -> tuple[Masks, list[Weights]]:
    """The model's masks of a crop and of the one beside it, all on the stored crop [2 S, H, W], and their weights."""
    image, size = store.images(np.array([row])), trained.record.crop
    found, weights = [], []
    for shift in (0, 1):
        y, x = (centre_start(side, size) for side in store.size)
        crop = image[:, :, y : y + size, x + shift : x + shift + size]
        atoms = trained.predictive(crop).atoms(samples, generator_for(0, "study", row))
        whole = np.zeros((atoms.labels.shape[1], *store.size), np.uint8)
        whole[:, y : y + size, x + shift : x + shift + size] = atoms.labels[0].numpy()
        found.append(whole)
        weight = atoms.weights[0].double().numpy()
        weights.append(weight / weight.sum())
    return np.concatenate(found), weights


def moved(one: Hypotheses, two: Hypotheses) -> float:
    """The transport distance between two lists."""
    p, q = (found.probabilities / found.probabilities.sum() for found in (one, two))
    return transport_distance(one.masks, two.masks, p, q)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=int, default=250)
    parser.add_argument("--samples", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(1)
    store = Store.open(options.store)
    for model in options.models:
        trained = load_trained(find_model(model), torch.device("cpu"), calibrated=False, keep_memory=True)
        rows: dict[str, list[tuple[float, ...]]] = {way: [] for way in WAYS}
        bins: dict[str, list] = {way: [] for way in WAYS}
        sets = []
        for row in chosen_rows(store, options.split, options.limit):
            labels, weights = both_crops(trained, store, int(row), options.samples)
            iou, count = pairwise_iou(labels), len(weights[0])
            sides = slice(0, count), slice(count, None)
            sets.append(1 - ot_iou(iou[sides[0], sides[1]], *weights))
            readers = store.masks(np.array([row]))[0][store.present[row]]
            for name, way in WAYS.items():
                one, two = (
                    way(labels[at], weight, iou[at, at].copy()) for at, weight in zip(sides, weights, strict=True)
                )
                far = float(weights[0] @ (1 - pairwise_iou(labels[sides[0]], one.masks)).min(1))
                rows[name].append(
                    (len(one.masks), far, moved(one, two), one.likeliest, abs(one.likeliest - two.likeliest))
                )
                chosen = outcome(one, readers, equal_weights(len(readers)))
                bins[name].append(binned(chosen.probabilities, chosen.hits))
        print(f"{trained.name}, {len(sets)} crops of {options.split}, {store.manifest.name}")
        print("| way | n | to the set | moved | 95 % | p1 | p1 moved | 95 % | ECE |")
        print("|---" * 9 + "|")
        for name, values in rows.items():
            n, far, apart, first, change = np.array(values).T
            ece = together(bins[name]).ece * np.mean([one.counts.sum() for one in bins[name]])
            cells = (
                far.mean(),
                apart.mean(),
                np.quantile(apart, 0.95),
                first.mean(),
                change.mean(),
                np.quantile(change, 0.95),
                ece,
            )
            print(f"| {name} | {n.mean():.1f} | " + " | ".join(f"{value:.3f}" for value in cells) + " |")
        print(f"| the whole sets | | 0 | {np.mean(sets):.3f} | {np.quantile(sets, 0.95):.3f} | | | | |")


if __name__ == "__main__":
    with plain_errors():
        main()
