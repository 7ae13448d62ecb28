"""What the known-truth benchmark found: one result an entry and seed, and the tables made of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from ambiseg.preprocessing.documents import read_json, write_json
from ambiseg.preprocessing.tables import write_table

from .entries import order
from .table_text import Column, by_entry, entry_rows, markdown_table, short

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
    """Write `results.json` and `results.csv`, with one row per result."""
    rows = [result.plain() for result in results]
    write_json(folder / "results.json", rows)
    flat = [{name: value for name, value in row.items() if name != "modes"} for row in rows]
    write_table(folder / "results.csv", flat, list(flat[0]), for_people=True)


COLUMNS = (
    Column[Result]("GED16", lambda r: r.ged16, short, lambda r: r.ged16_floor),
    Column[Result]("GED, unbiased", lambda r: r.ged, short, lambda r: 0.0),
    Column[Result]("HM-IoU16", lambda r: r.hm_iou16, short),
    Column[Result]("mode error", lambda r: r.mode_error, short, lambda r: 0.0),
    Column[Result]("P(empty) error", lambda r: r.empty_error, short, lambda r: 0.0),
    Column[Result]("diversity", lambda r: r.diversity, short, lambda r: r.true_diversity),
    Column[Result]("training s", lambda r: r.training_seconds, "{:.0f}".format),
    Column[Result]("step ms", lambda r: r.step_ms, "{:.1f}".format),
    Column[Result]("16 masks ms", lambda r: r.sampling_ms, "{:.1f}".format),
    Column[Result]("parameters", lambda r: r.parameters, "{:,.0f}".format),
)


def table(results: Sequence[Result]) -> list[list[str]]:
    """The results as text: the headings, the row of the truth, one row per entry with means over its seeds."""
    truth = ["the truth itself", *(c.text(c.truth(results[0])) if c.truth else "" for c in COLUMNS)]
    headings, *rows = entry_rows(by_entry(results), COLUMNS)
    return [headings, truth, *rows]


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
