"""The figures of 0003-merging-hypotheses.md: five ways to merge draws into hypotheses, on known and on real shapes.

    python examples/studies/merging/merging_study.py [DATASET_STORE]

For each way, two sets of draws and 2,000 fresh ones come from the same distribution. The script prints means over repetitions
of
  n         hypotheses found                      p1        probability given to the first
  f1        share of fresh draws nearest to it    error     sum over hypotheses of |p - f| / 2
  shift     mean 1 - IoU of the first three hypotheses to the other set's nearest of its first eight
With a dataset store, draws are blends of the readers' masks of 20 of its crops (signed distances, Dirichlet weights,
smooth noise, 15 % empty).
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.spatial.distance import squareform

from ambiseg.models.core.hypotheses import rank
from ambiseg.models.core.overlap import pairwise_iou
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.planes import centre_crop

Draw = Callable[[np.random.Generator], NDArray[np.uint8]]
Merge = Callable[[NDArray, float], NDArray]
SIDE, FRESH = 64, 2000
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]


def blob(rng: np.random.Generator, row: float, column: float, radius: float) -> NDArray[np.uint8]:
    """A disc whose position, size (4 %) and outline vary slightly."""
    y, x = ROWS - row - rng.normal(0, 0.5), COLUMNS - column - rng.normal(0, 0.5)
    angle = np.arctan2(y, x)
    outline = 1 + sum(rng.normal(0, 0.04) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4))
    return (np.hypot(y, x) < radius * np.exp(rng.normal(0, 0.04)) * outline).astype(np.uint8)


def modes(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Four modes: empty .2, small .4, large .3, elsewhere .1."""
    mode = rng.choice(4, p=[0.2, 0.4, 0.3, 0.1])
    return blob(rng, *[(32, 32, 0), (32, 32, 8), (32, 32, 16), (18, 44, 8)][mode])


def continuum(rng: np.random.Generator) -> NDArray[np.uint8]:
    """No modes: the radius is log-normal."""
    return blob(rng, 32, 32, 11 * np.exp(rng.normal(0, 0.35)))


def readers_blends(store: Store) -> Iterator[Draw]:
    """Distributions around the readers' masks of 20 crops that three or more readers marked."""
    marked = store.column("marked").astype(int)
    rows = np.flatnonzero(marked >= 3)
    for masks in store.masks(rows[:: max(1, len(rows) // 20)][:20]):
        masks = centre_crop(masks[masks.any((1, 2))], SIDE)
        signed = np.stack([distance_transform_edt(mask) - distance_transform_edt(1 - mask) for mask in masks])

        def draw(rng: np.random.Generator, signed: NDArray = signed) -> NDArray[np.uint8]:
            blend = np.tensordot(rng.dirichlet(np.full(len(signed), 0.3)), signed, 1)
            noise = gaussian_filter(rng.normal(size=blend.shape), 4) * 6
            return ((blend + noise > 0) & (rng.random() > 0.15)).astype(np.uint8)

        yield draw


def linked(method: str) -> Merge:
    """Agglomerative clustering cut at the threshold."""

    def merge(distance: NDArray, threshold: float) -> NDArray:
        return fcluster(linkage(squareform(distance, checks=False), method), threshold, "distance") - 1

    return merge


def leaders(distance: NDArray, threshold: float) -> NDArray:
    """The densest mask takes all masks within the threshold, then the next one, and so on."""
    cluster = np.full(len(distance), -1)
    while (cluster < 0).any():
        free = cluster < 0
        densest = np.where(free, ((distance < threshold) & free).sum(1), -1).argmax()
        cluster[free & (distance[densest] < threshold)] = cluster.max() + 1
    return cluster


def k_medoids(distance: NDArray, threshold: float) -> NDArray:
    """Starts from the leaders: each mask goes to its nearest medoid, and medoids move freely until nothing changes."""
    cluster, before = leaders(distance, threshold), None
    while not np.array_equal(cluster, before):
        members = [np.flatnonzero(cluster == k) for k in np.unique(cluster)]
        medoids = [m[distance[np.ix_(m, m)].sum(1).round(12).argmin()] for m in members]
        cluster, before = distance[:, medoids].argmin(1), cluster
    return cluster


def clustered(masks: NDArray, merge: Merge, threshold: float) -> tuple[NDArray, NDArray]:
    """Medoids and masses of the clusters of one way of merging, the heaviest first."""
    distance = 1 - pairwise_iou(masks)
    cluster = merge(distance, threshold)
    members = [np.flatnonzero(cluster == k) for k in np.unique(cluster)]
    medoids = np.array([m[distance[np.ix_(m, m)].sum(1).argmin()] for m in members])
    mass = np.array([len(m) for m in members]) / len(masks)
    order = np.argsort(-mass, kind="stable")
    return masks[medoids[order]], mass[order]


def chosen(masks: NDArray, threshold: float) -> tuple[NDArray, NDArray]:
    """What `rank` does."""
    found = rank(masks, np.full(len(masks), 1 / len(masks)), top=len(masks), merge=threshold)
    return found.masks, found.probabilities


WAYS: dict[str, Callable[[NDArray, float], tuple[NDArray, NDArray]]] = {
    "complete linkage": lambda masks, threshold: clustered(masks, linked("complete"), threshold),
    "average linkage": lambda masks, threshold: clustered(masks, linked("average"), threshold),
    "leaders": lambda masks, threshold: clustered(masks, leaders, threshold),
    "k-medoids": lambda masks, threshold: clustered(masks, k_medoids, threshold),
    "k-medoids, apart (chosen)": chosen,
}


def measure(draw: Draw, draws: int, threshold: float, seed: int) -> list[list[float]]:
    """For each way: n, p1, f1, error, shift."""
    rng = np.random.default_rng(seed)
    first, second, fresh = (np.stack([draw(rng) for _ in range(n)]) for n in (draws, draws, FRESH))
    rows = []
    for way in WAYS.values():
        (masks, p), (others, _) = way(first, threshold), way(second, threshold)
        f = np.bincount(pairwise_iou(fresh, masks).argmax(1), minlength=len(masks)) / FRESH
        shift = (1 - pairwise_iou(masks[:3], others[:8])).min(1).mean()
        rows.append([len(p), p[0], f[0], abs(p - f).sum() / 2, shift])
    return rows


def main() -> None:
    """Print a table for each distribution, number of draws and threshold."""
    sources: dict[str, list[Draw]] = {"modes": [modes] * 6, "continuum": [continuum] * 6}
    parser = argparse.ArgumentParser(description="How ways of merging draws compare.")
    parser.add_argument("store", nargs="?", help="dataset store whose readers' masks are blended too")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.2, 0.3, 0.4])
    asked = parser.parse_args()
    if asked.store:
        sources["readers"] = list(readers_blends(Store.open(asked.store)))
    print("| draws from | merge | draws | way | n | p1 | f1 | error | shift |\n|---|---|---|---|---|---|---|---|---|")
    for name, functions in sources.items():
        for threshold in asked.thresholds:
            for draws in (64, 256):
                found = np.mean([measure(draw, draws, threshold, seed) for seed, draw in enumerate(functions)], 0)
                for way, row in zip(WAYS, found, strict=True):
                    cells = " | ".join([f"{row[0]:.1f}", *(f"{value:.3f}" for value in row[1:])])
                    print(f"| {name} | {threshold} | {draws} | {way} | {cells} |")


if __name__ == "__main__":
    main()
