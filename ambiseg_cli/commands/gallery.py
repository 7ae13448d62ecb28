"""`ambiseg gallery`: the masks that the most frequent codes, heads or members of a run give for several images."""

from pathlib import Path
from typing import Annotated

import typer

from ..terminal.console import Meter, console, progress
from ..terminal.options import Data, Device, Run


def gallery(
    run: Run = None,
    data: Data = None,
    split: Annotated[str, typer.Option(help="Split of the images: train, val, test or all.")] = "val",
    images: Annotated[int, typer.Option(help="Number of images, spread evenly over the split.")] = 6,
    atoms: Annotated[
        int, typer.Option(help="Number of masks per image: those of the most frequent codes, heads or members.")
    ] = 8,
    device: Device = "auto",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="PNG file to write. Default: RUN/gallery.png.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the picture if it exists.")] = False,
) -> None:
    """Draw a picture of what a run's codes (or heads, or members) stand for: one row per image, one column per code."""
    from ambiseg.models.evaluation.rows import data_for
    from ambiseg.models.figures.gallery_picture import make_gallery, save_gallery
    from ambiseg.models.runs.hardware import resolve_device
    from ambiseg.models.runs.run_folder import newest_run
    from ambiseg.models.runs.trained import load_trained
    from ambiseg.preprocessing.errors import UsageError

    run = run or newest_run()
    path = output or run / "gallery.png"
    if path.exists() and not overwrite:
        raise UsageError(f"{path} already exists: choose another `output`, or replace it with `overwrite`.")
    trained = load_trained(run, resolve_device(device), keep_memory=True)
    with progress() as display:
        found = make_gallery(
            trained,
            data_for(trained.record, data),
            split,
            images=images,
            atoms=atoms,
            on_progress=Meter(display, "Reading", "images"),
        )
    save_gallery(path, found)
    console.print(f"Written: {path}")
