"""A batch on disk: what was asked for, and what became of each case, which lies with the case.

<folder>/batch.json                      the request, written once
<folder>/cases.jsonl                     the names of the cases, one in a line
<folder>/<case>/                         a prediction, or the reason why there is none
<folder>/<two digits>/<case>/            the same in a batch of many cases

Nothing is rewritten when a case is done, so that a case costs the same in a batch of ten and of a million. A case is done when
its folder holds a prediction that carries the hash of the request.
"""

import hashlib
import json
import os
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ambiseg.preprocessing.documents import json_text, parse_json, read_json, write_json
from ambiseg.preprocessing.errors import DataError, InputError, UsageError
from ambiseg.preprocessing.files import (
    PATIENCE,
    clear_leftovers,
    is_leftover,
    make_folder,
    only_writer,
    whole_file,
    whole_folder,
)

from ..prediction.document import About
from ..results.folder import NOT_PREDICTED
from ..results.prediction_page import SHARED
from ..results.result_documents import INDEX, RUN

BATCH, CASES, OLD = "batch.json", "cases.jsonl", "manifest.json"
TABLES = ("results.csv", "lesions.csv", "failures.csv", "results.parquet", "lesions.parquet", "tables.json")
OVERVIEW, PAGES = "index.html", "overview"
OURS = {BATCH, CASES, SHARED, OVERVIEW, PAGES, *TABLES}
FLAT = 4096  # cases that a folder holds without folders between
AGAIN = "predict all cases again with `overwrite`"
Ending = Literal["done", "failed", "nothing", "waiting"]


class AskedPlaces(BaseModel):
    """Where lesions are looked for."""

    model_config = ConfigDict(frozen=True)

    points_sha256: str | None = Field(description="SHA-256 of the table of points; null: there is none")
    voxel: bool = Field(description="whether the points are voxel indices")
    candidates: int = Field(description="largest number of lesions of a search")
    min_score: float | None = Field(description="what scores lower is left out; null: the default")


class AskedFiles(BaseModel):
    """Which files are written for each case."""

    model_config = ConfigDict(frozen=True)

    formats: list[str] = Field(description="formats beside NIfTI")
    seg: str = Field(description="`all` or `each`: the hypotheses of a lesion in one DICOM SEG, or each in its own")
    layout: str = Field(description="`plain` or `bids`: how masks and maps are named")
    report: str = Field(description="`single`, `shared` or `none`: how reports are written")


class Asked(BaseModel):
    """A batch's request: all that its predictions depend on, but for the scans."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True)

    about: About = Field(description="program, model, settings and classes, as in hypotheses.json")
    places: AskedPlaces = Field(description="where it looks for lesions")
    files: AskedFiles = Field(description="what it writes")

    @cached_property
    def sha256(self) -> str:
        """Its hash."""
        return hashlib.sha256(json_text(self.plain()).encode()).hexdigest()

    def plain(self) -> dict[str, object]:
        """The request in plain values."""
        return {"about": self.about.plain(), "places": self.places.model_dump(), "files": self.files.model_dump()}


class BatchRecord(BaseModel):
    """The content of batch.json."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True)

    schema_number: Literal[1] = Field(alias="schema", description="1")
    asked_sha256: str = Field(description="SHA-256 of `asked`, which each case's run.json carries as `batch_sha256`")
    sharded: bool = Field(
        description="whether a case lies in a folder named by the first two digits of its name's SHA-256, as in batches that "
        "began with more than 4,096 cases"
    )
    asked: Asked = Field(description="the request: model, settings, places and files")


class NotPredicted(BaseModel):
    """The content of not-predicted.json: why a case of a batch has no prediction."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True)

    schema_number: Literal[1] = Field(1, alias="schema", description="1")
    batch_sha256: str = Field(description="`asked_sha256` of the batch")
    state: Literal["failed", "nothing"] = Field(
        description="`failed`: it is tried again the next time; `nothing`: there is nothing to predict in it"
    )
    kind: str = Field(description="kind of the reason, as in failures.csv")
    reason: str = Field(description="the reason, one sentence")


class _Told(BaseModel):
    """What is read of a case's run.json."""

    model_config = ConfigDict(extra="ignore")

    missing: list[str] = []


@dataclass(frozen=True)
class State:
    """What became of a case.

    Attributes:
        ending: "done", "failed", "nothing" (to predict), or "waiting".
        kind: the kind of the reason why it failed or has nothing to predict.
        reason: the reason.
        missing: sentences about what could not be made of a case that is done.
        stamp: changes whenever the case is written anew.
    """

    ending: Ending
    kind: str = ""
    reason: str = ""
    missing: Sequence[str] = ()
    stamp: str = ""


WAITING = State("waiting")


