"""How best to join the draws of a lesion's slices into one volume: on the nodules of a store, with a trained run.

    python examples/studies/stitching_study.py data/lidc-128-repack runs/generalized-001 --limit 140

Whole nodules (all their crops of one split, at least three slices) are compared with the readers' volumes:

    separately    every slice draws for itself
    shared noise  the same noise on all slices, but each slice's own weights of the mixture's components
    shared sample the same noise, and weights of components, codes or heads that all slices share
    joined        a shared sample, smoothed across slices and with its holes filled, as `ambiseg predict` does

GED_U is the unbiased energy distance of volumes, HM-IoU that of 16 draws; a draw has a hole if it marks nothing in a slice
between two that it marks; ECE is that of the hypotheses' probabilities, calibrated where the run is.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.models.core.hypotheses import rank
from ambiseg.models.core.overlap import pairwise_iou
from ambiseg.models.core.predictive import Predictive, harden
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.methods.latent_unet import LatentPredictive
from ambiseg.models.metrics.distances import equal_weights, without_self_pairs
from ambiseg.models.metrics.matching import hm_iou, systematic_resample
from ambiseg.models.metrics.outcomes import Outcome, hypothesis_bins, outcome
from ambiseg.models.metrics.reliability import together
from ambiseg.models.prediction.draws import join_slices
from ambiseg.models.runs.trained import Trained, load_trained
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.planes import centre_crop

SLICES, READERS = 3, 2
Volumes = tuple[NDArray[np.uint8], NDArray[np.float64], int | None]  # [S, Z, H, W], weights [S], draws


def nodules(store: Store, split: str, limit: int) -> list[NDArray[np.intp]]:
    """The rows of each nodule with enough slices and readers, from the feet; `limit` of them, drawn with seed 0."""
    rows = defaultdict(list)
    for row in store.rows(split):
        rows[store.index[row]["case"], store.index[row]["lesion"]].append(row)
    whole = [
        np.array(sorted(each, key=lambda row: float(store.index[row]["z_mm"])))
        for each in rows.values()
        if len(each) >= SLICES
        and all(store.index[row]["z_mm"] for row in each)
        and store.present[each].all(0).sum() >= READERS
    ]
    return [whole[index] for index in np.random.default_rng(0).permutation(len(whole))[:limit]]


def ways(predictive: Predictive, place_mm: NDArray, draws: int) -> Iterator[tuple[str, Volumes]]:
    """The volumes that each way makes of a nodule's slices."""
    for name, tied, stitch in (
        ("separately", False, None),
        ("shared sample", True, None),
        ("joined", True, join_slices(place_mm)),
    ):
        if name == "separately" and not isinstance(predictive, LatentPredictive):
            continue  # the slices of a finite support have no common weights then
        atoms = predictive.atoms(draws, generator_for(0), tied=tied, stitch=stitch)
        yield name, (atoms.labels.numpy().swapaxes(0, 1), atoms.weights[0].double().numpy(), atoms.draws)
    if isinstance(predictive, LatentPredictive):
        prior = predictive.prior
        z = prior.draw(prior.noise(draws, generator_for(0), tied=True))
        labels = torch.cat([harden(predictive.decode(some))[0] for some in z.split(16, 1)], 1)
        yield "shared noise", (labels.numpy().swapaxes(0, 1), equal_weights(draws), draws)


def figures(volumes: Volumes, readers: NDArray[np.uint8], trained: Trained) -> tuple[dict[str, float], Outcome]:
    """What is reported of one nodule, whose readers' volumes are [R, Z, H, W]."""
    labels, weights, draws = volumes
    weights = weights / weights.sum()
    own, theirs, cross = pairwise_iou(labels), pairwise_iou(readers), pairwise_iou(labels, readers)
    diversity = without_self_pairs(1 - weights @ own @ weights, draws)
    sixteen = systematic_resample(weights, 16)
    marked = labels.any((2, 3))
    below, above = np.maximum.accumulate(marked, 1), np.maximum.accumulate(marked[:, ::-1], 1)[:, ::-1]
    found = rank(labels, weights, top=len(labels), iou=own)
    chosen = outcome(found, readers, equal_weights(len(readers)))
    if trained.calibration is not None:
        chosen = chosen.believed(trained.calibration.probabilities(chosen.probabilities, chosen.empty))
    reader_diversity = without_self_pairs(1 - theirs.mean(), len(readers))
    return {
        "GED_U": 2 * (1 - (weights @ cross).mean()) - diversity - reader_diversity,
        "HM-IoU": hm_iou(cross[sixteen].repeat(16 // len(readers), 1)) if 16 % len(readers) == 0 else np.nan,
        "holes": weights @ (~marked & below & above).any(1),
        "empty": weights @ ~marked.any(1),
        "readers empty": 1 - readers.any((1, 2, 3)).mean(),
        "hypotheses": len(found.masks),
    }, chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=int, default=140)
    parser.add_argument("--draws", type=int, default=64)
    options = parser.parse_args()
    store = Store.open(options.store)
    chosen = nodules(store, options.split, options.limit)
    for run in options.runs:
        trained = load_trained(run, torch.device("cpu"))
        found: dict[str, list[dict[str, float]]] = defaultdict(list)
        outcomes: dict[str, list[Outcome]] = defaultdict(list)
        for rows in chosen:
            image, masks = (centre_crop(each(rows), trained.record.crop) for each in (store.images, store.masks))
            readers = masks[:, store.present[rows].all(0)].swapaxes(0, 1)
            place = np.array([float(store.index[row]["z_mm"]) for row in rows])
            with torch.inference_mode():
                for name, volumes in ways(trained.predictive(image), place, options.draws):
                    values, choices = figures(volumes, readers, trained)
                    found[name].append(values)
                    outcomes[name].append(choices)
        print(f"{run.name}: {len(chosen)} nodules of {options.split}")
        for name, rows_of in found.items():
            means = {key: np.nanmean([row[key] for row in rows_of]) for key in rows_of[0]}
            means["ECE"] = together(hypothesis_bins(outcomes[name])["hypotheses"]).ece
            print(f"  {name:<14}" + "  ".join(f"{key} {value:.3f}" for key, value in means.items()))


if __name__ == "__main__":
    main()
