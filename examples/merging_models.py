"""The figures of 0003-merging-hypotheses.md for trained models: what the merging threshold and the number of draws change.

    python examples/merging_models.py STORE RUN [RUN ...] [--split val] [--limit 150] [--figure FILE]

Calibration files of the runs are left aside. Printed are means over images; hypotheses are all that `rank` makes, of which
the first eight are listed.
  Threshold (512 draws, or a finite support whole)
    n, p1        hypotheses, and the probability of the first        beyond   probability that is not among the listed
    nll, ece     of readers' choices among the listed and the rest   excess   nll less the entropy of the readers' choices
    iou, iou8    of a reader's mask with the hypothesis nearest to it, of all and of the listed
    error        sum over hypotheses of |p - f| / 2, f the share of 4,096 fresh draws nearest to it; its own for leaders,
                 which take all that is near the densest masks and do not move
  Number of draws (models that are drawn from, `--draws-limit` images; the list beside one of 2,048 other draws)
    shift        total variation of the probabilities, each hypothesis counted for the nearest one of the other list
    counting     the same when the draws are only counted for the other list's hypotheses: what no merging can better
    p1 moves     mean difference of the first probability         same   share of images with the same first (IoU >= .7)
    covered      share of 95 % intervals (of hypotheses of p > .02) that hold f; width: of these intervals
    halves       covered and width, when one half of the draws makes the hypotheses and the other is counted
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from merging_study import clustered, leaders
from numpy.typing import NDArray

from ambiseg.models.evaluation.data import chosen_rows
from ambiseg.models.evaluation.evaluate import drawn_atoms
from ambiseg.models.hypotheses import MERGE, Hypotheses, rank, wilson_intervals
from ambiseg.models.metrics.distances import equal_weights
from ambiseg.models.metrics.outcomes import TOP, Outcome, nll, outcome
from ambiseg.models.metrics.overlap import comparable, pairwise_iou
from ambiseg.models.metrics.reliability import Bins, binned, together
from ambiseg.models.run import Trained, load_trained
from ambiseg.preprocessing.crops import centre_crop
from ambiseg.preprocessing.store import Store

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
DRAWS = (64, 128, 256, 512, 1024)
USUAL, OTHERS, FRESH = 512, 2048, 4096
SEED = 0
RARE = 0.02  # hypotheses below are left out of the intervals' coverage
Figures = dict[str, float]


def threshold_figures(
    labels: NDArray, weights: NDArray, masks: NDArray, truth: NDArray, fresh: NDArray | None
) -> list[tuple[Figures, Bins]]:
    """For each threshold the figures of one image's list, and the reliability of its probabilities."""
    iou, found = pairwise_iou(labels), []
    for merge in THRESHOLDS:
        hypotheses = rank(labels, weights, top=len(labels), merge=merge, iou=iou)
        choices = outcome(hypotheses, masks, truth).first()
        near = pairwise_iou(hypotheses.masks, masks)
        figures = {
            "n": len(hypotheses.masks),
            "p1": hypotheses.probabilities[0],
            "beyond": choices.probabilities[-1],
            "nll": nll(choices),
            "excess": nll(choices) - entropy(choices),
            "iou": near.max(0) @ truth,
            "iou8": near[:TOP].max(0) @ truth,
        }
        if fresh is not None:
            others = clustered(labels, leaders, merge)
            figures["error"] = variation(hypotheses.probabilities, shares(hypotheses.masks, fresh))
            figures["leaders"] = variation(others[1], shares(others[0], fresh))
        found.append((figures, binned(choices.probabilities, choices.hits)))
    return found


