"""Calibration: how the weights of a model's masks become ones that its validation readers confirm.

It changes the whole weighted set of masks, before the list of hypotheses is made: the list, its probabilities and every
number that is derived from the set (sizes, intervals) agree. Two things are corrected, each with two numbers:

- the probability of a lesion, p: its log-odds become shift + slope logit p (Platt 1999);
- the distribution of the size, given that something is marked: a mask whose size is x nats above the median gets its weight
  times exp(shift x - sharpness |x|), with |x| rounded off at 0. The shift takes away a bias, the sharpness narrows or widens.

Slices have numbers of their own, and lesions theirs. `calibration.calibrate_run` fits them. The reasons for this form are in
docs/decisions/0009-calibration.md.
"""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat
from scipy.special import expit

from ambiseg.preprocessing.documents import read_json, write_json
from ambiseg.preprocessing.errors import DataError

from .arrays import AnyArray
from .lesion_slices import Extent, Reals, log_odds
from .overlap import marked_counts

FILE = "calibration.json"
ROUNDED = 0.1  # nats of size: nearer to the median than this, the distance from it counts as its square


class Reweighting(BaseModel):
    """A correction of the weights of masks; the default changes nothing.

    Attributes:
        presence_shift: of the log-odds that something is marked, in nats.
        presence_slope: of these log-odds, above 0.
        size_shift: of the log-weight, per nat of size above the median.
        size_sharpness: by which the log-weight falls, per nat of distance from the median.

    Example:
        >>> fewer = Reweighting(presence_shift=-1.0)
        >>> fewer.weights(np.array([0.5, 0.5]), np.array([0, 20])).round(2).tolist()
        [0.73, 0.27]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    presence_shift: FiniteFloat = 0.0
    presence_slope: Annotated[FiniteFloat, Field(gt=0)] = 1.0
    size_shift: FiniteFloat = 0.0
    size_sharpness: FiniteFloat = 0.0

    def __str__(self) -> str:
        """What is changed, in words."""
        parts = []
        if self.presence_shift or self.presence_slope != 1:
            parts.append(f"log-odds of a lesion {self.presence_shift:+.2f} and times {self.presence_slope:.2f}")
        if self.size_shift or self.size_sharpness:
            parts.append(f"sizes shifted by {self.size_shift:+.2f}, sharpened by {self.size_sharpness:.2f}")
        return "; ".join(parts) or "nothing changed"

    def weights(self, stated: Reals, sizes: NDArray[np.intp]) -> Reals:
        """Calibrated weights of masks.

        A set without an empty mask, or with nothing else, keeps its probability of a lesion.

        Args:
            stated: the model's weights [S], sum 1.
            sizes: how much each mask marks [S], in any unit; 0 for an empty mask.

        Returns:
            Weights [S], sum 1.
        """
        marked = sizes > 0
        present = float(stated[marked].sum() / stated.sum())
        if not 0 < present < 1:
            return self._of_sizes(stated, sizes) if present else stated / stated.sum()
        calibrated = self.presence(present)
        found = np.empty_like(stated)
        found[~marked] = stated[~marked] / stated[~marked].sum() * (1 - calibrated)
        found[marked] = self._of_sizes(stated[marked], sizes[marked]) * calibrated
        return found

    def presence(self, stated: float) -> float:
        """The calibrated probability that something is marked."""
        return float(expit(self.presence_shift + self.presence_slope * log_odds(stated)))

    def _of_sizes(self, stated: Reals, sizes: NDArray[np.intp]) -> Reals:
        """Calibrated weights [S], sum 1, of masks that all mark something."""
        stated = stated / stated.sum()
        if not self.size_shift and not self.size_sharpness:
            return stated
        found = stated * size_factors(log_sizes(sizes, stated), self.size_shift, self.size_sharpness)
        scaled: Reals = found / found.sum()
        return scaled


def log_sizes(sizes: AnyArray, weights: Reals) -> Reals:
    """How far sizes [S] above 0 lie above their weighted median, in nats [S].

    Example:
        >>> log_sizes(np.array([1, 2, 4]), np.full(3, 1 / 3)).round(2).tolist()
        [-0.69, 0.0, 0.69]
    """
    logs = np.log(sizes)
    order = np.argsort(logs, kind="stable")
    below = np.cumsum(weights[order]) - weights[order] / 2
    found: Reals = logs - np.interp(weights.sum() / 2, below, logs[order])
    return found


def size_factors(logs: Reals, shift: float, sharpness: float) -> Reals:
    """What weights are multiplied by, up to a common factor: the largest is 1. `logs` as of `log_sizes`, on any axes."""
    exponent = log_factors(logs, shift, sharpness)
    found: Reals = np.exp(exponent - exponent.max(-1, keepdims=True))
    return found


def log_factors(logs: Reals, shift: float, sharpness: float) -> Reals:
    """The logarithm of what weights are multiplied by, 0 at the median."""
    found: Reals = shift * logs - sharpness * (np.sqrt(logs**2 + ROUNDED**2) - ROUNDED)
    return found


class Calibration(BaseModel):
    """The fitted numbers and what they were fitted on: the content of `calibration.json` in a run folder.

    Attributes:
        slices: of the masks of single images.
        lesions: of the volumes of lesions; None where there were no whole lesions to fit it on.
        extent: which slices of a lesion readers mark; None for a model that does not state this for slices.
        samples: masks per image or lesion from which the numbers were fitted.
        seed: of these masks.
        split: the split that it was fitted on.
        data_hash: content hash of the dataset store.
        weights_hash: SHA-256 of the weights that it belongs to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_number: Literal[3] = 3
    slices: Reweighting
    lesions: Reweighting | None = None
    extent: Extent | None = None
    samples: int
    seed: int
    split: str
    data_hash: str
    weights_hash: str

    @property
    def of_volumes(self) -> Reweighting:
        """The numbers for volumes: those of lesions, else those of slices."""
        return self.lesions or self.slices

    def write(self, run: Path) -> None:
        """Store it in a run folder."""
        write_json(run / FILE, self)


