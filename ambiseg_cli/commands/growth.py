"""`ambiseg growth`: how a lesion's volume changed between predictions of scans of one patient, as a distribution."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..terminal.console import console, emit_json, out

if TYPE_CHECKING:
    from rich.table import Table

    from ambiseg.models.growth.course import GrowthDocument, Quantiles


def growth(
    predictions: Annotated[
        list[Path],
        typer.Argument(help="Two or more folders of `ambiseg predict`, the earliest scan first.", metavar="PREDICTION"),
    ],
    days: Annotated[
        list[float],
        typer.Option(help="Days from the first scan to each later one; once for each.", show_default=False),
    ],
    lesion: Annotated[
        list[int] | None,
        typer.Option(
            help="Number of the lesion in each prediction, in their order. Default: the only one.", show_default=False
        ),
    ] = None,
    growth: Annotated[float, typer.Option(help="Share of the earlier volume that counts as growth.")] = 0.25,
    doubling: Annotated[float, typer.Option(help="Volume doubling time that is asked about, in days.")] = 400,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the results.")] = Path("growth"),
    as_json: Annotated[bool, typer.Option("--json", help="Print growth.json instead of tables.")] = False,
) -> None:
    """How a lesion grew: the distribution of the change, P(growth of 25 % or more), and of the volume doubling time.

    The change is stated under two assumptions, between which the truth lies: the readers of the scans are independent, or a
    reader keeps his or her rank from small to large.
    """
    from ambiseg.models.growth.course import course, write_growth

    found = course(predictions, days, lesion or (), growth=growth, doubling=doubling)
    write_growth(output, found)
    if as_json:
        emit_json(found.document.model_dump(mode="json", by_alias=True))
    else:
        _show(found.document)
    console.print(f"Written: {output}/growth.json, growth.csv and growth.png")


def _show(document: "GrowthDocument") -> None:
    out(_times(document))
    out(_changes(document))
    for note in document.notes:
        console.print(f"Note: {note}")


def _times(document: "GrowthDocument") -> "Table":
    from rich.table import Table

    table = Table(title="Volume if marked: median and 90 % interval")
    for column in ("day", "lesion", "volume mm³", "90 %", "P(no lesion)"):
        table.add_column(column, justify="right", no_wrap=True)
    for time in document.times:
        known = time.median_mm3 is not None
        table.add_row(
            f"{time.days:g}",
            str(time.lesion),
            f"{time.median_mm3:.0f}" if known else "-",
            f"{time.low_90_mm3:.0f} to {time.high_90_mm3:.0f}" if known else "-",
            f"{time.no_lesion:.1%}",
        )
    return table


def _changes(document: "GrowthDocument") -> "Table":
    from rich.table import Table

    table = Table(
        title=f"Change if marked both times; P(+{document.growth:.0%}), P(-{document.growth:.0%}), doubling time",
        caption=f"90 % intervals; P({document.doubling:g} d): the volume doubles within {document.doubling:g} days",
    )
    for column in ("days", "readers", "change", "90 %", "P(+)", "P(-)", f"P({document.doubling:g} d)", "both"):
        table.add_column(column, justify="right", no_wrap=True)
    for step in document.steps:
        span = f"{document.times[step.earlier].days:g}-{document.times[step.later].days:g}"
        for entry in step.changes:
            shares = (entry.grown, entry.shrunk, entry.doubles, entry.both)
            table.add_row(span, entry.assumption, *_quantiles(entry.change), *(_percent(share) for share in shares))
    return table


def _quantiles(change: "Quantiles") -> tuple[str, str]:
    """The median, and the 90 % interval, in percent."""
    if change.median is None:
        return "-", "-"
    return f"{change.median:+.0%}", f"{change.low_90:+.0%} to {change.high_90:+.0%}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
