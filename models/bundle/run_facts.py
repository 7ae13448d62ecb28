"""The facts of a run when it is exported, gathered once for the model card and for metadata.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ambiseg.preprocessing.errors import AmbisegError
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_card import split_counts

from ..calibration.check_document import CalibrationCheck
from ..evaluation.folds import FOLDS
from ..evaluation.stored import StoredEvaluation, read_evaluation
from ..runs.run_record import DataRecord
from ..runs.trained import Trained
from .licence import Licence

SPLITS = (FOLDS, "test", "val")  # on which an evaluation counts; the first that there is


@dataclass(frozen=True)
class Said:
    """What the person who exports a model states about it."""

    name: str
    version: str
    authors: str
    description: str
    licence: Licence


@dataclass(frozen=True)
class Facts:
    """The facts of a model.

    Attributes:
        said: What the person who exports it states.
        trained: The model.
        weights_hash: Hash of the exported weights.
        half: Whether they are in half precision.
        rounded: Whether they were rounded to it for this export.
        evaluation: The run's evaluation, with the weights before any rounding; None where there is none.
        check: The check of its calibration on other cases than those of the fit; None where there is none.
        source: Source of the data set; None where the data set was moved or changed.
        counts: (patients, lesions, crops) by split; empty where the data set was moved or changed.
    """

    said: Said
    trained: Trained
    weights_hash: str
    half: bool
    rounded: bool
    evaluation: StoredEvaluation | None
    check: CalibrationCheck | None
    source: str | None
    counts: Mapping[str, tuple[int, int, int]]


def gather(
    run: Path, trained: Trained, said: Said, weights_hash: str, *, half: bool, rounded: bool
) -> tuple[Facts, list[str]]:
    """The facts of a run, and notes on what in its folder was left out."""
    evaluation, notes = _evaluation(run, trained.weights_hash)
    source, counts = _data(trained.record.data)
    return Facts(said, trained, weights_hash, half, rounded, evaluation, _check(run, trained), source, counts), notes


def _evaluation(run: Path, weights_hash: str) -> tuple[StoredEvaluation | None, list[str]]:
    """The run's evaluation on the first of `SPLITS` that belongs to these weights."""
    notes: list[str] = []
    for split in SPLITS:
        folder = run / f"evaluation-{split}"
        if not (folder / "summary.json").is_file():
            continue
        found = read_evaluation(folder, split)
        if found.about.weights_hash == weights_hash:
            return found, notes
        notes.append(f"{folder} belongs to other weights and was left out: run `ambiseg evaluate {run}` again.")
    return None, notes


def _check(run: Path, trained: Trained) -> CalibrationCheck | None:
    """The check of the run's calibration, if it belongs to this calibration."""
    found = None if trained.calibration is None else CalibrationCheck.read(run)
    return found if found is not None and found.fitted == trained.calibration else None


def _data(data: DataRecord) -> tuple[str | None, dict[str, tuple[int, int, int]]]:
    """The data set's source and counts by split, if it is still what the run was trained on."""
    try:
        store = Store.open(data.path)
        if store.content_hash == data.content_hash:
            counts = {split: split_counts(store, split) for split in ("train", "val", "test")}
            return " ".join(store.manifest.source.split()), counts
    except AmbisegError:  # moved or damaged: the model can be shared without it
        pass
    return None, {}
