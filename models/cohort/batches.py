"""Many scans: finished cases are skipped the next time, failures are recorded, the other cases go on.

A case in which there is nothing to predict has not failed: it is recorded with the reason, and not tried again. The cases are
predicted in separate processes, so that a damaged file which crashes one or holds it up does no further harm. Several calls, on
one machine or on many, may share a batch: each predicts a part of its cases.

What lies where: see `batch_folder` and `joining`.
"""

import hashlib
import os
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch

from ambiseg.preprocessing.errors import (
    AmbisegError,
    BeingWritten,
    DataError,
    InputError,
    Interrupted,
    NothingFound,
    ResourceError,
    UsageError,
)
from ambiseg.preprocessing.failures import CaseFailure
from ambiseg.preprocessing.files import PATIENCE, check_place, make_folder, only_writer
from ambiseg.preprocessing.scans.cases import Case
from ambiseg.preprocessing.scans.point_files import read_table
from ambiseg.preprocessing.work.engine import CannotStart, Engine, Limits, Make, Outcome, TaskLost
from ambiseg.preprocessing.work.local_processes import LocalProcesses, engine_of

from ..prediction.predict_scan import Request, about
from ..results.folder import OfBatch, predict_to_folder
from ..runs.hardware import keep_freed_memory
from ..runs.trained import Trained
from .batch_folder import Asked, AskedFiles, AskedPlaces, BatchFolder, open_batch
from .joining import Summary, all_settled, is_joined, join_batch

Work = tuple[Case, Path]  # a case and its folder
Predict = Make[Work, Sequence[str]]  # what could not be made of a case
KINDS: Sequence[tuple[type[Exception], str]] = (  # of failures, the first that fits
    (TaskLost, "limit"),
    (ResourceError, "resources"),
    (DataError, "data"),
    (InputError, "input"),
    (UsageError, "usage"),
    (AmbisegError, "other"),
    (Exception, "bug"),
)


@dataclass(frozen=True)
class Part:
    """One of several parts of a batch: of the cases in the order of their names, each `of`th from the `number`th on.

    Example:
        >>> Part.parse("2/3").own(["a", "b", "c", "d", "e"])
        ['b', 'e']
    """

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> "Part":
        """The part that "2/8" means: the second of eight. Raises UsageError for anything else."""
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        number, of = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= of:
            raise UsageError(
                f"`part` is {text!r}: expected I/N with I from 1 to N, such as 2/8 for the second of eight parts."
            )
        return cls(number, of)

    def own(self, cases: Sequence[Case]) -> Sequence[Case]:
        """The cases of this part, of all cases sorted by name."""
        return cases[self.number - 1 :: self.of]

    def __str__(self) -> str:
        return f"part {self.number} of {self.of}"


WHOLE = Part()


