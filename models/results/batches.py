"""Many scans: finished cases are skipped the next time, failures are recorded, the other cases go on.

A case in which there is nothing to predict has not failed: it is recorded with the reason, and not tried again. The cases are
predicted in separate processes, so that a damaged file which crashes one or holds it up does no further harm.

<folder>/manifest.json     the request, as a hash, and the state of each case
<folder>/failures.csv      the cases that failed, and why
<folder>/<case>/           one prediction per case
"""

import hashlib
import os
import pickle
from collections.abc import Callable, Sequence, Set
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from ambiseg.preprocessing.documents import json_text, read_json, write_json
from ambiseg.preprocessing.errors import AmbisegError, Interrupted, NothingFound, UsageError
from ambiseg.preprocessing.failures import CaseFailure, write_failures
from ambiseg.preprocessing.files import PATIENCE, check_place, is_leftover, make_folder, only_writer
from ambiseg.preprocessing.scans.cases import Case
from ambiseg.preprocessing.scans.point_files import read_table
from ambiseg.preprocessing.work.engine import CannotStart, Engine, Limits, Make, Outcome
from ambiseg.preprocessing.work.local_processes import LocalProcesses

from ..prediction.predict_scan import Request, about
from ..runs.hardware import keep_freed_memory
from ..runs.trained import Trained
from .folder import predict_to_folder
from .result_documents import INDEX

MANIFEST = "manifest.json"
Work = tuple[Case, Path]  # a case and its folder
Predict = Make[Work, Sequence[str]]  # what could not be made of a case


class Manifest(BaseModel):
    """The content of manifest.json."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True)

    schema_number: Literal[1] = Field(alias="schema", description="1")
    asked_sha256: str = Field(description="SHA-256 of the request: model, settings, formats and table of points")
    cases: dict[str, Literal["done", "failed", "waiting", "nothing"]] = Field(description="the state of each case")
    nothing: dict[str, str] = Field(default={}, description="why there is nothing to predict in a case")
    incomplete: dict[str, list[str]] = Field(default={}, description="what could not be made of cases that are done")


@dataclass
class Batch:
    """The state of the cases of a batch.

    Attributes:
        done: names of the cases predicted now.
        skipped: names of those predicted earlier.
        nothing: the cases in which there is nothing to predict, now or earlier, and why.
        incomplete: sentences about pictures, reports or exports that could not be made of cases that are done.
        failures: the cases that failed, and why.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    nothing: dict[str, str] = field(default_factory=dict)
    incomplete: dict[str, list[str]] = field(default_factory=dict)
    failures: list[CaseFailure] = field(default_factory=list)


