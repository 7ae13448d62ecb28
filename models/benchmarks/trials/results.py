"""What the known-truth benchmark found: one result an entry and seed, and the tables made of them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from ambiseg.preprocessing.documents import read_json, write_json

from ..pages.markdown_tables import by_entry, markdown_table, mean_and_spread, short, write_rows, write_text
from .entries import order

FILE = "result.json"

# A figure; documents have nothing where it is not defined.
Score = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]


@dataclass(frozen=True)
class Result:
    """One entry trained from one seed, measured on the test split.

    ged16: V-statistic of 16 draws, `ged16_floor` what the truth itself would score; ged: unbiased, 0 for the truth;
    mode_error, empty_error: mean absolute errors of the modes' and of the empty mask's probability; diversity: expected
    distance of two of the model's masks, `true_diversity` of two readers'; sampling_ms: 16 masks of one image; modes: for
    each group of images the mean probabilities of the modes, the true ones and the model's.
    """

    entry: str
    method: str
    seed: int
    data: str
    steps: int
    batch: int
    ged16: Score
    ged16_floor: Score
    ged: Score
    hm_iou16: Score
    mode_error: Score
    empty_error: Score
    diversity: Score
    true_diversity: Score
    training_seconds: float
    step_ms: float
    sampling_ms: float
    parameters: int
    machine: str
    modes: Mapping[str, Mapping[str, Sequence[float]]]

    @classmethod
    def read(cls, folder: Path) -> "Result | None":
        """The result in a run folder; None where there is none yet."""
        file = folder / FILE
        return read_json(file, cls, f"delete {folder}, and the benchmark runs it again") if file.is_file() else None

    def write(self, folder: Path) -> None:
        """Write the result into its run folder."""
        write_json(folder / FILE, self.plain())

    def plain(self) -> dict[str, Any]:
        """Plain values for JSON; None where a figure is not defined."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(self).items()
        }


def read_results(folder: Path) -> list[Result]:
    """All results in a benchmark's folder, entries in their order, each by seed."""
    found = [result for file in folder.glob(f"*/{FILE}") if (result := Result.read(file.parent))]
    return sorted(found, key=lambda result: (order(result.entry), result.seed))


def write_results(folder: Path, results: Sequence[Result]) -> None:
    """Write `results.json`, `results.csv` and `results.md`."""
    rows = [result.plain() for result in results]
    write_json(folder / "results.json", rows)
    write_text(folder / "results.md", markdown(results))
    flat = [{name: value for name, value in row.items() if name != "modes"} for row in rows]
    write_rows(folder / "results.csv", flat)


@dataclass(frozen=True)
class Column:
    """A column of the table: its heading, what it shows of a result, how, and what the truth itself would show."""

    heading: str
    value: Callable[[Result], float]
    text: Callable[[float], str]
    truth: Callable[[Result], float] | None = None


COLUMNS = (
    Column("GED16", lambda r: r.ged16, short, lambda r: r.ged16_floor),
    Column("GED, unbiased", lambda r: r.ged, short, lambda r: 0.0),
    Column("HM-IoU16", lambda r: r.hm_iou16, short),
    Column("mode error", lambda r: r.mode_error, short, lambda r: 0.0),
    Column("P(empty) error", lambda r: r.empty_error, short, lambda r: 0.0),
    Column("diversity", lambda r: r.diversity, short, lambda r: r.true_diversity),
    Column("training s", lambda r: r.training_seconds, "{:.0f}".format),
    Column("step ms", lambda r: r.step_ms, "{:.1f}".format),
    Column("16 masks ms", lambda r: r.sampling_ms, "{:.1f}".format),
    Column("parameters", lambda r: r.parameters, "{:,.0f}".format),
)


def table(results: Sequence[Result]) -> list[list[str]]:
    """The results as text: the headings, the truth's row, a row an entry; means, with standard deviations over seeds."""
    truth = ["the truth itself", *(c.text(c.truth(results[0])) if c.truth else "" for c in COLUMNS)]
    rows = [[name, *(_cell(column, own) for column in COLUMNS)] for name, own in by_entry(results).items()]
    return [["entry", *(column.heading for column in COLUMNS)], truth, *rows]


def caption(results: Sequence[Result]) -> str:
    """What the figures are of."""
    first, seeds = results[0], sorted({result.seed for result in results})
    listed = ", ".join(map(str, seeds))
    return (
        f"{first.data}; {first.steps:,} steps of {first.batch} images each; {'seeds' if len(seeds) > 1 else 'seed'} "
        f"{listed}; {', '.join(sorted({result.machine for result in results}))}."
    )


def markdown(results: Sequence[Result]) -> str:
    """The table for a page of documentation, its columns aligned."""
    return f"{markdown_table(table(results))}\n\n{caption(results)}\n"


def _cell(column: Column, results: Sequence[Result]) -> str:
    """Means; the standard deviation over seeds beside figures that the truth has too."""
    return mean_and_spread([column.value(result) for result in results], column.text, spread=column.truth is not None)
