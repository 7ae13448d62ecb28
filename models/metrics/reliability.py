"""Reliability: do things that are given probability p happen in a share p of the cases? (DeGroot & Fienberg 1983).

Probabilities are sorted into bins of equal width; the expected calibration error (ECE; Naeini et al. 2015) is the mean
over all events of the difference between a bin's mean probability and its observed frequency:

    ECE = sum over bins of n_b / n |mean p in b - frequency in b|
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .summary import NAN, Figure, resampled_patients

BINS = 15


@dataclass(frozen=True)
class Bins:
    """Events by their predicted probability: how many (or what weight), and the sums of probabilities and hits; [n] each."""

    counts: NDArray[np.float64]
    confidence: NDArray[np.float64]
    hits: NDArray[np.float64]

    def __add__(self, other: "Bins") -> "Bins":
        return Bins(self.counts + other.counts, self.confidence + other.confidence, self.hits + other.hits)

    def summary(self) -> dict[str, list[float]]:
        """As plain values for JSON."""
        return {name: values.tolist() for name, values in vars(self).items()}

    @property
    def mean_confidence(self) -> NDArray[np.float64]:
        """Mean predicted probability of each bin; nan for an empty one."""
        return _ratio(self.confidence, self.counts)

    @property
    def frequency(self) -> NDArray[np.float64]:
        """Observed frequency of each bin; nan for an empty one."""
        return _ratio(self.hits, self.counts)

    @property
    def ece(self) -> float:
        """Expected calibration error; nan without an event."""
        total = self.counts.sum()
        return float(np.abs(self.confidence - self.hits).sum() / total) if total > 0 else NAN


def binned(
    probabilities: NDArray[np.floating],
    hits: NDArray[np.floating],
    *,
    weights: NDArray[np.floating] | None = None,
    bins: int = BINS,
) -> Bins:
    """Events of the given probabilities, any shape, each of which happened in a share `hits` of its trials.

    weights: how much each event counts (default: 1).
    """
    flat, happened = probabilities.ravel().astype(np.float64), hits.ravel().astype(np.float64)
    weight = np.ones_like(flat) if weights is None else weights.ravel().astype(np.float64)
    index = np.clip((flat * bins).astype(np.intp), 0, bins - 1)
    sums = (np.bincount(index, values, bins) for values in (weight, weight * flat, weight * happened))
    return Bins(*(one.astype(np.float64) for one in sums))


def together(found: Sequence[Bins]) -> Bins:
    """The bins of all cases; there must be one at least."""
    return sum(found[1:], start=found[0])


def pooled_ece(found: Sequence[Bins], patients: Sequence[str], rng: np.random.Generator) -> Figure:
    """ECE of all cases' events, with its 95 % interval when whole patients are drawn again.

    The interval is the basic bootstrap's, about twice the figure less the quantiles: drawing again adds noise, which the ECE
    counts as error, so its own quantiles lie too high.
    """
    per_case = np.stack([np.stack((one.counts, one.confidence, one.hits)) for one in found])
    times, member = resampled_patients(patients, rng)
    sums = np.zeros((member.max() + 1, *per_case.shape[1:]))
    np.add.at(sums, member, per_case)
    ece, low, high = together(found).ece, NAN, NAN
    if len(sums) > 1:
        counts, confidence, hits = np.moveaxis(np.tensordot(times, sums, 1), 1, 0)
        again = np.abs(confidence - hits).sum(1) / np.maximum(counts.sum(1), 1e-12)
        low, high = np.maximum(0, 2 * ece - np.quantile(again, (0.975, 0.025)))
    return Figure(ece, NAN, float(low), float(high), cases=len(found))


def _ratio(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(sums, counts, out=np.full_like(sums, NAN), where=counts > 0)
