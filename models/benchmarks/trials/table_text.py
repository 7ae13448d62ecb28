"""Tables of figures: numbers as text, means with their spread, Markdown with aligned columns, CSV."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Protocol, TypeVar

from ambiseg.preprocessing.files import whole_file
from ambiseg.preprocessing.tables import write_table


class OfEntry(Protocol):
    """What belongs to an entry of a benchmark."""

    @property
    def entry(self) -> str:
        """The entry's name."""


R = TypeVar("R", bound=OfEntry)


def by_entry(results: Iterable[R]) -> dict[str, list[R]]:
    """The results of each entry, one a seed; entries in the order given."""
    return {name: list(own) for name, own in groupby(results, key=lambda result: result.entry)}


def short(value: float) -> str:
    """Three decimals, without the zero before the point; a dash where the figure is not defined."""
    return "-" if math.isnan(value) else f"{value:.3f}".replace("0.", ".", 1)


def mean_and_spread(values: Sequence[float], text: Callable[[float], str], *, spread: bool = True) -> str:
    """The mean, and where there are several values and it is wanted their standard deviation."""
    return text(fmean(values)) + (f" ± {text(stdev(values))}" if spread and len(values) > 1 else "")


def markdown_table(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table of rows, the headings first, its columns aligned: the first `left` ones left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * (width - (place >= left)) + ":" * (place >= left) for place, width in enumerate(widths)]
    lines = [
        " | ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        for cells in (rows[0], rule, *rows[1:])
    ]
    return "\n".join(f"| {line} |" for line in lines)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows that have the same columns as CSV for people, a line a row."""
    write_table(path, rows, list(rows[0]), for_people=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole_file(path) as file:
        file.write_text(text, encoding="utf-8")
