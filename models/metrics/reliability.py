"""Reliability: do events of probability p happen in a share p of the cases? (DeGroot & Fienberg 1983).

Probabilities are sorted into bins of equal width. The expected calibration error (ECE; Naeini et al. 2015) is the mean
over all events of the difference between the mean probability of a bin and its observed frequency:

    ECE = sum over bins of n_b / n |mean p in b - frequency in b|
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FiniteFloat

from ..core.overlap import counted_pixels
from .summary import NAN, Figure, resampled_patients

BINS = 15
LIKELY = 0.05  # foreground probability from which a pixel that no reader marks counts too


@dataclass(frozen=True)
class Bins:
    """Events, sorted by their predicted probability into n bins of equal width.

    Attributes:
        counts: how many events each bin has, or their weight [n].
        confidence: sums of the predicted probabilities [n].
        hits: how many of the events happened, or their weight [n].
    """

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


class BinsSummary(BaseModel):
    """The form of `Bins.summary` in documents: events in each bin, sums of their probabilities and hits."""

    model_config = ConfigDict(frozen=True)

    counts: list[FiniteFloat]
    confidence: list[FiniteFloat]
    hits: list[FiniteFloat]


def bins_summaries(bins: Mapping[str, Bins]) -> dict[str, BinsSummary]:
    """Reliability bins by name, as documents have them."""
    return {name: BinsSummary.model_validate(one.summary()) for name, one in bins.items()}


def binned(
    probabilities: NDArray[np.floating],
    hits: NDArray[np.floating],
    *,
    weights: NDArray[np.floating] | None = None,
    bins: int = BINS,
) -> Bins:
    """Sort events into bins by their predicted probabilities.

    Args:
        probabilities: of the events, of any shape.
        hits: the share of trials in which each event happened, of the same shape; 0 or 1 for a single trial.
        weights: how much each event counts (default: 1).
        bins: how many.

    Example:
        >>> round(binned(np.array([0.9, 0.9]), np.array([1.0, 0.0])).ece, 6)
        0.4
    """
    flat, happened = probabilities.ravel().astype(np.float64), hits.ravel().astype(np.float64)
    weight = np.ones_like(flat) if weights is None else weights.ravel().astype(np.float64)
    index = np.clip((flat * bins).astype(np.intp), 0, bins - 1)
    sums = (np.bincount(index, values, bins) for values in (weight, weight * flat, weight * happened))
    return Bins(*(one.astype(np.float64) for one in sums))


def together(found: Sequence[Bins]) -> Bins:
    """The bins of all cases together; there must be at least one case."""
    return sum(found[1:], start=found[0])


def pooled_ece(found: Sequence[Bins], patients: Sequence[str], rng: np.random.Generator) -> Figure:
    """ECE of the events of all cases, with a 95 % bootstrap interval by patient.

    The interval is that of the basic bootstrap: twice the figure less the quantiles. Resampling adds noise, which the ECE
    counts as error, so its own quantiles are too high.

    Args:
        found: the bins of each case.
        patients: of each case, of equal length.
        rng: of the resamples, in each of which whole patients are drawn with replacement.
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


def pixel_reliability(
    marginal: NDArray[np.floating],
    masks: NDArray[np.uint8],
    truth: NDArray[np.float64],
    scored: Sequence[int] | None = None,
) -> tuple[Bins, Bins]:
    """Compare the probabilities of pixels with the share of readers who mark them.

    An event is a pixel and a foreground class. Pixels that a reader ignores are left out.

    Args:
        marginal: the model's class probabilities [K, H, W].
        masks: of the readers [R, H, W].
        truth: weights of the readers [R], sum 1.
        scored: the foreground classes that count; None: all.

    Returns:
        Bins of all pixels, and of those that a reader marks or that the model finds likely to be marked.
    """
    counted = counted_pixels(masks)
    classes = range(1, len(marginal)) if scored is None else scored
    probabilities = np.stack([marginal[label][counted] for label in classes])  # [classes, pixels]
    shares = np.stack([truth @ (masks[:, counted] == label) for label in classes])
    likely = (shares > 0).any(0) | (probabilities.sum(0) >= LIKELY)
    return binned(probabilities, shares), binned(probabilities[:, likely], shares[:, likely])


def _ratio(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(sums, counts, out=np.full_like(sums, NAN), where=counts > 0)
