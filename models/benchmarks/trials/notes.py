"""`benchmark.json`: what a benchmark has measured of a run so far, one note for each part of the work.

training         steps done, seconds of them, parameters, device, machine
sampling         seconds from an image to a number of masks, by that number
calibration-val  judgement of the hypotheses' probabilities before and after calibration; -test likewise
evaluation-val   how long it took; its figures lie in the folder of this name; -test likewise
failed           why the run could not be trained or measured

A note's `limit` is the number of cases of the split that were measured; null for all of them.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from ambiseg.preprocessing.documents import read_json, write_json

from ...calibration.check_document import JudgementSummary

FILE = "benchmark.json"
AGAIN = "delete it, and the benchmark measures the run again"

Part = Literal["training", "sampling", "calibration-val", "calibration-test", "evaluation-val", "evaluation-test"]


class Training(BaseModel):
    """The note of a finished training."""

    steps: int = Field(ge=0)
    stopped_early: bool = False
    seconds: FiniteFloat
    parameters: int = Field(ge=0)
    device: str
    machine: str


class Judged(BaseModel):
    """The note of a calibration."""

    limit: int | None
    before: JudgementSummary
    after: JudgementSummary


class Evaluated(BaseModel):
    """The note of an evaluation."""

    limit: int | None
    seconds: FiniteFloat


Sampling = dict[int, FiniteFloat]
Note = Training | Sampling | Judged | Evaluated


class Notes(BaseModel):
    """The whole of `benchmark.json`; a part that is not done yet is missing there."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    training: Training | None = None
    sampling: Sampling | None = None
    calibration_val: Judged | None = Field(None, alias="calibration-val")
    calibration_test: Judged | None = Field(None, alias="calibration-test")
    evaluation_val: Evaluated | None = Field(None, alias="evaluation-val")
    evaluation_test: Evaluated | None = Field(None, alias="evaluation-test")
    failed: str | None = None

    def part(self, name: Part) -> Note | None:
        """The note of a part of the work."""
        found: Note | None = getattr(self, name.replace("-", "_"))
        return found

    def calibration(self, split: str) -> Judged | None:
        """The judgement of the calibration on a split."""
        return self.calibration_test if split == "test" else self.calibration_val

    def done(self, name: Part, limit: int | None) -> bool:
        """Whether a part is done, on as many cases as are wanted."""
        found = self.part(name)
        return found is not None and getattr(found, "limit", limit) == limit


def read_notes(run: Path) -> Notes:
    """The notes in a run's folder, without any where there is no file. Raises DataError when they are damaged."""
    file = run / FILE
    return read_json(file, Notes, AGAIN) if file.is_file() else Notes()


def note(run: Path, part: Part, content: Note) -> None:
    """Add the note of a part of the work, in place of an earlier one."""
    _write(run, {part: content})


def note_failure(run: Path, why: str | None) -> None:
    """Note why a run failed; None where it no longer does."""
    _write(run, {"failed": why})


def _write(run: Path, changed: dict[str, object]) -> None:
    notes = Notes.model_validate(read_notes(run).model_dump(by_alias=True) | changed)
    content = notes.model_dump(mode="json", by_alias=True)
    content = {name: value for name, value in content.items() if value is not None}
    if content or (run / FILE).is_file():
        write_json(run / FILE, content)
