"""Calibration: how a run's stated probabilities become ones that its validation readers bear out.

A hypothesis of probability p gets the weight p^(1/T), times exp(empty) if it is the empty mask; the residual, "none of
these", likewise times exp(residual); the weights are divided by their sum. T is the temperature (Guo et al. 2017), the two
others are shifts of log-odds, in nats. How they are fitted: `metrics.calibrate`; why so: docs/decisions/0009-calibration.md.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.files import whole_file

from .hypotheses import Hypotheses

FILE = "calibration.json"
FLOOR = 1e-3  # what a smaller residual counts as: that a model has no doubt does not mean that readers have none
TINY = 1e-12


class Calibration(BaseModel):
    """The fitted numbers, and what they were fitted on: `calibration.json` in a run's folder.

    top, merge, samples: how hypotheses were made when it was fitted. weights_hash: of the weights that it belongs to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_number: Literal[1] = 1
    temperature: float = Field(gt=0)
    empty: float = 0.0
    residual: float = 0.0
    top: int
    merge: float
    samples: int
    seed: int
    split: str
    data_hash: str
    weights_hash: str

    def probabilities(self, stated: NDArray[np.float64], empty: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Calibrated probabilities of stated ones [K + 1], the residual last; empty [K + 1]: which is the empty mask."""
        weights = np.exp(scores(stated, empty) @ np.array([1 / self.temperature, self.empty, self.residual]))
        return np.asarray(weights / weights.sum())

    def calibrated(self, hypotheses: Hypotheses) -> Hypotheses:
        """The hypotheses with calibrated probabilities, intervals and residual, the most probable first.

        The ends of an interval are what the probability would become if the hypothesis were stated with them.
        """
        stated = np.append(hypotheses.probabilities, hypotheses.residual)
        empty = np.append(~hypotheses.masks.reshape(len(hypotheses.masks), -1).any(1), False)
        believed = self.probabilities(stated, empty)
        order = np.argsort(-np.round(believed[:-1], 12), kind="stable")
        intervals = hypotheses.intervals
        if intervals is not None:
            others = (1 - believed[:-1]) / np.maximum(
                believed[:-1], TINY
            )  # weight of all others, in the hypothesis' own
            moved = (np.maximum(intervals, TINY) / stated[:-1, None]) ** (1 / self.temperature)
            intervals = (moved / (moved + others[:, None]))[order]
        return replace(
            hypotheses,
            masks=hypotheses.masks[order],
            probabilities=believed[order],
            intervals=intervals,
            residual=float(believed[-1]),
        )

    def write(self, run: Path) -> None:
        """Store it in a run's folder."""
        with whole_file(run / FILE) as file:
            file.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def scores(stated: NDArray[np.float64], empty: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What the log-weights are linear in, [K + 1, 3]: log p, whether it is the empty mask, whether it is the residual.

    stated, empty [K + 1]: stated probabilities, the residual last, and which is the empty mask.
    """
    residual = np.arange(len(stated)) == len(stated) - 1
    logs = np.log(np.maximum(stated, np.where(residual, FLOOR, TINY)))
    return np.stack((logs, empty, residual), -1)


def read_calibration(run: Path, weights_hash: str) -> Calibration | None:
    """The calibration of a run's weights, None where the run has none.

    Raises DataError when it is damaged or belongs to other weights, as after more training.
    """
    file = run / FILE
    if not file.is_file():
        return None
    try:
        found = Calibration.model_validate_json(file.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise DataError(f"{file} is damaged or of another version: run `ambiseg calibrate {run}` again.") from error
    if found.weights_hash != weights_hash:
        raise DataError(f"{file} belongs to other weights than the run has now: run `ambiseg calibrate {run}` again.")
    return found
