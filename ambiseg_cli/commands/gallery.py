"""`ambiseg gallery`: what the most frequent codes, heads or members of a run draw on several images."""

from pathlib import Path
from typing import Annotated

import typer

from ..terminal.console import Meter, console, progress


def gallery(
    run: Annotated[
        Path | None,
        typer.Argument(help="Run folder, as `ambiseg train` makes it. Default: the newest.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", help="Dataset store. Default: the run's own, unchanged.", show_default=False),
    ] = None,
    split: Annotated[str, typer.Option(help="Split that the images come from: train, val, test or all.")] = "val",
    images: Annotated[int, typer.Option(help="Images shown, spread evenly over the split.")] = 6,
    atoms: Annotated[
        int, typer.Option(help="Masks shown of each image: of the most frequent codes, heads or members.")
    ] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Picture to write, a PNG. Default: RUN/gallery.png.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the picture if it exists.")] = False,
) -> None:
    """Draw a picture of what a run's codes (or heads, or members) stand for: a row an image, a column a code."""
    from ambiseg.models.evaluation.rows import data_for
    from ambiseg.models.figures.gallery_picture import make_gallery, save_gallery
    from ambiseg.models.runs.hardware import resolve_device
    from ambiseg.models.runs.run_folder import newest_run
    from ambiseg.models.runs.trained import load_trained
    from ambiseg.preprocessing.errors import UsageError

    run = run or newest_run()
    path = output or run / "gallery.png"
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already: choose another file with -o, or replace it with --overwrite.")
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
