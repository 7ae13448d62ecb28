"""How far below 0 the unbiased GED of a perfect model is on crops that were selected because a reader marked something.

    python examples/studies/presence_floor.py                     # the counts of lidc-128-repack
    python examples/studies/presence_floor.py data/lidc-128-repack

Only presence is considered: a mask marks something or nothing, and two masks are at distance 1 when just one of them marks
something. In a scan each of R readers marks a lesion with a probability p that belongs to the lesion, independently of the
others. A crop is cut out when k >= 1 of them do, and so

    P(k | p)  =  C(R, k) p^k (1 - p)^(R - k) / s(p),      s(p) = 1 - (1 - p)^R
    m(p)      =  E[k / R | p]  =  p / s(p)                                        the share of readers who mark
    2 c(p)    =  E[2 k (R - k) / (R (R - 1)) | p]  =  2 p (1 - p) / s(p)          how often two different readers differ

Given the image, which may reveal p and no more, readers of such crops are negatively dependent: when one marked nothing,
another must have marked something. The expected unbiased GED of a model that draws presence with probability q,

    2 (q (1 - m) + (1 - q) m)  -  2 q (1 - q)  -  2 c,

is smallest at q = m, where it is 2 m (1 - m) - 2 c: below 0 for R > 1 and 0 < p < 1. It would be 0 without selection (s = 1).

There are two answers for the mean over crops: that of the truncated beta-binomial that fits the counts best, and the minimum
and maximum over all distributions of p with exactly these counts (a linear program over p).
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import linprog, minimize
from scipy.special import beta, betaln, comb

from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.planes import centre_crop
from ambiseg.terminal.console import plain_errors

COUNTS = (53, 3905, 2500, 2381, 3914)  # crops of lidc-128-repack by how many of four readers marked something
GRID = 4001  # values of p in the linear program


def counts_of(store: Store, crop: int | None = None) -> list[int]:
    """Number of crops by how many readers marked something in the central `crop` pixels: 0 to all of them."""
    size, found = crop or max(store.size), np.zeros(store.present.shape[1] + 1, int)
    for row in range(len(store)):
        found[centre_crop(store.masks(np.array([row]))[0], size).any((1, 2)).sum()] += 1
    return found.tolist()


def selected(p: float, readers: int) -> float:
    """s(p): the probability that a lesion becomes a crop."""
    return -np.expm1(readers * np.log1p(-p)) if p < 1 else 1.0


def floor_at(p: float, readers: int) -> float:
    """The smallest expected unbiased GED of crops with the same p. As p approaches 0 just one reader marks, m = c = 1 / R."""
    share, differ = (p / selected(p, readers), p * (1 - p) / selected(p, readers)) if p > 0 else (1 / readers,) * 2
    return 2 * share * (1 - share) - 2 * differ


def fitted(counts: Sequence[int]) -> tuple[float, float]:
    """The parameters of the beta-binomial, truncated at k >= 1, that fit the counts of k = 1, 2, ..., R best."""

    def surprise(logs: NDArray[np.float64]) -> float:
        return -float(np.array(counts) @ np.log(frequencies(*np.exp(logs), len(counts))))

    a, b = np.exp(minimize(surprise, [-1.0, -1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9}).x)
    return float(a), float(b)


def frequencies(a: float, b: float, readers: int) -> NDArray[np.float64]:
    """P(k) of the truncated beta-binomial, k = 1 to R."""
    k = np.arange(readers + 1)
    whole = np.exp(np.log(comb(readers, k)) + betaln(k + a, readers - k + b) - betaln(a, b))
    return whole[1:] / (1 - whole[0])


def mean_over_crops(of: Callable[[float], float], a: float, b: float, readers: int) -> float:
    """The mean of a function of p over crops: p has the density of the beta distribution times s(p)."""

    def integral(value: Callable[[float], float]) -> float:
        return quad(lambda p: value(p) * selected(p, readers), 0, 1, weight="alg", wvar=(a - 1, b - 1))[0] / beta(a, b)

    return integral(of) / integral(lambda p: 1.0)


def bounds(counts: Sequence[int]) -> tuple[float, float]:
    """The minimum and maximum mean floor over all distributions of p over crops that give exactly these shares."""
    readers = len(counts)
    grid = np.linspace(0, 1, GRID)[1:]
    chance = np.array([selected(p, readers) for p in grid])
    likelihood = [comb(readers, k) * grid**k * (1 - grid) ** (readers - k) / chance for k in range(1, readers + 1)]
    floors = np.array([floor_at(p, readers) for p in grid])
    shares = np.array(counts) / sum(counts)
    least, most = (sign * linprog(sign * floors, A_eq=np.stack(likelihood), b_eq=shares).fun for sign in (1, -1))
    return least, most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "store", type=Path, nargs="?", help="count in this data set; default: the counts of lidc-128-repack"
    )
    parser.add_argument("--crop", type=int, help="side of the central square in pixels; default: the whole crop")
    options = parser.parse_args()
    nobody, *counts = counts_of(Store.open(options.store), options.crop) if options.store else COUNTS
    readers = len(counts)
    print(f"crops by readers who marked something, 1 to {readers}: {counts}; by none, left out: {nobody}")
    a, b = fitted(counts)
    print(
        f"truncated beta-binomial, a {a:.3f}, b {b:.3f}: {(sum(counts) * frequencies(a, b, readers)).round().tolist()}"
    )
    print(f"floor of the presence part of GED_U: {mean_over_crops(lambda p: floor_at(p, readers), a, b, readers):.4f}")
    least, most = bounds(counts)
    print(f"of any distribution of p with exactly these counts: {least:.4f} to {most:.4f}")


if __name__ == "__main__":
    with plain_errors():
        main()
