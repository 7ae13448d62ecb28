"""GED of oracles that may look at the readers' masks: a scale for a model's figures.

    python examples/studies/lidc_oracles.py data/lidc-128-repack [--split test] [--crop 64]

Prints a Markdown table; each figure is a mean over crops. GED is the papers' estimator (V-statistic), for the masks with their
exact weights and as expected for 16 and 100 draws of them. GED_U is the unbiased figure. The last row is for readers who are
independent given the image. For crops that were selected because one of them marked something, see presence_floor.py.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ambiseg.models.benchmarks.trials.table_text import markdown_table, short
from ambiseg.models.core.overlap import overlaps
from ambiseg.models.evaluation.rows import chosen_rows
from ambiseg.models.metrics.distances import GED, ged, without_self_pairs
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.planes import centre_crop
from ambiseg.terminal.console import plain_errors

DRAWS = (16, 100)
PERFECT = "the readers' own distribution, if they are independent"
Masks = NDArray[np.uint8]


def empty(masks: Masks) -> Masks:
    return np.zeros_like(masks[0])


def half(masks: Masks) -> Masks:
    return (2 * (masks > 0).sum(0) >= len(masks)).astype(np.uint8)


def union(masks: Masks) -> Masks:
    return (masks > 0).any(0).astype(np.uint8)


ORACLES: dict[str, Callable[[Masks], list[Masks]]] = {  # maps the readers' masks to the equally probable masks
    "always nothing": lambda masks: [empty(masks)],
    "what any reader marked": lambda masks: [union(masks)],
    "what half of them marked": lambda masks: [half(masks)],
    "nothing, or what any marked, at even odds": lambda masks: [empty(masks), union(masks)],
    "nothing, or what half marked, at even odds": lambda masks: [empty(masks), half(masks)],
}


def figures(found: GED) -> tuple[float, ...]:
    """GED with exact weights, GED of n draws (whose pairs with themselves add 1/n of their diversity), and GED_U."""
    return found.v, *(found.v + found.sample_diversity / n for n in DRAWS), found.u


def perfect(found: GED, readers: int) -> tuple[float, ...]:
    """The same for the distribution that the readers were drawn from, independently of each other (`metrics.distances`)."""
    diversity = without_self_pairs(found.reader_diversity, readers)
    return diversity / readers, *(diversity * (1 / readers + 1 / n) for n in DRAWS), 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--crop", type=int, help="side of the central square in pixels; default: the whole crop")
    options = parser.parse_args()
    store = Store.open(options.store)
    rows = chosen_rows(store, options.split)
    scored: dict[str, list[tuple[float, ...]]] = {name: [] for name in (*ORACLES, PERFECT)}
    for row in rows:
        masks = centre_crop(store.masks(np.array([row]))[0], options.crop or max(store.size))[store.present[row]]
        for name, oracle in ORACLES.items():
            found = ged(overlaps(np.stack(oracle(masks)), masks), draws=None)
            scored[name].append(figures(found))
        scored[PERFECT].append(perfect(found, len(masks)))
    table = [["what draws", "GED, exact", *(f"GED{n}" for n in DRAWS), "GED_U"]]
    table += [[name, *map(short, np.mean(values, 0))] for name, values in scored.items()]
    print(f"{len(rows):,} crops of {store.manifest.name}, {options.split}\n\n{markdown_table(table)}")


if __name__ == "__main__":
    with plain_errors():
        main()