@dataclass(frozen=True)
class BatchFolder:
    """The folder of a batch. Several processes may use it at once, on several machines."""

    path: Path
    record: BatchRecord

    def place(self, name: str) -> Path:
        """The folder of a case."""
        return Path(self._where(name))

    def _where(self, name: str) -> str:
        if not self.record.sharded:
            return f"{self.path}/{name}"
        return f"{self.path}/{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:2]}/{name}"

    def names(self) -> Iterator[str]:
        """The names of all cases, sorted, read as they are needed."""
        with (self.path / CASES).open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield str(json.loads(line))
                except ValueError as error:
                    raise DataError(
                        f"{self.path / CASES}, line {number}, is damaged: predict the scans again."
                    ) from error

    def state(self, name: str) -> State:
        """What became of a case, by the files in its folder. A case costs two or three system calls of a file."""
        place = self._where(name)
        stamp, run = _content(f"{place}/{RUN}")
        if self._mark in run and os.path.isfile(f"{place}/{INDEX}"):
            missing = () if b'"missing": []' in run else parse_json(run, _Told, f"{place}/{RUN}", AGAIN).missing
            return State("done", missing=tuple(missing), stamp=stamp)
        stamp, told = _content(f"{place}/{NOT_PREDICTED}")
        if self._mark not in told:
            return WAITING
        why = parse_json(told, NotPredicted, f"{place}/{NOT_PREDICTED}", "delete it")
        return State(why.state, why.kind, why.reason, stamp=stamp)

    def states(self, names: Iterable[str]) -> Iterator[tuple[str, State]]:
        """The names of cases with what became of them, read as they are needed."""
        return ((name, self.state(name)) for name in names)

    def clear_leftovers(self, names: Container[str]) -> None:
        """Remove what killed processes left of these cases."""
        shards = self.path.glob("[0-9a-f][0-9a-f]") if self.record.sharded else [self.path]
        for folder in shards:
            clear_leftovers(folder, names)

    def note(self, name: str, state: Literal["failed", "nothing"], kind: str, reason: str) -> bool:
        """Write down why a case has no prediction; False: it is written there already. An earlier prediction of it goes."""
        place, former = self.place(name), self.state(name)
        if (former.ending, former.kind, former.reason) == (state, kind, reason):
            return False
        why = NotPredicted(batch_sha256=self.record.asked_sha256, state=state, kind=kind, reason=reason)
        content = why.model_dump(mode="json")
        if (place / INDEX).exists():
            with whole_folder(place) as aside:
                write_json(aside / NOT_PREDICTED, content)
        else:
            make_folder(place)
            write_json(place / NOT_PREDICTED, content)
        return True

    @cached_property
    def _mark(self) -> bytes:
        """What every document of this batch holds."""
        return f'"batch_sha256": "{self.record.asked_sha256}"'.encode()


def _content(path: str) -> tuple[str, bytes]:
    """A stamp of a small file and its content; both empty where there is none."""
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError):
        return "", b""
    try:
        found = os.fstat(file)
        return f"{found.st_mtime_ns}-{found.st_size}", os.read(file, found.st_size)
    finally:
        os.close(file)


def open_batch(folder: Path, asked: Asked, names: Sequence[str], *, overwrite: bool) -> BatchFolder:
    """Begin a batch in a folder, or continue one.

    Args:
        folder: the folder, which is made.
        asked: the request.
        names: the cases, sorted.
        overwrite: predict all cases again, whatever the folder holds of another request.

    Raises:
        UsageError: if the folder holds something else, or a batch of another request, and for a case with a name of the
            batch's own files.
        DataError: if batch.json is damaged.
    """
    if taken := [name for name in names if name.casefold() in OURS]:
        raise UsageError(f"{taken[0]} is the name of one of the batch's own files: rename this scan.")
    make_folder(folder)
    with only_writer(folder / BATCH, PATIENCE, what=str(folder)):
        former = _former(folder, overwrite)
        if former is not None and former.asked_sha256 != asked.sha256 and not overwrite:
            raise UsageError(
                f"{folder} holds predictions by another model or with other settings: choose another folder, or {AGAIN}."
            )
        sharded = len(names) > FLAT if former is None else former.sharded
        record = BatchRecord(schema=1, asked_sha256=asked.sha256, sharded=sharded, asked=asked)
        _write_names(folder / CASES, names)
        if former is None or former.asked_sha256 != record.asked_sha256:
            plain = {"schema": 1, "asked_sha256": asked.sha256, "sharded": sharded, "asked": asked.plain()}
            write_json(folder / BATCH, plain)
            (folder / OLD).unlink(missing_ok=True)
    clear_leftovers(folder / SHARED)
    return BatchFolder(folder, record)


def earlier_batch(folder: Path) -> BatchFolder:
    """The batch in a folder.

    Raises:
        InputError: if there is none.
        DataError: if batch.json is damaged.
    """
    if not (folder / BATCH).is_file():
        raise InputError(
            f"{folder} is no batch (it has no {BATCH}): give the folder that `ambiseg predict` wrote for many scans."
        )
    return BatchFolder(folder, read_json(folder / BATCH, BatchRecord, AGAIN))


def _former(folder: Path, overwrite: bool) -> BatchRecord | None:
    """What batch.json says; None where a batch begins."""
    if (folder / BATCH).is_file():
        try:
            return read_json(folder / BATCH, BatchRecord, f"restore it, or {AGAIN}")
        except DataError:
            if overwrite:
                return None
            raise
    if (folder / OLD).is_file():
        if overwrite:
            return None
        raise UsageError(
            f"{folder} holds a batch of an earlier version of ambiseg ({OLD}), which cannot be continued: choose another "
            f"folder, or {AGAIN}."
        )
    if not all(is_leftover(held.name) or held.name == CASES for held in folder.iterdir()):
        raise UsageError(f"{folder} exists and is not an earlier batch: choose another folder.")
    return None


def _write_names(file: Path, names: Sequence[str]) -> None:
    """Write the names of the cases, unless they stand there already."""
    text = "".join(json.dumps(name) + "\n" for name in names)
    with only_writer(file, PATIENCE):
        if not (file.is_file() and file.read_text(encoding="utf-8") == text):
            with whole_file(file) as aside:
                aside.write_text(text, encoding="utf-8")
