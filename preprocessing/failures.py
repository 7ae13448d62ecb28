"""Cases that could not be used, as a CSV with the reasons."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .tables import write_table


@dataclass(frozen=True)
class CaseFailure:
    """A case that could not be used, and why."""

    case: str
    reason: str


def write_failures(path: Path, failures: Sequence[object]) -> None:
    """Write a CSV with one row per failure (frozen dataclasses of one kind); without any, remove an earlier run's file."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    write_table(path, [vars(failure) for failure in failures], list(vars(failures[0])), for_people=True)