def draws_figures(labels: NDArray, fresh: NDArray) -> list[Figures]:
    """For each threshold and number of draws the figures of one image's list from the first of `labels`."""
    iou, others_iou, found = pairwise_iou(labels), pairwise_iou(fresh[:OTHERS]), []
    for merge in THRESHOLDS:
        others = ranked(fresh[:OTHERS], merge, others_iou)
        for n in DRAWS:
            own = ranked(labels[:n], merge, iou[:n, :n])
            start = ranked(labels[: n // 2], merge, iou[: n // 2, : n // 2])
            nearest = outcome(others, own.masks, own.probabilities / own.probabilities.sum()).hits
            found.append(
                {
                    "n": len(own.masks),
                    "shift": variation(others.probabilities, nearest),
                    "counting": variation(others.probabilities, shares(others.masks, labels[:n])),
                    "p1 moves": abs(own.probabilities[0] - others.probabilities[0]),
                    "same": pairwise_iou(own.masks[:1], others.masks[:1])[0, 0] >= 0.7,
                    **coverage("", own.probabilities, n, shares(own.masks, fresh)),
                    **coverage(
                        "halves ", shares(start.masks, labels[n // 2 : n])[:-1], n // 2, shares(start.masks, fresh)
                    ),
                }
            )
    return found


def ranked(labels: NDArray, merge: float, iou: NDArray) -> Hypotheses:
    """All hypotheses of draws of equal weight."""
    return rank(labels, equal_weights(len(labels)), top=len(labels), merge=merge, iou=iou)


def shares(hypotheses: NDArray, masks: NDArray) -> NDArray:
    """The share of masks that is nearest to each of N hypotheses, and last that of the masks that overlap none, [N + 1]."""
    listed = Hypotheses(hypotheses, equal_weights(len(hypotheses)), None, 0.0, None)
    return outcome(listed, masks, equal_weights(len(masks))).hits


def variation(p: NDArray, f: NDArray) -> float:
    """Total variation of probabilities [N] from shares [N + 1]."""
    return float(np.abs(np.append(p, 0) - f).sum() / 2)


def coverage(prefix: str, p: NDArray, n: int, f: NDArray) -> Figures:
    """How many intervals of p [N], counted from n draws, there are, how many hold f [N + 1], and the sum of their widths."""
    low, high = wilson_intervals(p, n)[p > RARE].T
    inside = (low <= f[:-1][p > RARE]) & (f[:-1][p > RARE] <= high)
    return {f"{prefix}intervals": len(low), f"{prefix}covered": inside.sum(), f"{prefix}width": (high - low).sum()}


def entropy(choices: Outcome) -> float:
    """Entropy of what the readers chose, nats."""
    hits = choices.hits[choices.hits > 0]
    return float(-hits @ np.log(hits))


def study(trained: Trained, store: Store, rows: NDArray, few: int) -> tuple[list[Figures], list[Figures]]:
    """Mean figures of one model for each threshold, and for each threshold and number of draws (empty: not drawn from)."""
    by_threshold, by_draws = [], []
    counted = set(rows[np.arange(few) * len(rows) // few].tolist())
    for done, row in enumerate(rows):
        print(f"\r{trained.name}: image {done + 1} of {len(rows)}", end="", file=sys.stderr, flush=True)
        samples = DRAWS[-1] + FRESH if row in counted else USUAL
        atoms = drawn_atoms(trained, store, int(row), samples, SEED, trained.record.crop)
        masks = centre_crop(store.masks(np.array([row]))[0], trained.record.crop)[store.present[row]]
        labels, masks = comparable(atoms.labels[0].numpy(), masks, scored=store.scored)
        truth = store.odds(np.array([row]))[0] if store.known_odds else equal_weights(len(masks))
        weights, fresh = atoms.weights[0].double().numpy(), None
        if atoms.draws is not None and row in counted:
            fresh = labels[DRAWS[-1] :]
            by_draws.append(draws_figures(labels[: DRAWS[-1]], fresh))
        used = labels[:USUAL]
        own = weights[:USUAL] / weights[:USUAL].sum()
        by_threshold.append(threshold_figures(used, own, masks, truth, fresh))
    print(file=sys.stderr)
    means = [mean([image[k][0] for image in by_threshold]) for k in range(len(THRESHOLDS))]
    bins = [together([image[k][1] for image in by_threshold]).ece for k in range(len(THRESHOLDS))]
    return [one | {"ece": ece} for one, ece in zip(means, bins, strict=True)], [
        mean(one) for one in zip(*by_draws, strict=True)
    ]


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
    """Print both tables, and draw them where a figure is asked for."""
    parser = argparse.ArgumentParser(description="What the merging threshold and the number of draws change.")
    parser.add_argument("store", type=Path, help="dataset store")
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=int, default=150, help="images, spread evenly over the split")
    parser.add_argument("--draws-limit", type=int, default=50, help="images of them for the number of draws")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    store = Store.open(asked.store)
    rows = chosen_rows(store, asked.split, asked.limit)
    models = [load_trained(run, torch.device("cpu")) for run in asked.runs]
    found = {one.name: study(one, store, rows, min(asked.draws_limit, len(rows))) for one in models}
    sensitivity = [((name, t), f) for name, (own, _) in found.items() for t, f in zip(THRESHOLDS, own, strict=True)]
    points = [(t, n) for t in THRESHOLDS for n in DRAWS]
    stability = [((name, *p), f) for name, (_, own) in found.items() for p, f in zip(points, own, strict=False)]
    columns = ("n", "p1", "beyond", "nll", "excess", "ece", "iou", "iou8", "error", "leaders")
    table(f"Threshold: {store.manifest['name']}, {len(rows)} images", ("run", "merge"), columns, sensitivity)
    columns = ("n", "shift", "counting", "p1 moves", "same", "covered", "width", "halves covered", "halves width")
    table("Number of draws", ("run", "merge", "draws"), columns, stability)


if __name__ == "__main__":
    main()
