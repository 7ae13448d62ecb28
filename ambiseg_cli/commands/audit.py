"""`ambiseg audit`: whether published energy distances are possible, and what follows from them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..terminal.console import console, emit_json, out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from ambiseg.models.audit.audit_published import Audit
    from ambiseg.models.audit.rounded_line import Interval

STYLES = {
    "possible": "green",
    "within rounding": "green",
    "within noise": "yellow",
    "dependent readers": "yellow",
    "impossible": "bold red",
    "one count": "dim",
}


def audit(
    table: Annotated[
        Path,
        typer.Argument(help="CSV file with a column `method` and columns ged16, ged100, ..., one per number of draws."),
    ],
    readers: Annotated[
        int, typer.Option(help="Number of readers per image, if the table has no column of that name.")
    ] = 4,
    reader_diversity: Annotated[
        str | None,
        typer.Option(
            help="Mean distance between two readers' masks, self-pairs included, if the table has no such column.",
            show_default=False,
        ),
    ] = None,
    decimals: Annotated[
        int | None,
        typer.Option(
            help="Number of decimals of the printed figures. Default: as written.", min=0, max=12, show_default=False
        ),
    ] = None,
    noise: Annotated[
        float,
        typer.Option(help="How far the noise of the draws may move each figure, in addition to its rounding.", min=0),
    ] = 0.004,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write the result as CSV.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of a table.")] = False,
) -> None:
    """Infer the diversity of samples from published GED at several numbers of draws, and flag impossible figures."""
    from ambiseg.models.audit.audit_published import audit as audit_row
    from ambiseg.models.audit.audit_published import write_audits
    from ambiseg.models.audit.published_figures import read_published

    rows = read_published(table, readers=readers, reader_diversity=reader_diversity, decimals=decimals)
    audits = [audit_row(row, noise) for row in rows]
    if output is not None:
        write_audits(output, audits)
        console.print(f"Written: {output}")
    if as_json:
        emit_json([one.summary() for one in audits])
        return
    out(_table(audits))
    for one in audits:
        for finding in one.findings:
            out(f"{one.published.method}: {finding.text}.")


def _table(audits: "Sequence[Audit]") -> "Table":
    """One row per method: its figures, what follows from them, and the verdict."""
    from rich.table import Table
    from rich.text import Text

    counts = sorted({n for one in audits for n in one.published.ged})
    unbiased = any(one.unbiased for one in audits)
    table = Table(
        title="What follows from the published GED",
        caption="This holds if all figures of a row are V-statistics of the same model, test set and distance. ±: what "
        "rounding allows. Figures of a finite test set also contain the noise of their draws.",
    )
    table.add_column("method")
    table.add_column(Text(f"GED at\n{', '.join(map(str, counts))}"), justify="right")
    for heading in ("inferred\ndiversity", "GED at\n∞ draws", *(["GED,\nunbiased"] if unbiased else [])):
        table.add_column(Text(heading), justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for one in audits:
        figures = " ".join(_short(one.published.ged[n].value) if n in one.published.ged else "-" for n in counts)
        implied = [one.diversity, one.limit, *([one.unbiased] if unbiased else [])]
        table.add_row(one.published.method, figures, *map(_cell, implied), Text(one.verdict, STYLES[one.verdict]))
    return table


def _short(value: float) -> str:
    """Three decimals, without the zero before the point."""
    return f"{value + 0.0:.3f}".replace("0.", ".", 1)


def _cell(interval: "Interval | None") -> str:
    if interval is None:
        return ""
    reach = max(interval.high - interval.value, interval.value - interval.low)
    return f"{_short(interval.value)} ±{_short(reach)}"
