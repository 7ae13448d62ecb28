"""The measured runs of a benchmark, read from their folders, and as rows of a table."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.tables import read_table

from ...evaluation.evaluation import CASES
from ...evaluation.stored import StoredEvaluation, read_evaluation
from ...evaluation.summary_document import AGAIN
from ...metrics.catalogue import DRAWS, LESION_CHIEF
from ...metrics.summary import Figure
from ...runs.run_folder import Run
from ...runs.run_record import RunRecord
from .lidc_trials import RUNS, TIMED
from .notes import Notes, Training, read_notes

GED = tuple(f"ged{n}_{kind}" for kind in "vu" for n in DRAWS)
FIGURES = (*GED, "hm_iou16", "sample_diversity16", "reader_diversity", "top_dice", "best_dice", "empty_error")
POOLED = ("ambiguity_auroc",)
NAME = re.compile(r"(.+)-seed(\d+)")  # of a run folder

T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """A run that has been measured on a split: its entry and seed, record, notes, and its evaluation case by case."""

    entry: str
    seed: int
    record: RunRecord
    notes: Notes
    evaluation: StoredEvaluation

    @property
    def name(self) -> str:
        """The run folder's name."""
        return f"{self.entry}-seed{self.seed}"

    @property
    def split(self) -> str:
        """Where it was measured."""
        return self.evaluation.about.split

    def figure(self, name: str) -> Figure:
        """A figure of the evaluation, or "ece_before" and "ece_after" of calibration."""
        if name.startswith("ece_"):
            judged = needed(self.notes.calibration(self.split), self, f"calibration-{self.split}")
            return (judged.before if name == "ece_before" else judged.after).figures.ece.figure
        return needed(self.evaluation.about.figures.get(name), self, name).figure

    @property
    def weighted_ged(self) -> float:
        """GED of the masks with the model's own probabilities, readers' self-pairs included; nan for a sampler."""
        found = self.evaluation.about.figures.get("ged_v")
        return found.figure.mean if found and self.evaluation.about.weights == "exact" else math.nan

    @property
    def has_lesions(self) -> bool:
        """Whether whole lesions were evaluated."""
        return self.evaluation.about.lesions is not None

    def lesion_figure(self, name: str) -> Figure:
        """A figure of whole lesions; nan where only slices were evaluated."""
        lesions = self.evaluation.about.lesions
        found = {} if lesions is None else lesions.figures
        return found[name].figure if name in found else Figure(math.nan, math.nan, math.nan, math.nan, cases=0)

    @property
    def training(self) -> Training:
        """The note of its training."""
        return needed(self.notes.training, self, "training")

    def sampling_ms(self, draws: int) -> float:
        """Milliseconds from one image to that many masks of it."""
        return 1e3 * needed((self.notes.sampling or {}).get(draws), self, "sampling")

    def row(self) -> dict[str, str | int | None]:
        """The run as a row of a CSV; values that are not defined stay blank."""
        training, about, config = self.training, self.evaluation.about, self.record.config
        names = (*FIGURES, "ece_before", "ece_after", *POOLED)
        return {
            "entry": self.entry,
            "method": config.method,
            "options": json.dumps(config.options, sort_keys=True),
            "preset": config.preset,
            "seed": self.seed,
            "steps": training.steps,
            "batch": config.batch,
            "parameters": training.parameters,
            "training_seconds": _cell(training.seconds),
            "device": training.device,
            "machine": training.machine,
            **{f"sampling{n}_ms": _cell(self.sampling_ms(n)) for n in TIMED},
            "split": self.split,
            "cases": len(self.evaluation.rows),
            "patients": len(set(self.evaluation.patients)),
            "crop": "x".join(map(str, about.crop)),
            "weights": about.weights,
            **{key: text for name in names for key, text in _cells(name, self.figure(name)).items()},
            **self._lesion_cells(),
            "data": about.data,
            "data_hash": about.data_hash,
            "weights_hash": about.weights_hash,
            "ambiseg": about.ambiseg,
        }

    def _lesion_cells(self) -> dict[str, str]:
        """The chief figures of whole lesions, where they were evaluated."""
        chief = LESION_CHIEF if self.has_lesions else ()
        cells = [_cells(f"lesion_{name}", self.lesion_figure(name)) for name in chief]
        return {name: text for some in cells for name, text in some.items()}


def needed(value: T | None, one: Measured, name: str) -> T:
    """What must have been measured of a run; DataError where it is missing."""
    if value is None:
        raise DataError(f"{one.evaluation.folder} has no figure {name!r}: {AGAIN}.")
    return value


def read_measured(folder: Path, split: str, limit: int | None = None, *, runs: str = RUNS) -> list[Measured]:
    """The runs in a benchmark's folder that were measured on `limit` cases of a split (None: all), by name and seed."""
    found = []
    for path in run_folders(folder, runs):
        notes = read_notes(path)
        if not notes.done("evaluation-test" if split == "test" else "evaluation-val", limit):
            continue
        found.append(Measured(*entry_and_seed(path), Run.open(path).record, notes, read_evaluation(path, split)))
    return found


def run_folders(folder: Path, runs: str = RUNS) -> list[Path]:
    """The run folders of a benchmark, by entry and seed."""
    paths = [file.parent for file in (folder / runs).glob("*/run.json") if NAME.fullmatch(file.parent.name)]
    return sorted(paths, key=entry_and_seed)


def entry_and_seed(path: Path) -> tuple[str, int]:
    """The entry and the seed that a run folder is named by."""
    match = NAME.fullmatch(path.name)
    assert match
    return match[1], int(match[2])


def perfect(one: Measured) -> Mapping[str, float]:
    """The expected figures of a model that draws from the readers' own distribution; empty where it is not known.

    Where an image's M readers are independent given the image, the V-statistic of N draws has the expectation
    d_YY (1/N + 1/M), with d_YY the distance of two different readers (`metrics.distances`).
    """
    about = one.evaluation.about
    unbiased = {f"ged{n}_u": 0.0 for n in DRAWS}
    if about.known_odds:
        return {name: value for name, value in (about.floor or {}).items() if name in GED} | unbiased
    readers = _readers(one)
    if readers is None:
        return {}
    diversity = one.figure("reader_diversity").mean * readers / (readers - 1)
    return {f"ged{n}_v": diversity * (1 / n + 1 / readers) for n in DRAWS} | unbiased


def _readers(one: Measured) -> int | None:
    """How many readers each case has; None where they differ or a case has but one."""
    table = read_table(one.evaluation.folder / CASES, "one row per case")
    table.need("readers")
    counts = {table.whole_number(case, "readers") for case in table.rows}
    return counts.pop() if len(counts) == 1 and min(counts) > 1 else None


def _cells(name: str, figure: Figure) -> dict[str, str]:
    return {name: _cell(figure.mean), f"{name}_low": _cell(figure.low), f"{name}_high": _cell(figure.high)}


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
