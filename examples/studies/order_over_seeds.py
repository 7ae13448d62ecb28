"""Whether the order of a benchmark's entries stands when they are trained again: the entries over seeds.

    ambiseg benchmark lidc --method generalized --seeds 0,1,2 -o bench
    python examples/studies/order_over_seeds.py bench/results.csv --figure ged16_v --entries generalized [-o bench/order.md]

A row is a trained run. For each entry: mean and standard deviation over seeds, and its place in each seed. For each pair of
neighbours in the order of the means: the mean difference over seeds, its standard error, and in how many seeds the sign is the
same. Kendall's W says how far the seeds agree on the whole order (1: the same order in each; about 1 / seeds by chance). Three
seeds can show that an order does not stand. They cannot prove that it does: the same sign in three seeds comes by chance with
probability 1/4. Reads results.csv or results-test.csv of `ambiseg benchmark lidc`, or results.csv of `benchmark known-truth`.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ambiseg.models.benchmarks.trials.table_text import markdown_table
from ambiseg.preprocessing.files import whole_file
from ambiseg.preprocessing.tables import read_table
from ambiseg.terminal.console import plain_errors

HIGHER = ("iou", "dice", "auroc", "accuracy")  # parts of names of figures of which more is better


@dataclass(frozen=True)
class Seeds:
    """Figures [E, S] of entries, the best mean first, and of seeds."""

    entries: tuple[str, ...]
    seeds: tuple[int, ...]
    figures: NDArray[np.float64]
    higher: bool

    @property
    def places(self) -> NDArray[np.float64]:
        """The place of each entry in each seed [E, S], 1 the best."""
        found: NDArray[np.float64] = rankdata(-self.figures if self.higher else self.figures, axis=0)
        return found

    @property
    def agreement(self) -> float:
        """Kendall's W of the seeds' orders.

        >>> Seeds(("a", "b", "c"), (0, 1), np.array([[1.0, 1], [2, 2], [3, 3]]), False).agreement
        1.0
        """
        entries, seeds = self.figures.shape
        sums = self.places.sum(1)
        return float(12 * ((sums - sums.mean()) ** 2).sum() / (seeds**2 * (entries**3 - entries)))


def read_seeds(path: Path, figure: str, entries: Sequence[str] = (), seeds: Sequence[int] = ()) -> Seeds:
    """The runs of a table whose entries are named, or begin with one of the names; all entries without any name.

    Entries that lack one of the `seeds` (none given: a seed of the others) are left out, as orders of different seeds cannot be
    compared.
    """
    table = read_table(path, "one row per run")
    table.need("entry", "seed", figure)
    found: dict[str, dict[int, float]] = {}
    for row in table.rows:
        name = row["entry"]
        seed = table.whole_number(row, "seed")
        wanted = not entries or any(name == each or name.startswith(f"{each}-") for each in entries)
        if row[figure] and wanted and (not seeds or seed in seeds):
            found.setdefault(name, {})[seed] = table.number(row, figure)
    return ordered(found, higher=any(part in figure for part in HIGHER))


def ordered(found: Mapping[str, Mapping[int, float]], *, higher: bool) -> Seeds:
    """The figures of entries that have all seeds, the best mean first."""
    seeds = sorted({seed for one in found.values() for seed in one})
    whole = {name: [one[seed] for seed in seeds] for name, one in found.items() if set(one) == set(seeds)}
    if len(whole) < 2 or len(seeds) < 2:
        raise SystemExit(f"Expected two entries with two seeds each or more, got {len(whole)} with {len(seeds)}.")
    names = sorted(whole, key=lambda name: float(np.mean(whole[name])), reverse=higher)
    return Seeds(tuple(names), tuple(seeds), np.array([whole[name] for name in names]), higher)


def tables(found: Seeds) -> str:
    """Both tables as Markdown."""
    means, spread = found.figures.mean(1), found.figures.std(1, ddof=1)
    rows = [["entry", "mean", "sd over seeds", *(f"place, seed {seed}" for seed in found.seeds)]]
    for name, mean, sd, places in zip(found.entries, means, spread, found.places, strict=True):
        rows.append([f"`{name}`", f"{mean:.4f}", f"{sd:.4f}", *(f"{place:g}" for place in places)])
    pairs = [["better", "worse", "difference", "standard error", "same sign"]]
    for (first, one), (second, other) in pairwise(zip(found.entries, found.figures, strict=True)):
        apart = other - one
        same = int((np.sign(apart) == np.sign(apart.mean())).sum())
        error = apart.std(ddof=1) / np.sqrt(len(apart))
        pairs.append([f"`{first}`", f"`{second}`", f"{apart.mean():+.4f}", f"{error:.4f}", f"{same} of {len(apart)}"])
    return f"{markdown_table(rows)}\n\n{markdown_table(pairs)}\n\nKendall's W: {found.agreement:.2f}"


def main() -> None:
    """Print the tables, and write them where they are wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--figure", default="ged16_v")
    parser.add_argument("--entries", type=lambda text: text.split(","), default=())
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=())
    parser.add_argument("-o", "--output", type=Path, help="write the tables to this page, too")
    given = parser.parse_args()
    text = tables(read_seeds(given.results, given.figure, given.entries, given.seeds))
    print(text)
    if given.output:
        with whole_file(given.output) as aside:
            aside.write_text(f"# Order of {given.figure} over seeds\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    with plain_errors():
        main()
