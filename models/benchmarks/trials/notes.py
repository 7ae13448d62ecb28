"""What a benchmark has measured of a run so far: `benchmark.json` in the run's folder, one entry a part of the work.

training         steps done, seconds of them, parameters, device, machine
sampling         seconds from an image to so many masks of it
calibration-val  judgement of the hypotheses' probabilities before and after calibration; -test likewise
evaluation-val   how long it took; its figures lie in the folder of this name; -test likewise
failed           why the run could not be trained or measured

What was measured on the first cases of a split alone says of how many: its `limit`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, FiniteFloat

from ambiseg.preprocessing.documents import checked, read_json, shown, write_json

from ...evaluation.judgement import JudgementSummary

FILE = "benchmark.json"
AGAIN = "delete it, and the benchmark measures the run again"


class Training(BaseModel):
    """The note of a finished training."""

    steps: int = Field(ge=0)
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


KINDS: Mapping[str, Any] = {  # of the notes, by the first word of their parts
    "training": Training,
    "sampling": dict[str, FiniteFloat],
    "calibration": Judged,
    "evaluation": Evaluated,
    "failed": str,
}


def read_notes(run: Path) -> dict[str, Any]:
    """The notes in a run's folder by their part; empty where there are none yet. Raises DataError when they are damaged."""
    file = run / FILE
    if not file.is_file():
        return {}
    notes = read_json(file, dict[str, Any], AGAIN)
    for part, content in notes.items():
        checked(content, KINDS.get(part.split("-")[0], Any), f"{file}, {shown(part)},", AGAIN)
    return notes


def done(notes: Mapping[str, Any], part: str, limit: int | None) -> bool:
    """Whether a part is among the notes, measured on as many cases as are wanted."""
    return part in notes and notes[part].get("limit", limit) == limit


def note(run: Path, part: str, content: Any) -> None:
    """Add a part to a run's notes, or put it in the earlier one's place; None takes it away."""
    notes = {name: value for name, value in read_notes(run).items() if name != part}
    if content is not None:
        notes[part] = content
    if notes or (run / FILE).is_file():
        write_json(run / FILE, notes)
