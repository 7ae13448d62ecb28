"""`ambiseg preprocess cityscapes`: a dataset store with flipping classes from Cityscapes' official folders."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ...terminal.console import Meter, progress, report_store
from ...terminal.options import ReportAsJson, Workers


class Size(StrEnum):
    """The size of the images."""

    quarter = "quarter"
    half = "half"
    full = "full"


def cityscapes(
    root: Annotated[Path, typer.Argument(help="Folder with Cityscapes' leftImg8bit and gtFine.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the dataset store to create.")] = Path(
        "data/cityscapes"
    ),
    size: Annotated[
        Size, typer.Option("--size", help="256x512 (as in the papers), 512x1024 or 1024x2048 pixels.")
    ] = Size.quarter,
    workers: Workers = None,
    as_json: ReportAsJson = False,
) -> None:
    """Make the multimodal Cityscapes: 19 classes, five of which flip to a second one with known probabilities.

    The official val folder is the test split.
    Three cities of the official train folder are the validation split: Darmstadt, Mönchengladbach and Ulm.
    """
    from ambiseg.preprocessing.sources.papers.cityscapes_store import preprocess_cityscapes

    with progress() as display:
        meter = Meter(display, "Reading", "images")
        report = preprocess_cityscapes(root, output, size=size.value, workers=workers, on_progress=meter)
    train, val, test = (report.counts[f"{split} cities"] for split in ("train", "val", "test"))
    summary = f"images {report.crops}, cities in train {train}, in val {val}, in test {test}"
    report_store(report, summary, as_json)
