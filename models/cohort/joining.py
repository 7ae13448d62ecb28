"""The tables and the overview of a batch, made from the folders of its cases: the same folders give the same bytes."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ambiseg.preprocessing.documents import read_json, write_json
from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.files import PATIENCE, only_writer

from ..prediction.document import Document
from ..results.folder import REPORT
from ..results.result_documents import read_hypotheses
from .batch_folder import BatchFolder, Ending, State, earlier_batch
from .cohort_tables import Tables, cohort_tables, hypothesis_rows, lesion_row
from .overview import Overview, overview

MADE = "tables.json"
NAMED = 20  # cases that a summary names


class TablesRecord(BaseModel):
    """The content of tables.json: what the tables of a batch were made from."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True)

    schema_number: Literal[1] = Field(1, alias="schema", description="1")
    stamp: str = Field(description="changes whenever a case is predicted anew, or another one joins")
    done: int = Field(description="number of cases with a prediction")
    nothing: int = Field(description="number of cases with nothing to predict")
    failed: int = Field(description="number of cases that failed")
    waiting: int = Field(description="number of cases that were not predicted yet")
    failures: dict[str, int] = Field(description="number of cases that failed, by the kind of their reasons")


@dataclass
class Summary:
    """What became of the cases of a batch.

    Attributes:
        endings: how many are done, failed, have nothing to predict, or wait.
        kinds: how many failed, by the kind of the reason.
        waiting: names of the first cases that wait.
    """

    endings: Counter[Ending] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    waiting: list[str] = field(default_factory=list)
    _stamp: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, name: str, state: State) -> None:
        """Count a case."""
        self.endings[state.ending] += 1
        self._stamp.update(f"{name}\0{state.ending}\0{state.stamp}\n".encode(errors="surrogateescape"))
        if state.ending == "failed":
            self.kinds[state.kind] += 1
        if state.ending == "waiting" and len(self.waiting) < NAMED:
            self.waiting.append(name)

    def record(self) -> TablesRecord:
        """The content of tables.json."""
        counts = {ending: self.endings[ending] for ending in ("done", "nothing", "failed", "waiting")}
        return TablesRecord(stamp=self._stamp.hexdigest(), failures=dict(sorted(self.kinds.items())), **counts)


def summary(states: Iterable[tuple[str, State]]) -> Summary:
    """What became of these cases."""
    found = Summary()
    for name, state in states:
        found.add(name, state)
    return found


def is_joined(folder: Path, found: Summary) -> bool:
    """Whether the tables in a folder tell of these states."""
    with only_writer(folder / MADE, PATIENCE, what=f"the tables of {folder}"):
        try:
            return read_json(folder / MADE, TablesRecord, "delete it") == found.record()
        except (DataError, FileNotFoundError):
            return False


def all_settled(batch: BatchFolder) -> bool:
    """Whether no case waits; it stops at the first one that does."""
    return all(state.ending != "waiting" for _, state in batch.states(batch.names()))


def join_batch(folder: Path) -> Summary:
    """Write the tables and the overview of a batch, from what the folders of its cases hold.

    Args:
        folder: the folder of the batch.

    Returns:
        What became of the cases. Those that wait are in no table.

    Raises:
        InputError: if the folder is no batch.
        DataError: if a case's hypotheses.json is damaged, with its path.
        UsageError: if another process writes the tables.
    """
    batch = earlier_batch(folder)
    with only_writer(folder / MADE, PATIENCE, what=f"the tables of {folder}"):
        (folder / MADE).unlink(missing_ok=True)
        found = Summary()
        about = batch.record.asked.about
        with overview(folder, about.model.name) as pages, cohort_tables(folder, about.settings) as tables:
            for name, state in batch.states(batch.names()):
                found.add(name, state)
                _tell(batch, name, state, tables, pages)
        write_json(folder / MADE, found.record().model_dump(mode="json"))
    return found


def _tell(batch: BatchFolder, name: str, state: State, tables: Tables, pages: Overview) -> None:
    """Write the rows of a case, and take it up in the overview."""
    pages.case(name, state)
    if state.ending == "failed":
        tables.failure({"case": name, "kind": state.kind, "reason": state.reason})
    elif state.ending == "nothing":
        tables.nothing({"case": name, "reason": state.reason})
    elif state.ending == "done":
        folder = batch.place(name)
        place = folder.relative_to(batch.path).as_posix()
        document: Document = read_hypotheses(folder)
        for row in hypothesis_rows(name, place, document):
            tables.result(row)
        for lesion in document.lesions:
            tables.lesion(lesion_row(name, place, document, lesion))
            pages.lesion(name, place, document, lesion, report=_has_report(batch, state.missing))


def _has_report(batch: BatchFolder, missing: Sequence[str]) -> bool:
    wanted = batch.record.asked.files.report != "none"
    return wanted and not any(sentence.startswith(REPORT) for sentence in missing)
