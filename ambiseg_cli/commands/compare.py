"""`ambiseg compare`: whether one run is better than another on the same cases, or only seems to be."""

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ambiseg.preprocessing.counted import counted

from ..terminal.console import console, emit_json, out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from ambiseg.models.comparison.comparison import Comparison, Difference


class By(StrEnum):
    """What a case of a comparison is."""

    slice = "slice"
    lesion = "lesion"


MOST_NAMES = 3  # runs named in the folder's name


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Two or more evaluated runs or models. The others are compared with the first one.", metavar="MODEL"
        ),
    ],
    split: Annotated[str, typer.Option(help="Split whose evaluations are compared.")] = "test",
    figure: Annotated[
        list[str] | None,
        typer.Option(
            "-f",
            "--figure",
            help="Figure to compare, a column of cases.csv or lesions.csv; repeatable. Default: ged16_v, ged16_u, hm_iou16, "
            "top_dice and best_dice; by lesion also presence and volume.",
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        By, typer.Option(help="What is compared: slices, or whole lesions where they were evaluated.")
    ] = By.slice,
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Compare every pair of runs.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.", min=0)] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Folder of the results. Default: comparisons/RUN-vs-RUN.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON instead of a table.")] = False,
) -> None:
    """Compare evaluated runs case by case: paired differences, intervals by patient, and tests corrected for their number."""
    from ambiseg.models.bundle.find import evaluated
    from ambiseg.models.comparison.compare_runs import FIGURES, LESION_FIGURES
    from ambiseg.models.comparison.compare_runs import compare as compare_evaluations
    from ambiseg.models.evaluation.stored import read_evaluations
    from ambiseg.models.report.comparison_folder import write_comparison

    evaluations = read_evaluations([evaluated(run, split) for run in runs], split, by.value)
    usual = LESION_FIGURES if by == By.lesion else FIGURES
    comparison = compare_evaluations(evaluations, figure or usual, all_pairs=all_pairs, seed=seed)
    folder = output or Path("comparisons") / _folder_name(comparison)
    page = write_comparison(folder, comparison, evaluations)
    if as_json:
        emit_json(comparison)
    else:
        out(_heading(comparison))
        for first, second in dict.fromkeys((row.first, row.second) for row in comparison.differences):
            rows = [row for row in comparison.differences if (row.first, row.second) == (first, second)]
            out(_table(first, second, rows))
        out(_legend(comparison))
        for note in comparison.notes:
            out(note)
    console.print(f"Written: {page} and the files beside it")


def _folder_name(comparison: "Comparison") -> str:
    names = [Path(run.name).name for run in comparison.runs]
    if len(names) > MOST_NAMES:
        return f"{names[0]}-vs-{len(names) - 1}-others"
    return "-vs-".join(names)


def _table(first: str, second: str, rows: "Sequence[Difference]") -> "Table":
    """A pair of runs, one row per figure."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"first: {first}, second: {second}"), title_justify="left")
    table.add_column("figure", no_wrap=True)
    for heading in ("first", "second", "difference", "effect", "p, Holm"):
        table.add_column(heading, justify="right", no_wrap=heading != "difference")
    table.add_column("better", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _heading(comparison: "Comparison") -> str:
    cases, patients = counted(comparison.cases, comparison.noun), counted(comparison.patients, "patient")
    return f"{comparison.data} ({comparison.data_hash[:12]}), {comparison.split}: {cases} of {patients}"


def _legend(comparison: "Comparison") -> str:
    return (
        "Difference: second minus first, mean over the cases, with its 95 % bootstrap interval by patient. Effect: "
        "rank-biserial correlation. p: Wilcoxon signed-rank test of the patients' mean differences, corrected by Holm's method "
        f"for {len(comparison.differences)} tests. From p = .05 it is undecided which run is better."
    )


def _cells(row: "Difference") -> tuple[str, ...]:
    """A difference as text; a dash where it is not defined."""
    from ambiseg.models.figures.numbers import decimals, p_value, signed

    interval = "" if math.isnan(row.low) else f" [{signed(row.low)}, {signed(row.high)}]"
    means = (decimals(row.first_mean), decimals(row.second_mean))
    return row.figure, *means, signed(row.difference) + interval, f"{row.effect:+.2f}", p_value(row.p_holm), row.verdict
