"""Cases that could not be used, as a CSV with the reasons."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files import whole_file


@dataclass(frozen=True)
class CaseFailure:
    """A case that could not be used, and why."""

    case: str
    reason: str


def write_failures(path: Path, failures: Sequence[Any]) -> None:
    """A CSV with a row a failure (frozen dataclasses of one kind); without failures, an earlier run's is removed."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    with whole_file(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(vars(failures[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(vars(failure) for failure in failures)
