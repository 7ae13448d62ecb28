"""Many scans, one after the other: what is done is skipped the next time, what fails is written down, the rest goes on.

A case in which there is nothing to predict is neither: it is written down with the reason, and not tried again.

<folder>/manifest.json     what was asked, as a hash, and how far each case is
<folder>/failures.csv      the cases that failed, and why
<folder>/<case>/           a prediction each
"""

import hashlib
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ambiseg.preprocessing.documents import json_text, read_json, write_json
from ambiseg.preprocessing.errors import AmbisegError, Interrupted, NothingFound, UsageError
from ambiseg.preprocessing.failures import CaseFailure, write_failures
from ambiseg.preprocessing.files import check_place, is_leftover, make_folder, only_writer
from ambiseg.preprocessing.lone_worker import CannotStart
from ambiseg.preprocessing.scans.cases import Case

from ..prediction.lesion_points import read_table
from ..prediction.predict_scan import Request, about
from ..runs.trained import Trained
from .folder import INDEX

MANIFEST = "manifest.json"


class Manifest(BaseModel):
    """The content of manifest.json; `incomplete`: what could not be made of cases that are done."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True)

    schema_number: Literal[1] = Field(alias="schema")
    asked_sha256: str
    cases: dict[str, Literal["done", "failed", "waiting", "nothing"]]
    nothing: dict[str, str] = {}
    incomplete: dict[str, list[str]] = {}


@dataclass
class Batch:
    """How far the cases of a batch are: names of those `done` now and `skipped`, done before, and the `failures`.

    nothing: the cases in which there is nothing to predict, found so now or before, and why. incomplete: sentences about what
    could not be made of cases that are done, a picture or an export, now or before.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    nothing: dict[str, str] = field(default_factory=dict)
    incomplete: dict[str, list[str]] = field(default_factory=dict)
    failures: list[CaseFailure] = field(default_factory=list)


def predict_batch(
    trained: Trained,
    cases: Sequence[Case],
    folder: Path,
    request: Request,
    predict: Callable[[Case, Path], Sequence[str]],
    *,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Batch:
    """Call `predict(case, folder of the case)` for each case that is not done yet; it says what could not be made of it.

    A folder with predictions of another model or request is refused unless `overwrite`. Any error of a case is its
    failure. The manifest stands before the first case is begun, so that a batch that was killed goes on wherever it was.
    Raises UsageError where the request speaks of one scan, and where another process is at work on the same folder.
    """
    _check_request(request)
    key = _key(trained, request)
    check_place(folder)
    make_folder(folder)
    with only_writer(folder / MANIFEST):
        former = _former(folder, key, overwrite)
        finished = {name for name in former.done if (folder / name / INDEX).is_file()}
        names = {case.name for case in cases}
        batch = Batch(
            nothing={name: why for name, why in former.nothing.items() if name in names},
            incomplete={name: what for name, what in former.incomplete.items() if name in names & finished},
        )
        _note(folder, key, cases, batch, finished)
        for count, case in enumerate(cases):
            on_progress(count, len(cases))
            if case.name in finished:
                batch.skipped.append(case.name)
            elif case.name not in batch.nothing:
                _attempt(predict, case, folder / case.name, batch)
                _note(folder, key, cases, batch, finished)
        on_progress(len(cases), len(cases))
    return batch


def _check_request(request: Request) -> None:
    """Raise UsageError for what can only be said of a single scan."""
    places = request.places
    single = {
        "--at": bool(places.at),
        "--roi": places.roi is not None,
        "--lung-mask": places.lung_mask is not None,
        "--probabilities": request.probabilities is not None,
        "--series": request.series is not None,
    }
    given = [option for option, used in single.items() if used]
    if given:
        raise UsageError(
            f"{' and '.join(given)} can be said of one scan only, and a folder of scans was given: predict that scan by "
            "itself, or give a table of --points with a column scan."
        )


def _key(trained: Trained, request: Request) -> str:
    """SHA-256 of all that the predictions depend on beside the scans."""
    places = request.places
    points = None if places.points is None else hashlib.sha256(read_table(places.points)).hexdigest()
    asked = {
        **about(trained, request.ranking).plain(),
        "places": [points, places.voxel, places.candidates],
        "formats": list(request.formats),
    }
    return hashlib.sha256(json_text(asked).encode()).hexdigest()


def _attempt(predict: Callable[[Case, Path], Sequence[str]], case: Case, folder: Path, batch: Batch) -> None:
    """Predict a case and say in the batch how it went."""
    try:
        missing = predict(case, folder)
    except (Interrupted, CannotStart):  # no case is to blame
        raise
    except NothingFound as error:
        batch.nothing[case.name] = str(error)
    except AmbisegError as error:
        batch.failures.append(CaseFailure(case.name, str(error)))
    except Exception as error:  # a fault of ours in one case must not cost the others
        reason = f"Unexpected error ({type(error).__name__}), a fault in ambiseg: predict it alone."
        batch.failures.append(CaseFailure(case.name, reason))
    else:
        batch.done.append(case.name)
        if missing:
            batch.incomplete[case.name] = list(missing)


def _former(folder: Path, key: str, overwrite: bool) -> Batch:
    """What is done, and where nothing was found, by the manifest of a former call that asked the same."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        if folder.is_dir() and not all(is_leftover(held.name) for held in folder.iterdir()):
            raise UsageError(f"{folder} exists and is no former batch: choose another folder with -o.")
        return Batch()
    if overwrite:
        return Batch()
    remedy = "restore it, or predict all cases again with --overwrite"
    former = read_json(manifest, Manifest, remedy)
    if former.asked_sha256 != key:
        raise UsageError(
            f"{folder} holds predictions by another model or other settings: choose another folder with -o, or predict "
            "all again with --overwrite."
        )
    done = [name for name, state in former.cases.items() if state == "done"]
    return Batch(done=done, nothing=former.nothing, incomplete=former.incomplete)


def _note(folder: Path, key: str, cases: Sequence[Case], batch: Batch, finished: Set[str]) -> None:
    """Write how far the batch is; what a former call `finished` is done even before its turn comes to be skipped."""
    states = dict.fromkeys((case.name for case in cases), "waiting")
    states |= dict.fromkeys([*batch.done, *(finished & states.keys())], "done")
    states |= dict.fromkeys((failure.case for failure in batch.failures), "failed")
    states |= dict.fromkeys(batch.nothing, "nothing")
    content = {"schema": 1, "asked_sha256": key, "cases": states, "nothing": batch.nothing}
    write_json(folder / MANIFEST, content | {"incomplete": batch.incomplete})
    write_failures(folder / "failures.csv", batch.failures)
