"""Tables of figures as text: numbers, means with their spread, Markdown with aligned columns."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, stdev
from typing import Generic, Protocol, TypeVar


class OfEntry(Protocol):
    """What belongs to an entry of a benchmark."""

    @property
    def entry(self) -> str:
        """The entry's name."""


R = TypeVar("R", bound=OfEntry)
T = TypeVar("T")


@dataclass(frozen=True)
class Column(Generic[T]):
    """A column of a table: its heading, the number that it shows of a result, and how this is written.

    truth: the value of a perfect model, where it is known; such columns show the spread over seeds.
    count: whether it is a count, which most often is the same for all seeds and then has no spread.
    timed: whether it is a time: shown of the first seed alone, since other seeds may have been run on other machines.
    """

    heading: str
    value: Callable[[T], float]
    text: Callable[[float], str]
    truth: Callable[[T], float] | None = None
    count: bool = False
    timed: bool = False

    def cell(self, results: Sequence[T], *, spread: bool) -> str:
        """The mean over an entry's results, and its spread if that is wanted for all columns or there is a truth.

        >>> Column[int]("steps", lambda steps: steps, "{:,.0f}".format, count=True).cell([1000, 1000], spread=True)
        '1,000'
        """
        values = [self.value(one) for one in (results[:1] if self.timed else results)]
        same = self.count and len(set(values)) == 1
        return mean_and_spread(values, self.text, spread=(spread or self.truth is not None) and not same)


def by_entry(results: Iterable[R]) -> dict[str, list[R]]:
    """The results of each entry, one per seed; entries in the order given."""
    return {name: list(own) for name, own in groupby(results, key=lambda result: result.entry)}


def entry_rows(
    entries: Mapping[str, Sequence[T]], columns: Sequence[Column[T]], *, spread: bool = False
) -> list[list[str]]:
    """The headings, and one row per entry with means over its seeds.

    spread: whether all columns show the standard deviation over seeds, and not only those with a known truth.
    """
    rows = [["entry", *(column.heading for column in columns)]]
    rows += [[name, *(column.cell(own, spread=spread) for column in columns)] for name, own in entries.items()]
    return rows


def short(value: float) -> str:
    """Three decimals, without the zero before the point; a dash where the figure is not defined.

    >>> short(0.1234), short(float("nan"))
    ('.123', '-')
    """
    return "-" if math.isnan(value) else f"{value:.3f}".replace("0.", ".", 1)


def mean_and_spread(values: Sequence[float], text: Callable[[float], str], *, spread: bool = True) -> str:
    """The mean, and the standard deviation where there are several values and it is wanted; of values that are not all defined
    there is neither.

    >>> mean_and_spread([0.1, 0.3], short), mean_and_spread([0.1, float("nan")], short)
    ('.200 ± .141', '-')
    """
    mean = fmean(values)
    spread = spread and len(values) > 1 and math.isfinite(mean)
    return text(mean) + (f" ± {text(stdev(values))}" if spread else "")


def markdown_table(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table of rows, the headings first. The first `left` columns are aligned left, the others right."""
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
