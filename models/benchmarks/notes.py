"""What a benchmark has measured of a run so far: `benchmark.json` in the run's folder, one entry a part of the work.

training         steps done, seconds of them, parameters, device, machine
sampling         seconds from an image to so many masks of it
calibration-val  judgement of the hypotheses' probabilities before and after calibration; -test likewise
evaluation-val   how long it took; its figures lie in the folder of this name; -test likewise
failed           why the run could not be trained or measured

What was measured on the first cases of a split alone says of how many: its `limit`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ambiseg.preprocessing.errors import DataError

from .tables import write_text

FILE = "benchmark.json"


def read_notes(run: Path) -> dict[str, Any]:
    """The notes in a run's folder by their part; empty where there are none yet. Raises DataError when they are damaged."""
    file = run / FILE
    if not file.is_file():
        return {}
    try:
        notes = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{file} is damaged: delete it, and the benchmark measures the run again.") from error
    if not isinstance(notes, dict):
        raise DataError(f"{file} is damaged: delete it, and the benchmark measures the run again.")
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
        write_text(run / FILE, json.dumps(notes, indent=1, allow_nan=False) + "\n")
