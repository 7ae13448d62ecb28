"""`ambiseg gallery`: what the parts of a model stand for, what it draws, and whether it ranks its masks as readers would."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..terminal.console import Meter, console, out, progress
from ..terminal.options import Data, Device, Model

if TYPE_CHECKING:
    from ambiseg.models.runs.trained import Trained
    from ambiseg.preprocessing.store.store import Store


class Kind(StrEnum):
    """What is drawn."""

    CODES = "codes"
    HEADS = "heads"
    MEMBERS = "members"
    LATENT = "latent"
    RECONSTRUCTIONS = "reconstructions"
    DRAWS = "draws"
    RANKING = "ranking"


FINITE = (Kind.CODES, Kind.HEADS, Kind.MEMBERS)  # one picture: what a method's masks come from has many names
IMAGES, RANKED = 6, 100  # by default: shown, and read for a ranking


def gallery(
    model: Model = None,
    data: Data = None,
    kind: Annotated[
        Kind | None,
        typer.Option(
            help="codes, heads, members: what the most frequent ones draw, of a method with finitely many masks. latent: masks "
            "over the first two dimensions of the latent variable, with the prior and the readers' places. reconstructions: "
            "masks at the posterior's means. draws: masks with the prior's density or a probability, and maps of frequency "
            "and entropy. ranking: whether masks with a higher probability or density agree better with the readers. "
            "Default: the codes, heads or members where there are finitely many, else draws.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the images: train, val, test or all.")] = "val",
    images: Annotated[
        int | None,
        typer.Option(
            help="Number of images, spread evenly over the split. Default: 6; of a ranking 100.", show_default=False
        ),
    ] = None,
    masks: Annotated[
        int,
        typer.Option(help="Number of masks per image: draws, or those of the most frequent codes, heads or members."),
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
    """Draw a picture of what a model's codes, heads or members stand for, of its latent variable, its draws or its ranking."""
    from ambiseg.models.bundle.find import find_model, results_of
    from ambiseg.models.evaluation.rows import data_for
    from ambiseg.models.runs.hardware import resolve_device
    from ambiseg.models.runs.trained import load_trained
    from ambiseg.preprocessing.errors import UsageError
    from ambiseg.preprocessing.files import whole_file

    place = find_model(model)
    path = output or results_of(place, "gallery.png")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} already exists: choose another `output`, or replace it with `overwrite`.")
    number = images if images is not None else RANKED if kind == Kind.RANKING else IMAGES
    if min(number, masks) < 1:
        raise UsageError(f"`images` and `masks` must be at least 1, got {number} and {masks}.")
    trained = load_trained(place, resolve_device(device), keep_memory=True)
    picture = _picture(kind, trained, data_for(trained.record, data), split, number, masks)
    with whole_file(path) as aside:
        aside.write_bytes(picture)
    console.print(f"Written: {path}")


def _picture(kind: Kind | None, trained: "Trained", store: "Store", split: str, images: int, masks: int) -> bytes:
    """The PNG; of a ranking, its result is printed, too."""
    from ambiseg.models.figures.galleries.draws_picture import draw_draws, draws_views
    from ambiseg.models.figures.galleries.gallery_picture import draw_gallery, is_finite, make_gallery
    from ambiseg.models.figures.galleries.latent_picture import draw_latent, draw_reconstructions, latent_views
    from ambiseg.models.figures.galleries.ranking_picture import draw_ranking, ranked_masks, said
    from ambiseg.models.figures.style import png

    if kind is None:
        kind = Kind.CODES if is_finite(trained, store, split) else Kind.DRAWS
    title = f"{trained.name}: {kind}"
    with progress() as display:
        meter = Meter(display, "Reading", "images")
        if kind in FINITE:
            return png(draw_gallery(make_gallery(trained, store, split, images=images, masks=masks, on_progress=meter)))
        if kind == Kind.DRAWS:
            shown = draws_views(trained, store, split, images=images, draws=masks, on_progress=meter)
            return png(draw_draws(shown, title))
        if kind == Kind.RANKING:
            found = ranked_masks(trained, store, split, images=images, on_progress=meter)
            out(said(found))
            return png(draw_ranking(found, title, f"{store.manifest.name}, {split}"))
        views = latent_views(trained, store, split, images=images, on_progress=meter)
        draw = draw_latent if kind == Kind.LATENT else draw_reconstructions
        return png(draw(views, title))
