"""Calibration: how a run's stated probabilities are corrected to agree with its validation readers.

A hypothesis of probability p gets the weight p^(1/T), times exp(empty) if it is the empty mask; "none of these", to which a
model gives no probability, gets the weight exp(none); the weights are divided by their sum. T is the temperature (Guo et
al. 2017), the two others are log-odds, in nats. How they are fitted: `evaluation.calibrate`; why
so: docs/decisions/0009-calibration.md.
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
FLOOR = 1e-3  # of "none of these": that a model does not think of it does not mean that readers do not
TINY = 1e-12


class Calibration(BaseModel):
    """The fitted numbers, and what they were fitted on: `calibration.json` in a run's folder.

    merge, samples: how hypotheses were made when it was fitted. weights_hash: of the weights that it belongs to.
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
        """Calibrated probabilities of stated ones [K + 1], "none of these" last; empty [K + 1]: which is the empty mask."""
        return softmax(scores(stated, empty) @ np.array([1 / self.temperature, self.empty, self.none]))

    def calibrated(self, hypotheses: Hypotheses) -> Hypotheses:
        """All of a model's hypotheses with calibrated probabilities, the most probable first; what "none of these" gets is
        the residual.

        The ends of an interval are what the probability becomes if the hypothesis is stated with them, and the others with
        what is left in the same proportions.
        """
        stated = np.append(hypotheses.probabilities, 0.0)
        believed = self.probabilities(stated, np.append(hypotheses.empty, False))
        order = np.argsort(-np.round(believed[:-1], 12), kind="stable")
        return replace(
            hypotheses,
            masks=hypotheses.masks[order],
            probabilities=believed[order],
            intervals=None if hypotheses.intervals is None else self._intervals(hypotheses, believed[:-1])[order],
            residual=float(believed[-1]),
        )

    def _intervals(self, hypotheses: Hypotheses, believed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated intervals [N, 2] of hypotheses whose calibrated probabilities are `believed` [N]."""
        assert hypotheses.intervals is not None
        assert hypotheses.draws is not None
        least = 1 / (2 * hypotheses.draws)  # of others: that no draw was another mask does not make others impossible
        moved = odds(hypotheses.intervals, least) / odds(hypotheses.probabilities, least)[:, None]
        found = odds(believed, TINY)[:, None] * moved ** (1 / self.temperature)
        return found / (1 + found)

    def write(self, run: Path) -> None:
        """Store it in a run's folder."""
        write_json(run / FILE, self)


def odds(probabilities: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """p / (1 - p), where 1 - p counts as `least` at the least.

    >>> odds(np.array([0.5, 0.75]), 0.01).tolist()
    [1.0, 3.0]
    """
    return np.maximum(probabilities, TINY) / np.maximum(1 - probabilities, least)


def scores(stated: NDArray[np.float64], empty: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What the log-weights are linear in, [K + 1, 3]: log p, whether it is the empty mask, whether it is "none of these".

    stated, empty [K + 1]: stated probabilities and which is the empty mask; the last entry is "none of these", whatever is
    stated of it.
    """
    none = np.arange(len(stated)) == len(stated) - 1
    return np.stack((np.where(none, 0, np.log(np.maximum(stated, TINY))), empty, none), -1)


def read_calibration(run: Path, weights_hash: str) -> Calibration | None:
    """The calibration of a run's weights, None where the run has none.

    Raises DataError when it is damaged or belongs to other weights, as after more training.
    """
    file = run / FILE
    if not file.is_file():
        return None
    found = read_json(file, Calibration, f"run `ambiseg calibrate {run}` again")
    if found.weights_hash != weights_hash:
        raise DataError(f"{file} belongs to other weights than the run has now: run `ambiseg calibrate {run}` again.")
    return found
