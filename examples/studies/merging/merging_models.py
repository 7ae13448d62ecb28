"""The figures of 0003-merging-hypotheses.md for trained models: what the merging threshold and the number of draws change.

    python examples/studies/merging/merging_models.py STORE RUN [RUN ...] [--split val] [--limit 150] [--figure FILE]

The runs' calibrations are not used. The script prints means over images. Hypotheses are all that `rank` returns, of which the
first eight are listed.
  Threshold (256 draws, or a finite support whole)
    n, p1        hypotheses, and the probability of the first        beyond   probability of those that are not listed
    nll, ece     of readers' choices among the listed and the rest   excess   nll minus the entropy of the readers' choices
    iou, iou8    of a reader's mask with the hypothesis nearest to it, of all and of the listed
  Number of draws (sampled models, `--draws-limit` images; the list compared with that of 2,048 other draws)
    shift        total variation of the probabilities, each hypothesis assigned to the nearest one of the other list
    counting     the same when the draws are only counted for the other list's hypotheses: the best possible merging
    p1 moves     mean difference of the first probability         same   share of images with the same first (IoU >= .7)
    covered      share of 95 % intervals (of hypotheses of p > .02) that contain f, the share of 4,096 fresh draws nearest to
                 the hypothesis; expected: .95, minus the effect of f's own uncertainty; width: of the intervals
    halves       covered and width, when one half of the draws forms the hypotheses and the other is counted
  Ways of merging (of merging_study.py; 256 draws, default threshold, the list compared with that of 1,024 other draws)
    close        share of the listed that are closer than the threshold to another one that is listed
    error        sum over hypotheses of |p - f| / 2       to nearest   mean 1 - IoU of a fresh draw and its hypothesis
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from merging_figures import (
    COMPARED,
    DRAWS,
    FRESH,
    OTHERS,
    THRESHOLDS,
    USUAL,
    Figures,
    draws_figures,
    threshold_figures,
    ways_figures,
)
from merging_picture import draw_study
from numpy.typing import NDArray

from ambiseg.models.core.overlap import comparable
from ambiseg.models.evaluation.evaluate_run import drawn_atoms
from ambiseg.models.evaluation.rows import chosen_rows
from ambiseg.models.metrics.distances import equal_weights
from ambiseg.models.metrics.reliability import together
from ambiseg.models.runs.trained import Trained, load_trained
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.planes import centre_crop

SEED = 0
TABLES = (
    ("Threshold", ["merge"], ["n", "p1", "beyond", "nll", "excess", "ece", "iou", "iou8"]),
    (
        "Number of draws",
        ["merge", "draws"],
        [
            "n",
            "shift",
            "counting",
            "p1 moves",
            "same",
            "covered",
            "expected",
            "width",
            "halves covered",
            "halves width",
        ],
    ),
    ("Ways of merging", ["way"], ["n", "close", "error", "to nearest", "shift", "p1 moves"]),
)


def study(
    trained: Trained, store: Store, rows: NDArray, few: int
) -> tuple[list[Figures], list[Figures], list[Figures]]:
    """Mean figures of one model by threshold, by threshold and number of draws, and by way (none if it is not sampled)."""
    by_threshold, by_draws, by_way = [], [], []
    counted = set(rows[np.arange(few) * len(rows) // few].tolist())
    for done, row in enumerate(rows.tolist()):
        print(f"\r{trained.name}: image {done + 1} of {len(rows)}", end="", file=sys.stderr, flush=True)
        samples = DRAWS[-1] + FRESH if row in counted else USUAL
        atoms = drawn_atoms(trained, store, row, samples, SEED, trained.record.crop)
        masks = centre_crop(store.masks(np.array([row]))[0], trained.record.crop)[store.present[row]]
        labels, masks = comparable(atoms.labels[0].numpy(), masks, scored=store.manifest.scored_labels)
        truth = (
            store.truth.probabilities(np.array([row]))[0] if store.manifest.known_odds else equal_weights(len(masks))
        )
        weights = atoms.weights[0].double().numpy()[: None if atoms.draws is None else USUAL]
        by_threshold.append(threshold_figures(labels[: len(weights)], weights / weights.sum(), masks, truth))
        if atoms.draws is not None and row in counted:
            own, fresh = labels[: DRAWS[-1]], labels[DRAWS[-1] :]
            by_draws.append(draws_figures(own, fresh))
            by_way.append(ways_figures(own[:USUAL], fresh[: OTHERS // 2], fresh))
    print(file=sys.stderr)
    sensitivity = [
        mean([figures for figures, _ in images]) | {"ece": together([bins for _, bins in images]).ece}
        for images in zip(*by_threshold, strict=True)
    ]
    return sensitivity, *([mean(images) for images in zip(*found, strict=True)] for found in (by_draws, by_way))


def mean(found: Sequence[Figures]) -> Figures:
    """Means over the images that have a figure; of intervals, over all intervals."""
    names = dict.fromkeys(name for one in found for name in one)
    figures = {name: float(np.mean([one[name] for one in found if name in one])) for name in names}
    for name in [name for name in names if name.endswith(("covered", "width"))]:
        figures[name] /= figures[name.replace("covered", "intervals").replace("width", "intervals")]
    return figures


def table(
    title: str, head: Sequence[str], columns: Sequence[str], rows: Sequence[tuple[Sequence[object], Figures]]
) -> None:
    """Print a markdown table."""
    print(f"\n{title}\n\n| {' | '.join((*head, *columns))} |\n|{'---|' * (len(head) + len(columns))}")
    for labels, figures in rows:
        cells = [f"{figures[name]:.{1 if name == 'n' else 3}f}" if name in figures else "" for name in columns]
        print(f"| {' | '.join((*map(str, labels), *cells))} |")


def main() -> None:
    """Print the tables, and draw them if a figure is requested."""
    parser = argparse.ArgumentParser(description="What the merging threshold and the number of draws change.")
    parser.add_argument("store", type=Path, help="dataset store")
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=int, default=150, help="images, spread evenly over the split")
    parser.add_argument("--draws-limit", type=int, default=50, help="images of them for the number of draws")
    parser.add_argument("--figure", type=Path, help="PNG to draw")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    store = Store.open(asked.store)
    rows = chosen_rows(store, asked.split, asked.limit)
    models = [load_trained(run, torch.device("cpu")) for run in asked.runs]
    found = {one.name: study(one, store, rows, min(asked.draws_limit, len(rows))) for one in models}
    name = f"{store.manifest.name}, {len(rows)} images"
    heads = ([(t,) for t in THRESHOLDS], [(t, n) for t in THRESHOLDS for n in DRAWS], [(way,) for way in COMPARED])
    for number, (title, head, columns) in enumerate(TABLES):
        lines = [((run, *h), f) for run, own in found.items() for h, f in zip(heads[number], own[number], strict=False)]
        table(f"{title}: {name}", ("run", *head), columns, lines)
    if asked.figure:
        draw_study(asked.figure, found, THRESHOLDS, DRAWS, name)


if __name__ == "__main__":
    main()
