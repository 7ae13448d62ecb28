"""The table of inputs that could not be used."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from ambiseg.preprocessing.counted import counted

SHOWN = 20  # failures in the table; the files have them all


def failures_table(failures: Sequence[Any], what: str = "input", how: str = "could not be used") -> Table:
    """A table of failures (each with `case` and `reason`), the first of them when there are many; `what` one is, and
    `how` it failed.
    """
    table = Table("case", "reason", title=f"{counted(len(failures), what)} {how}")
    for failure in failures[:SHOWN]:
        table.add_row(failure.case or "-", failure.reason)
    if len(failures) > SHOWN:
        table.add_row("...", f"and {len(failures) - SHOWN} more")
    return table
