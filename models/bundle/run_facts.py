"""What is known of a run when it is exported: gathered once, then said by the model card and by metadata.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ambiseg.preprocessing.errors import AmbisegError
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.store.store_card import split_counts

from ..evaluation.check_document import CalibrationCheck
from ..evaluation.stored import StoredEvaluation, read_evaluation
from ..runs.run_record import DataRecord
from ..runs.trained import Trained
from .licence import Licence

SPLITS = ("test", "val")  # on which an evaluation counts; the first that there is


@dataclass(frozen=True)
class Said:
    """What the exporter of a model says about it."""

    name: str
    version: str
    authors: str
    description: str
    licence: Licence


@dataclass(frozen=True)
class Facts:
    """What can be said of a model.

    weights_hash: of the exported weights, which are rounded to half precision where `half`; evaluation: of the run, by the
    same weights before any rounding; check: what `ambiseg calibrate` found on other cases than it was fitted on;
    source, counts: the data set's, and its (patients, lesions, crops) by split, where it still lies where it was.
    """

    said: Said
    trained: Trained
    weights_hash: str
    half: bool
    evaluation: StoredEvaluation | None
    check: CalibrationCheck | None
    source: str | None
    counts: Mapping[str, tuple[int, int, int]]


def gather(run: Path, trained: Trained, said: Said, weights_hash: str, *, half: bool) -> tuple[Facts, list[str]]:
    """The facts of a run, and sentences on what lies in its folder but does not count."""
    evaluation, notes = _evaluation(run, trained.weights_hash)
    source, counts = _data(trained.record.data)
    return Facts(said, trained, weights_hash, half, evaluation, _check(run, trained), source, counts), notes


def _evaluation(run: Path, weights_hash: str) -> tuple[StoredEvaluation | None, list[str]]:
    """The run's evaluation on the first of `SPLITS` that is of these weights."""
    notes: list[str] = []
    for split in SPLITS:
        folder = run / f"evaluation-{split}"
        if not (folder / "summary.json").is_file():
            continue
        found = read_evaluation(folder, split)
        if found.about.weights_hash == weights_hash:
            return found, notes
        notes.append(f"{folder} is of other weights and was left out: run `ambiseg evaluate {run}` again.")
    return None, notes


def _check(run: Path, trained: Trained) -> CalibrationCheck | None:
    """The check of the run's calibration, if it is of this one."""
    found = None if trained.calibration is None else CalibrationCheck.read(run)
    return found if found is not None and found.fitted.calibration == trained.calibration else None


def _data(data: DataRecord) -> tuple[str | None, dict[str, tuple[int, int, int]]]:
    """The data set's source and counts by split, if it is still what the run was trained on."""
    try:
        store = Store.open(data.path)
        if store.content_hash == data.content_hash:
            counts = {split: split_counts(store, split) for split in ("train", "val", "test")}
            return " ".join(store.manifest.source.split()), counts
    except AmbisegError:  # it lies there no more, or is damaged: the model can be shared without it
        pass
    return None, {}
