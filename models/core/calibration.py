"""Calibration: how the probabilities that a model states become ones that its validation readers confirm.

A hypothesis of probability p gets the weight p^(1/T), times exp(empty) if it is the empty mask. "None of these", to which a
model gives no probability, gets the weight exp(none). The weights are divided by their sum. T is the temperature (Guo et
al. 2017); the two others are log-odds, in nats. `evaluation.calibrate_run` fits them. The reasons for this form are in
docs/decisions/0009-calibration.md.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat
from scipy.special import softmax

from ambiseg.preprocessing.documents import read_json, write_json
from ambiseg.preprocessing.errors import DataError

from .hypotheses import Hypotheses

FILE = "calibration.json"
FLOOR = 1e-3  # of "none of these": a model that never considers it does not make it impossible
TINY = 1e-12


class Calibration(BaseModel):
    """The fitted numbers and what they were fitted on: the content of `calibration.json` in a run folder.

    Attributes:
        temperature: T, above 0; 1 leaves the stated probabilities as they are.
        empty: log-odds of the empty mask, in nats.
        none: log-odds of "none of these", in nats.
        merge: the distance 1 - IoU below which masks were merged into one hypothesis.
        samples: draws per image from which hypotheses were formed.
        seed: of these draws.
        split: the split that it was fitted on.
        data_hash: content hash of the dataset store.
        weights_hash: SHA-256 of the weights that it belongs to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_number: Literal[1] = 1
    temperature: FiniteFloat = Field(gt=0)
    empty: FiniteFloat = 0.0
    none: FiniteFloat = math.log(FLOOR)
    merge: FiniteFloat
    samples: int
    seed: int
    split: str
    data_hash: str
    weights_hash: str

    def probabilities(self, stated: NDArray[np.float64], empty: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Calibrated probabilities of the hypotheses of one image.

        Args:
            stated: the model's probabilities [N + 1], with "none of these" last.
            empty: which hypothesis is the empty mask [N + 1].

        Returns:
            Probabilities [N + 1] that sum to 1.
        """
        weights = scores(stated, empty) @ np.array([1 / self.temperature, self.empty, self.none])
        found: NDArray[np.float64] = softmax(weights)
        return found

    def calibrated(self, hypotheses: Hypotheses) -> Hypotheses:
        """All hypotheses of a model with calibrated probabilities, the most probable first.

        The probability of "none of these" becomes the residual. The ends of an interval are the calibrated probability of
        the hypothesis if it is stated with that end and the others share the rest in the same proportions.
        """
        stated = np.append(hypotheses.probabilities, 0.0)
        calibrated = self.probabilities(stated, np.append(hypotheses.empty, False))
        order = np.argsort(-np.round(calibrated[:-1], 12), kind="stable")
        return replace(
            hypotheses,
            masks=hypotheses.masks[order],
            probabilities=calibrated[order],
            intervals=None if hypotheses.intervals is None else self._intervals(hypotheses, calibrated[:-1])[order],
            residual=float(calibrated[-1]),
        )

    def _intervals(self, hypotheses: Hypotheses, calibrated: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated intervals [N, 2] of hypotheses whose calibrated probabilities are `calibrated` [N]."""
        assert hypotheses.intervals is not None
        assert hypotheses.draws is not None
        least = 1 / (2 * hypotheses.draws)  # of the others: they are not impossible because no draw was one of them
        moved = odds(hypotheses.intervals, least) / odds(hypotheses.probabilities, least)[:, None]
        found = odds(calibrated, TINY)[:, None] * moved ** (1 / self.temperature)
        return found / (1 + found)

    def write(self, run: Path) -> None:
        """Store it in a run folder."""
        write_json(run / FILE, self)


def odds(probabilities: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """p / (1 - p), where 1 - p counts as at least `least`.

    Example:
        >>> odds(np.array([0.5, 0.75]), 0.01).tolist()
        [1.0, 3.0]
    """
    return np.maximum(probabilities, TINY) / np.maximum(1 - probabilities, least)


def scores(stated: NDArray[np.float64], empty: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The features in which the log-weights are linear.

    Args:
        stated: the model's probabilities [N + 1]. The last entry is "none of these", whatever probability it has.
        empty: which hypothesis is the empty mask [N + 1].

    Returns:
        [N + 1, 3]: log p, whether it is the empty mask, whether it is "none of these".
    """
    none = np.arange(len(stated)) == len(stated) - 1
    return np.stack((np.where(none, 0, np.log(np.maximum(stated, TINY))), empty, none), -1)


def read_calibration(run: Path, weights_hash: str) -> Calibration | None:
    """The calibration of a run, None if it has none.

    Args:
        run: the run folder.
        weights_hash: SHA-256 of its weights.

    Raises:
        DataError: it is damaged, or it belongs to other weights, as after more training.
    """
    file = run / FILE
    if not file.is_file():
        return None
    found = read_json(file, Calibration, f"run `ambiseg calibrate {run}` again")
    if found.weights_hash != weights_hash:
        raise DataError(f"{file} belongs to other weights than the run has now: run `ambiseg calibrate {run}` again.")
    return found
