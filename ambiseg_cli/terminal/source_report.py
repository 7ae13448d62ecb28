"""What the preprocess commands say when a dataset store stands."""

from typing import TYPE_CHECKING

from .console import console, emit_json, out

if TYPE_CHECKING:
    from ambiseg.preprocessing.sources.packed.crop_values import SourceReport


def tell(report: "SourceReport", summary: str, as_json: bool) -> None:
    """Print the notes, then the store with the summary, or the report as JSON."""
    for note in report.notes:
        console.print(f"Note: {note}")
    if as_json:
        emit_json({"store": str(report.store), "crops": report.crops, "counts": dict(report.counts)})
    else:
        out(f"{report.store}: {summary}")
