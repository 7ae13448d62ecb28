"""Which distribution over whole lesions: ways to make volumes from a model's slices, on the lesions of a split.

    python examples/studies/lesion_study.py data/lidc-128-repack lidc-gated --split val

The model must state how probable it is that a reader marks a slice (`gated` does). The ways:

    vote          one list of masks for all slices, weighed by the slices (`one_story`); the empty mask is one of them
    proportional  a lesion is as probable as its most probable slice; readers are nested, in proportion to the slices
    extents       the same, with the extent that was fitted (`core.lesion_slices.Extent`)

Each as the model states it, and reweighted (`core.calibration`). Everything that is fitted is fitted on patients of other
folds (five, by patient). Volumes are in mm3, of the whole stored crops. GED_U is the unbiased energy distance of volumes,
HM-IoU that of 16 masks that represent the weights; presence: whether a reader marks the lesion anywhere; CRPS of log volume
and the intervals: given that it is marked; bias: the expected volume over the reader's, as a ratio of sums and as the median
over lesions of the ratio to the readers' mean.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.models.bundle.find import find_model
from ambiseg.models.calibration.fitting import Event, Slices, fit, fit_extent
from ambiseg.models.core.calibration import Reweighting
from ambiseg.models.core.lesion_slices import LesionSlices
from ambiseg.models.core.overlap import marked_counts, pairwise_iou
from ambiseg.models.core.predictive import Atoms, FinitePredictive, GatedPredictive
from ambiseg.models.evaluation.rows import readable
from ambiseg.models.lesions.by_lesion import chosen_lesions
from ambiseg.models.lesions.lesion_masks import on_one_frame, readers_of
from ambiseg.models.metrics.matching import hm_iou, systematic_resample
from ambiseg.models.metrics.volume_scores import crps, weighted_quantiles
from ambiseg.models.runs.trained import load_trained
from ambiseg.preprocessing.store.lesion_rows import LesionRows
from ambiseg.preprocessing.store.store import Store
from ambiseg.terminal.console import plain_errors

FOLDS = 5
WAYS = ("vote", "proportional", "extents")


@dataclass(frozen=True)
class Made:
    """The volumes that a way makes of a lesion: what it states and what readers did, and IoUs with them."""

    event: Event
    voxel_mm3: float
    iou: NDArray[np.float32]


def predictive_of(trained, store: Store, lesion: LesionRows) -> GatedPredictive:
    with torch.inference_mode():
        found = trained.predictive(*trained.record.crops(store, lesion.rows))
    if not isinstance(found, GatedPredictive):
        raise SystemExit("This study needs a model that states how probable it is that a reader marks a slice.")
    return found


def made(atoms: Atoms, lesion: LesionRows, readers: NDArray[np.uint8]) -> Made:
    labels, masks = on_one_frame(np.ascontiguousarray(atoms.labels.numpy().swapaxes(0, 1)), readers)
    weights = atoms.weights[0].double().numpy()
    event = Event(
        lesion.patient, weights / weights.sum(), marked_counts(labels), marked_counts(masks),
        np.full(len(masks), 1 / len(masks)),
    )  # fmt: skip
    return Made(event, lesion.voxel_mm3, pairwise_iou(np.concatenate((labels, masks))).astype(np.float32))


def figures(one: Made, numbers: Reweighting) -> dict[str, list[float]]:
    """The figures of a lesion; lists where they are of single readers."""
    event = one.event
    weights, masks = numbers.weights(event.weights, event.sizes), len(event.sizes)
    cross, own, theirs = one.iou[:masks, masks:], one.iou[:masks, :masks], one.iou[masks:, masks:]
    readers = len(event.readers)
    between = (1 - theirs).sum() / (readers * (readers - 1))
    sixteen = systematic_resample(weights, 16)
    marked, drew = event.sizes > 0, event.readers > 0
    stated = float(weights[marked].sum())
    found = {
        "GED_U": [2 * float(weights @ (1 - cross).mean(1)) - float(weights @ (1 - own) @ weights) - float(between)],
        "HM-IoU": [hm_iou(cross[sixteen].repeat(16 // readers, 1))] if 16 % readers == 0 else [],
        "presence NLL": [-np.log(np.clip(stated if drawn else 1 - stated, 1e-3, 1)) for drawn in drew],
        "presence Brier": [(stated - drawn) ** 2 for drawn in drew],
    }
    sizes, given = event.sizes[marked] * one.voxel_mm3, weights[marked] / stated
    volumes = event.readers[drew] * one.voxel_mm3
    ends = weighted_quantiles(sizes, given, (0.05, 0.25, 0.75, 0.95))
    return found | {
        "CRPS": crps(np.log(sizes), given, np.log(volumes)).tolist(),
        "in 50 %": ((volumes >= ends[1]) & (volumes <= ends[2])).tolist(),
        "in 90 %": ((volumes >= ends[0]) & (volumes <= ends[3])).tolist(),
        "log width 90 %": [float(np.log(ends[3] / ends[0]))],
        "expected": [float(sizes @ given)] * len(volumes),
        "readers": volumes.tolist(),
        "ratio": [float(sizes @ given / volumes.mean())] if len(volumes) else [],
    }


def row(name: str, cases: Sequence[dict[str, list[float]]]) -> str:
    """The means over lesions, or over readers, as a row of a Markdown table."""
    pooled = {key: np.array([value for case in cases for value in case[key]], float) for key in cases[0]}
    bias = pooled.pop("expected").sum() / pooled.pop("readers").sum() - 1
    ratio, width = np.median(pooled.pop("ratio")) - 1, np.exp(pooled.pop("log width 90 %").mean())
    cells = [f"{values.mean():.4f}" for values in pooled.values()]
    return f"| {name} | " + " | ".join([*cells, f"{width:.1f}", f"{bias:+.3f}", f"{ratio:+.3f}"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("model")
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=int, help="use about so many slices")
    parser.add_argument("--samples", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(1)
    trained = load_trained(find_model(options.model), torch.device("cpu"), calibrated=False, keep_memory=True)
    store = readable(trained, Store.open(options.store))
    lesions = [each for each in chosen_lesions(store, options.split, options.limit) if each.voxel_mm3 is not None]
    names, member = np.unique([lesion.patient for lesion in lesions], return_inverse=True)
    fold = member % FOLDS
    seen = []
    for lesion in lesions:
        marking = predictive_of(trained, store, lesion).marking().double().numpy()
        seen.append(Slices(marking, readers_of(store, lesion).any((2, 3)).T))
    among = readers_of(store, lesions[0]).shape[0]
    extents = [
        fit_extent([one for one, where in zip(seen, fold, strict=True) if where != number], among)
        for number in range(FOLDS)
    ]
    volumes: dict[str, list[Made]] = {way: [] for way in WAYS}
    for number, lesion in enumerate(lesions):
        readers, model = readers_of(store, lesion), predictive_of(trained, store, lesion)
        slices = LesionSlices([store.index[row].z_mm or 0.0 for row in lesion.rows])
        with torch.inference_mode():
            volumes["vote"].append(made(FinitePredictive.lesion(model, options.samples, slices), lesion, readers))
            volumes["proportional"].append(made(model.lesion(options.samples, slices), lesion, readers))
            fitted = replace(slices, extent=extents[fold[number]])
            volumes["extents"].append(made(model.lesion(options.samples, fitted), lesion, readers))
    print(f"{len(lesions)} lesions of {len(names)} patients, {options.split}; {trained.name}, {store.manifest.name}")
    print(
        "| way | GED_U | HM-IoU | presence NLL | Brier | CRPS | in 50 % | in 90 % | width 90 % | bias, sums | bias, median |"
    )
    print("|---" * 11 + "|")
    for way, of_way in volumes.items():
        print(row(way, [figures(one, Reweighting()) for one in of_way]))
        numbers = [
            fit([one.event for one, where in zip(of_way, fold, strict=True) if where != number]).numbers
            for number in range(FOLDS)
        ]
        print(row(f"{way}, reweighted", [figures(one, numbers[fold[n]]) for n, one in enumerate(of_way)]))


if __name__ == "__main__":
    with plain_errors():
        main()