@dataclass
class Batch:
    """The state of the cases of a batch, or of a part of one.

    Attributes:
        done: names of the cases predicted now.
        skipped: names of those predicted earlier.
        nothing: the cases in which there is nothing to predict, now or earlier, and why.
        incomplete: sentences about pictures, reports or exports that could not be made of cases that are done.
        failures: the cases that failed, and why.
        elsewhere: names of the cases that another process predicts just now.
        changed: whether any case has ended in another way than before.
        whole: the state of all cases, where the tables tell of it; None: other parts go on, or write the tables.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    nothing: dict[str, str] = field(default_factory=dict)
    incomplete: dict[str, list[str]] = field(default_factory=dict)
    failures: list[CaseFailure] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    changed: bool = False
    whole: Summary | None = None

    @property
    def count(self) -> int:
        """How many cases there are, all in all."""
        return sum(map(len, (self.done, self.skipped, self.nothing, self.failures, self.elsewhere)))


def predict_cases(
    trained: Trained,
    cases: Sequence[Case],
    folder: Path,
    request: Request,
    *,
    overwrite: bool = False,
    part: Part = WHOLE,
    limits: Limits = Limits(),
    workers: int | Engine | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Batch:
    """Predict all cases of a batch that are not done yet, in processes of their own.

    Args:
        trained: the model.
        cases: the scans.
        folder: the folder to write, with one folder per case.
        request: where to look, how hypotheses are made, and what is written.
        overwrite: predict all cases again, whatever the folder holds of another model or request.
        part: which of the cases to predict. Several parts may share the folder at the same time, on several machines.
        limits: what a case may take; one that takes more is stopped and has failed.
        workers: processes, or the engine that has them; None: one per core with one thread each, or one per CUDA device,
            and fewer where memory is short.
        on_progress: called with the number of cases done and their total.

    Returns:
        The state of the cases. The tables and the overview of the whole batch are written when no case waits any more.

    Raises:
        UsageError: if the folder holds something else, another process is writing the same part, or the request only makes
            sense for a single scan.
    """
    of_batch = OfBatch(folder, asked_of(trained, request).sha256)
    predict = partial(_prepared, pickle.dumps(trained), torch.get_num_threads(), request, overwrite, of_batch)
    return predict_batch(
        trained,
        cases,
        folder,
        request,
        predict,
        overwrite=overwrite,
        part=part,
        limits=limits,
        engine=engine_on(workers, trained.device),
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
    part: Part = WHOLE,
    limits: Limits = Limits(),
    engine: Engine = LocalProcesses(1),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Batch:
    """As `predict_cases`, with what makes the function that predicts a case into its folder and returns what it lacks.

    A prediction must hold hypotheses.json, and run.json with the batch's hash. Any error of a case is recorded in its folder as
    its failure, so that a batch that was killed can be continued at any point.
    """
    _check_request(request)
    check_place(folder)
    engine.check()
    make_folder(folder)
    cases = sorted(cases, key=lambda case: case.name)
    own = part.own(cases)
    with only_writer(folder / f"part-{part.number}-of-{part.of}", what=f"{folder}" + f", {part}" * (part != WHOLE)):
        held = open_batch(folder, asked_of(trained, request), [case.name for case in cases], overwrite=overwrite)
        batch, former = Batch(), Summary()
        waiting = list(_waiting(held, own, batch, former, overwrite))
        held.clear_leftovers({*batch.skipped, *batch.nothing})
        total, settled = len(own), len(own) - len(waiting)
        on_progress(settled, total)
        work = _still_waiting(held, waiting, batch, overwrite)
        read = [case.path for case in waiting[:1]]
        with closing(engine.outcomes(predict, work, limits=limits, shared=[folder], read=read)) as outcomes:
            for outcome in outcomes:
                _record(outcome, held, batch)
                on_progress(min(batch.count, total), total)
        on_progress(total, total)
        with suppress(BeingWritten):  # by a part that ended at the same time
            batch.whole = _joined(held, part, former if part == WHOLE and not (batch.changed or overwrite) else None)
    return batch


def _joined(held: BatchFolder, part: Part, known: Summary | None) -> Summary | None:
    """The state of all cases, after their tables are written unless they tell of it already; None: other parts go on."""
    if known is not None and is_joined(held.path, known):
        return known
    return join_batch(held.path) if part == WHOLE or all_settled(held) else None


def asked_of(trained: Trained, request: Request) -> Asked:
    """Everything that the predictions depend on, apart from the scans."""
    places, files = request.places, request.exports
    points = None if places.points is None else hashlib.sha256(read_table(places.points)).hexdigest()
    return Asked(
        about=about(trained, request.ranking),
        places=AskedPlaces(
            points_sha256=points, voxel=places.voxel, candidates=places.candidates, min_score=places.min_score
        ),
        files=AskedFiles.model_validate(asdict(files)),
    )


def engine_on(workers: int | Engine | None, device: torch.device) -> Engine:
    """The engine for a model on a device. Without a number, "cuda" means each CUDA device, and "cuda:1" that one."""
    if isinstance(workers, Engine) or device.type == "cpu":
        return engine_of(workers)
    if device.index is not None:
        return LocalProcesses(workers or 1)
    seen = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    return LocalProcesses(workers, tuple(seen.split(",")))


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


def _waiting(
    held: BatchFolder, cases: Sequence[Case], batch: Batch, former: Summary, overwrite: bool
) -> Iterator[Case]:
    """The cases that are to be predicted; what is known of the others goes into the batch and the summary."""
    if overwrite:
        yield from cases
        return
    for case in cases:
        state = held.state(case.name)
        former.add(case.name, state)
        if state.ending == "done":
            batch.skipped.append(case.name)
            if state.missing:
                batch.incomplete[case.name] = list(state.missing)
        elif state.ending == "nothing":
            batch.nothing[case.name] = state.reason
        else:
            yield case


def _still_waiting(held: BatchFolder, cases: Sequence[Case], batch: Batch, overwrite: bool) -> Iterator[Work]:
    """The cases with their folders, but for those that another process has predicted meanwhile."""
    for case in cases:
        if overwrite or held.state(case.name).ending in ("waiting", "failed"):
            yield case, held.place(case.name)
        else:
            batch.skipped.append(case.name)


def _record(outcome: Outcome[Work, Sequence[str]], held: BatchFolder, batch: Batch) -> None:
    """Record how a case went: in the batch, and in the case's folder if it has no prediction."""
    name = outcome.task[0].name
    try:
        missing = outcome.get()
    except (Interrupted, CannotStart):  # no case is to blame
        raise
    except BeingWritten:
        batch.elsewhere.append(name)
    except NothingFound as error:
        batch.nothing[name] = str(error)
        batch.changed |= held.note(name, "nothing", "nothing", str(error))
    except Exception as error:
        reason = str(error)
        if not isinstance(error, AmbisegError):  # a bug in one case must not cost the others
            reason = f"Unexpected error ({type(error).__name__}), a bug in ambiseg: predict this scan alone."
        batch.failures.append(CaseFailure(name, reason))
        kind = next(kind for of, kind in KINDS if isinstance(error, of))
        batch.changed |= held.note(name, "failed", kind, reason)
    else:
        batch.done.append(name)
        batch.changed = True
        if missing:
            batch.incomplete[name] = list(missing)


def _prepared(
    trained: bytes, threads: int, request: Request, overwrite: bool, of_batch: OfBatch
) -> Callable[[Work], Sequence[str]]:
    """In a process: the function that predicts a case, with as many threads as this process may have."""
    torch.set_num_threads(min(threads, int(os.environ.get("OMP_NUM_THREADS", threads))))
    model: Trained = pickle.loads(trained)
    if model.device.type == "cpu":
        keep_freed_memory()
    return partial(_predict, model, request, overwrite, of_batch)


def _predict(trained: Trained, request: Request, overwrite: bool, of_batch: OfBatch, work: Work) -> Sequence[str]:
    case, folder = work
    waiting = PATIENCE  # for the process of a batch that was killed just now
    return predict_to_folder(
        trained, case.path, folder, request, name=case.name, overwrite=overwrite, batch=of_batch, patience=waiting
    ).missing