def reweighting(calibration: Calibration | None, *, flat: bool) -> Reweighting | None:
    """The correction for masks of single slices (`flat`), or for volumes; None without a calibration."""
    if calibration is None:
        return None
    return calibration.slices if flat else calibration.of_volumes


def reweighted(
    weights: Reals, labels: NDArray[np.uint8], numbers: Reweighting | None, left_out: float = 0.0
) -> tuple[Reals, float]:
    """The weights of a set of masks, corrected.

    Args:
        weights: of the masks [S], sum 1.
        labels: the masks [S, ...].
        numbers: the correction; None: nothing is changed.
        left_out: the probability of masks that are not among these. They are taken to mark something, so that the corrected
            probability of a lesion does not depend on how many masks were looked at.

    Returns:
        The weights [S], sum 1, and the probability of the masks left out.
    """
    if numbers is None:
        return weights, left_out
    sizes = marked_counts(labels)
    found = numbers.weights(weights, sizes)
    unmarked = float(weights[sizes == 0].sum()) * (1 - left_out)
    if not left_out or not unmarked:
        return found, left_out
    present = numbers.presence(1 - unmarked)
    missing = present * left_out / (1 - unmarked)
    marked = sizes > 0
    found[~marked] *= (1 - present) / found[~marked].sum()
    if marked.any():
        found[marked] *= (present - missing) / found[marked].sum()
    return found / found.sum(), missing


def read_calibration(run: Path, weights_hash: str) -> Calibration | None:
    """The calibration of a run, None if it has none.

    Args:
        run: the run folder.
        weights_hash: SHA-256 of its weights.

    Raises:
        DataError: it is damaged, it was fitted by a version whose numbers meant something else, or it belongs to other
            weights, as after more training.
    """
    file = run / FILE
    if not file.is_file():
        return None
    found = read_json(file, Calibration, f"run `ambiseg calibrate {run}` again")
    if found.weights_hash != weights_hash:
        raise DataError(f"{file} belongs to other weights than the run has now: run `ambiseg calibrate {run}` again.")
    return found