def predict_cases(
    trained: Trained,
    cases: Sequence[Case],
    folder: Path,
    request: Request,
    *,
    overwrite: bool = False,
    limits: Limits = Limits(),
    engine: Engine = LocalProcesses(1),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Batch:
    """Predict all cases of a batch that are not done yet, in processes of their own.

    Args:
        trained: the model.
        cases: the scans.
        folder: the folder to write, with one folder per case.
        request: where to look, how hypotheses are made, and what is written.
        overwrite: predict all cases again, whatever the folder holds of another model or request.
        limits: what a case may take; one that takes more is stopped and has failed.
        engine: what has the processes.
        on_progress: called with the number of cases done and their total.

    Returns:
        The state of the cases.

    Raises:
        UsageError: if the folder holds something else, another process is writing it, or the request only makes sense for a
            single scan.
    """
    predict = partial(_prepared, pickle.dumps(trained), torch.get_num_threads(), request, overwrite)
    return predict_batch(
        trained,
        cases,
        folder,
        request,
        predict,
        overwrite=overwrite,
        limits=limits,
        engine=engine,
        on_progress=on_progress,
    )


def predict_batch(
    trained: Trained,
    cases: Sequence[Case],
    folder: Path,
    request: Request,
    predict: Predict,
    *,
    overwrite: bool = False,
    limits: Limits = Limits(),
    engine: Engine = LocalProcesses(1),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Batch:
    """As `predict_cases`, with what makes the function that predicts a case into its folder and returns what it lacks.

    Any error of a case is recorded as its failure. The manifest is written before the first case is started, so that a batch
    that was killed can be continued at any point.
    """
    _check_request(request)
    key = _key(trained, request)
    check_place(folder)
    make_folder(folder)
    with only_writer(folder / MANIFEST, what=str(folder)):
        former = _former(folder, key, overwrite)
        finished = {name for name in former.done if (folder / name / INDEX).is_file()}
        names = {case.name for case in cases}
        batch = Batch(
            nothing={name: why for name, why in former.nothing.items() if name in names},
            incomplete={name: what for name, what in former.incomplete.items() if name in names & finished},
        )
        _note(folder, key, cases, batch, finished)
        batch.skipped += [case.name for case in cases if case.name in finished]
        waiting = [case for case in cases if case.name not in finished and case.name not in batch.nothing]
        work = ((case, folder / case.name) for case in waiting)
        on_progress(len(cases) - len(waiting), len(cases))
        with closing(engine.outcomes(predict, work, limits=limits, shared=[folder])) as outcomes:
            for count, outcome in enumerate(outcomes, len(cases) - len(waiting) + 1):
                _record(outcome, batch)
                _note(folder, key, cases, batch, finished)
                on_progress(count, len(cases))
    return batch


def _check_request(request: Request) -> None:
    """Raise UsageError for what only makes sense for a single scan."""
    places = request.places
    single = {
        "`at`": bool(places.at),
        "`roi`": places.roi is not None,
        "`structures`": bool(places.structures),
        "`lung_mask`": places.lung_mask is not None,
        "`probabilities`": request.probabilities is not None,
        "`series`": request.series is not None,
    }
    given = [name for name, used in single.items() if used]
    if given:
        raise UsageError(
            f"{' and '.join(given)} can only be given for a single scan, but this is a folder of scans: predict that scan by "
            "itself, or give a table of `points` with a column scan."
        )


def _key(trained: Trained, request: Request) -> str:
    """SHA-256 of everything that the predictions depend on, apart from the scans."""
    places = request.places
    points = None if places.points is None else hashlib.sha256(read_table(places.points)).hexdigest()
    asked = {
        **about(trained, request.ranking).plain(),
        "places": [points, places.voxel, places.candidates, places.min_score],
        "exports": asdict(request.exports),
    }
    return hashlib.sha256(json_text(asked).encode()).hexdigest()


def _record(outcome: Outcome[Work, Sequence[str]], batch: Batch) -> None:
    """Record in the batch how a case went."""
    name = outcome.task[0].name
    try:
        missing = outcome.get()
    except (Interrupted, CannotStart):  # no case is to blame
        raise
    except NothingFound as error:
        batch.nothing[name] = str(error)
    except AmbisegError as error:
        batch.failures.append(CaseFailure(name, str(error)))
    except Exception as error:  # a bug in one case must not cost the others
        reason = f"Unexpected error ({type(error).__name__}), a bug in ambiseg: predict this scan alone."
        batch.failures.append(CaseFailure(name, reason))
    else:
        batch.done.append(name)
        if missing:
            batch.incomplete[name] = list(missing)


def _former(folder: Path, key: str, overwrite: bool) -> Batch:
    """The cases that an earlier call with the same request has dealt with, by its manifest."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        if folder.is_dir() and not all(is_leftover(held.name) for held in folder.iterdir()):
            raise UsageError(f"{folder} exists and is not an earlier batch: choose another folder.")
        return Batch()
    if overwrite:
        return Batch()
    remedy = "restore it, or predict all cases again with `overwrite`"
    former = read_json(manifest, Manifest, remedy)
    if former.asked_sha256 != key:
        raise UsageError(
            f"{folder} holds predictions by another model or with other settings: choose another folder, or predict all cases "
            "again with `overwrite`."
        )
    done = [name for name, state in former.cases.items() if state == "done"]
    return Batch(done=done, nothing=former.nothing, incomplete=former.incomplete)


def _note(folder: Path, key: str, cases: Sequence[Case], batch: Batch, finished: Set[str]) -> None:
    """Write the state of the batch. Cases that an earlier call `finished` count as done before they are skipped."""
    states = dict.fromkeys((case.name for case in cases), "waiting")
    states |= dict.fromkeys([*batch.done, *(finished & states.keys())], "done")
    states |= dict.fromkeys((failure.case for failure in batch.failures), "failed")
    states |= dict.fromkeys(batch.nothing, "nothing")
    content = Manifest.model_validate(
        {"schema": 1, "asked_sha256": key, "cases": states, "nothing": batch.nothing, "incomplete": batch.incomplete}
    )
    write_json(folder / MANIFEST, content)
    write_failures(folder / "failures.csv", batch.failures)


def _prepared(trained: bytes, threads: int, request: Request, overwrite: bool) -> Callable[[Work], Sequence[str]]:
    """In a process: the function that predicts a case, with as many threads as this process may have."""
    torch.set_num_threads(min(threads, int(os.environ.get("OMP_NUM_THREADS", threads))))
    model: Trained = pickle.loads(trained)
    if model.device.type == "cpu":
        keep_freed_memory()
    return partial(_predict, model, request, overwrite)


def _predict(trained: Trained, request: Request, overwrite: bool, work: Work) -> Sequence[str]:
    case, folder = work
    waiting = PATIENCE  # for the process of a batch that was killed just now
    return predict_to_folder(
        trained, case.path, folder, request, name=case.name, overwrite=overwrite, patience=waiting
    ).missing
