"""`ambiseg gallery`: what the parts of a model stand for: codes, heads or members, or the latent variable."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..terminal.console import Meter, console, progress
from ..terminal.options import Data, Device, Model


class Kind(StrEnum):
    """What is drawn."""

    ATOMS = "atoms"
    LATENT = "latent"
    RECONSTRUCTIONS = "reconstructions"


def gallery(
    model: Model = None,
    data: Data = None,
    kind: Annotated[
        Kind,
        typer.Option(
            help="atoms: the most frequent codes, heads or members. latent: masks over the first two dimensions of the latent "
            "variable, with the prior and the readers' places. reconstructions: masks at the posterior's means."
        ),
    ] = Kind.ATOMS,
    split: Annotated[str, typer.Option(help="Split of the images: train, val, test or all.")] = "val",
    images: Annotated[int, typer.Option(help="Number of images, spread evenly over the split.")] = 6,
    atoms: Annotated[
        int, typer.Option(help="Number of masks per image: those of the most frequent codes, heads or members.")
    ] = 8,
    device: Device = "auto",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="PNG file to write. Default: RUN/gallery.png, or NAME-gallery.png of a model with a name.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the picture if it exists.")] = False,
) -> None:
    """Draw a picture of what a model's codes, heads or members stand for, or its latent variable: one row per image."""
    from ambiseg.models.bundle.find import find_model, results_of
    from ambiseg.models.evaluation.rows import data_for
    from ambiseg.models.figures.gallery_picture import make_gallery, save_gallery
    from ambiseg.models.figures.latent_picture import draw_latent, draw_reconstructions, latent_views
    from ambiseg.models.figures.style import png
    from ambiseg.models.runs.hardware import resolve_device
    from ambiseg.models.runs.trained import load_trained
    from ambiseg.preprocessing.errors import UsageError
    from ambiseg.preprocessing.files import whole_file

    place = find_model(model)
    path = output or results_of(place, "gallery.png")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} already exists: choose another `output`, or replace it with `overwrite`.")
    trained = load_trained(place, resolve_device(device), keep_memory=True)
    store = data_for(trained.record, data)
    with progress() as display:
        meter = Meter(display, "Reading", "images")
        if kind == Kind.ATOMS:
            save_gallery(path, make_gallery(trained, store, split, images=images, atoms=atoms, on_progress=meter))
        else:
            views = latent_views(trained, store, split, images=images, on_progress=meter)
            draw = draw_latent if kind == Kind.LATENT else draw_reconstructions
            picture = png(draw(views, f"{trained.name}: {kind}"))
            with whole_file(path) as aside:
                aside.write_bytes(picture)
    console.print(f"Written: {path}")
