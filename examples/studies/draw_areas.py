"""Areas of a model's draws beside the readers': does it leave stray pixels where a reader marks nothing?

    python examples/studies/draw_areas.py data/lidc-128-repack runs/refine-001 runs/probunet-001 --split val --limit 200

A draw of a few pixels is at distance 1 from the empty mask, so stray pixels cost as much as a wrong lesion. Each line is the
share of masks in each class of area (pixels of foreground), first of the readers, then of 16 draws per image of each run;
"stray" is the share of draws with 1 to 5 pixels on images that at least one reader left empty, "empty" P(no mark). Draws of a
finite model are taken by its own probabilities.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.models.bundle.find import find_model
from ambiseg.models.core.predictive import harden
from ambiseg.models.core.randomness import generator_for
from ambiseg.models.evaluation.rows import chosen_rows
from ambiseg.models.runs.trained import Trained, load_trained
from ambiseg.preprocessing.store.store import IGNORE, Store
from ambiseg.preprocessing.volumes.planes import centre_crop
from ambiseg.terminal.console import plain_errors

EDGES = (0, 1, 6, 21, 51, 101, 301)  # from so many pixels on
DRAWS, AT_ONCE = 16, 16


def shares(areas: NDArray[np.intp]) -> NDArray[np.float64]:
    """The share of masks in each class of area.

    >>> shares(np.array([0, 0, 3, 400])).tolist()
    [0.5, 0.25, 0.0, 0.0, 0.0, 0.0, 0.25]
    """
    return np.histogram(areas, (*EDGES, np.inf))[0] / areas.size


def drawn_areas(trained: Trained, store: Store, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Foreground pixels of 16 draws of each row [N, 16]."""
    found = []
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE]
        with torch.inference_mode():
            predictive = trained.predictive(*trained.record.crops(store, part))
            labels, _ = harden(predictive.sample(DRAWS, generator_for(0, start)))
        found.append((labels > 0).sum((2, 3)).cpu().numpy())
    return np.concatenate(found)


def line(name: str, areas: NDArray[np.intp], stray: float) -> str:
    """A row of the table."""
    return f"{name:24s}" + "".join(f"{share:9.3f}" for share in shares(areas.ravel())) + f"{stray:9.3f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    store = Store.open(given.data)
    rows = chosen_rows(store, given.split, given.limit)
    names = [f"{low}-{high - 1}" if high - low > 1 else str(low) for low, high in pairwise(EDGES)]
    print(f"{'pixels':24s}" + "".join(f"{name:>9s}" for name in (*names, f"{EDGES[-1]}-", "stray")))
    for number, model in enumerate(given.models):
        trained = load_trained(find_model(model), torch.device("cpu"))
        masks = centre_crop(store.masks(rows), trained.record.crop)
        areas, present = ((masks > 0) & (masks != IGNORE)).sum((2, 3)), store.present[rows]
        doubted = ((areas == 0) & present).any(1)
        if number == 0:
            few = (areas > 0) & (areas < EDGES[2]) & present
            print(line("readers", areas[present], few[doubted].sum() / max(present[doubted].sum(), 1)))
        drawn = drawn_areas(trained, store, rows)
        few = (drawn > 0) & (drawn < EDGES[2])
        print(line(trained.name, drawn, few[doubted].mean() if doubted.any() else float("nan")))


if __name__ == "__main__":
    with plain_errors():
        main()
