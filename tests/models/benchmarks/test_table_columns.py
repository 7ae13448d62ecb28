"""What a column of a benchmark's table shows of an entry with several seeds."""

from dataclasses import dataclass

import pytest
import torch

from ambiseg.models.benchmarks.cost.timing import device_words
from ambiseg.models.benchmarks.trials.table_text import Column, entry_rows, short

FIGURE = Column[float]("GED16", lambda value: value, "{:.1f}".format)
COUNT = Column[float]("steps", lambda value: value, "{:.0f}".format, count=True)
TIME = Column[float]("training min", lambda value: value, "{:.1f}".format, timed=True)


@dataclass(frozen=True)
class Kind:
    """A kind of column, and its cell for two equal and for two different values."""

    column: Column[float]
    equal: str
    different: str


KINDS = (
    Kind(FIGURE, "2.0 ± 0.0", "3.0 ± 1.4"),
    Kind(COUNT, "2", "3 ± 1"),
    Kind(TIME, "2.0", "2.0"),  # the other seed may have been run on another machine
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.column.heading)
def test_a_cell_of_two_seeds(kind: Kind) -> None:
    """A figure shows its spread also where it is 0, a count where there is one, a time never."""
    assert kind.column.cell([2.0, 2.0], spread=True) == kind.equal
    assert kind.column.cell([2.0, 4.0], spread=True) == kind.different


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.column.heading)
def test_one_seed_has_no_spread(kind: Kind) -> None:
    """One seed gives the same text with and without a spread."""
    assert kind.column.cell([2.0], spread=True) == kind.column.cell([2.0], spread=False)


@pytest.mark.parametrize("others", [[], [float("nan")], [0.5], [0.5, float("nan")]])
def test_a_figure_that_is_not_defined_has_neither_mean_nor_spread(others: list[float]) -> None:
    """As the weighted GED of a sampler, from however many seeds."""
    figure = Column[float]("GED, weighted", lambda value: value, short)
    assert figure.cell([float("nan"), *others], spread=True) == "-"


def test_a_row_holds_every_column() -> None:
    """An entry of two seeds has one row."""
    columns = [kind.column for kind in KINDS]
    rows = entry_rows({"gated": [2.0, 4.0]}, columns, spread=True)
    assert rows == [["entry", "GED16", "steps", "training min"], ["gated", "3.0 ± 1.4", "3 ± 1", "2.0"]]


def test_the_words_of_a_cpu_tell_what_it_computes_with() -> None:
    """Figures of two machines can be told apart, without their names."""
    words = device_words(torch.device("cpu"))
    assert torch.backends.cpu.get_cpu_capability() in words
    assert torch.__version__ in words
