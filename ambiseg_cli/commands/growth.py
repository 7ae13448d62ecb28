"""`ambiseg growth`: how a lesion's volume changed between predictions of scans of one patient, as a distribution."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..terminal.chosen_model import load_chosen
from ..terminal.console import Meter, console, emit_json, out, progress, warn
from ..terminal.options import Device, point

if TYPE_CHECKING:
    from rich.table import Table

    from ambiseg.models.growth.course import GrowthDocument, Quantiles


def growth(
    predictions: Annotated[
        list[Path],
        typer.Argument(
            help="Two or more folders of `ambiseg predict`, or scans of one patient, the earliest first.",
            metavar="PREDICTION_OR_SCAN",
        ),
    ],
    at: Annotated[
        list[str] | None,
        typer.Option(
            help="The lesion's place X,Y,Z in mm (RAS) in each scan, in their order. Default: each scan is searched.",
            metavar="X,Y,Z",
            show_default=False,
        ),
    ] = None,
    voxel: Annotated[
        bool, typer.Option("--voxel", help="--at are voxel indices i,j,k of the file, from 0, instead of mm.")
    ] = False,
    days: Annotated[
        list[float] | None,
        typer.Option(
            help="Days from the first scan to each later one; once for each. Default: by the dates of DICOM scans.",
            show_default=False,
        ),
    ] = None,
    lesion: Annotated[
        list[int] | None,
        typer.Option(
            help="Number of the lesion in each prediction, in their order. Default: the only one.", show_default=False
        ),
    ] = None,
    different_patients: Annotated[
        bool, typer.Option("--different-patients", help="Compare DICOM scans whose PatientIDs differ.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="For scans: a run folder or a model's name. Default: as `ambiseg predict`.", show_default=False
        ),
    ] = None,
    device: Device = "auto",
    growth: Annotated[float, typer.Option(help="Share of the earlier volume that counts as growth.")] = 0.25,
    doubling: Annotated[float, typer.Option(help="Volume doubling time that is asked about, in days.")] = 400,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the results.")] = Path("growth"),
    as_json: Annotated[bool, typer.Option("--json", help="Print growth.json instead of tables.")] = False,
) -> None:
    """How a lesion grew: the distribution of the change, P(growth of 25 % or more), and of the volume doubling time.

    The change is stated under two assumptions, between which the truth lies: the readers of the scans are independent, or a
    reader keeps his or her rank from small to large.
    """
    from ambiseg.models.growth.course import check_days, check_question, course, write_growth
    from ambiseg.models.growth.time_points import time_points
    from ambiseg.preprocessing.errors import PartialError

    check_question(len(predictions), lesion or (), growth, doubling)
    if days:
        check_days(len(predictions), days)
    with progress() as display:
        times = time_points(
            predictions,
            days or (),
            output,
            lambda: load_chosen(model, device),
            at=tuple(map(point, at or ())),
            voxel=voxel,
            different_patients=different_patients,
            on_scan=Meter(display, "Predicting", "scans"),
        )
    found = course(times.folders, times.days, lesion or (), growth=growth, doubling=doubling)
    write_growth(output, found)
    if as_json:
        emit_json(found.document.model_dump(mode="json", by_alias=True))
    else:
        _show(found.document)
    console.print(f"Written: {output}/growth.json, growth.csv and growth.png")
    for missing in times.missing:
        warn(missing)
    if times.missing:
        raise PartialError(f"{output} lacks what the warnings above name; all masks and numbers are there.")


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
