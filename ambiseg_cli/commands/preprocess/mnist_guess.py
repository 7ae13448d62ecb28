"""`ambiseg preprocess mnist-guess`: the dataset store of the guessing game from MNIST's IDX files."""

from pathlib import Path
from typing import Annotated

import typer

from ...terminal.console import Meter, progress, report_store
from ...terminal.options import ReportAsJson


def mnist_guess(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder with MNIST's train-images-idx3-ubyte, train-labels-idx1-ubyte and the two t10k-* files, as they are "
            "distributed or as .gz.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the dataset store to create.")] = Path(
        "data/mnist-guess"
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the held-out digits and of the images.")] = 0,
    val: Annotated[int, typer.Option("--val", min=1, help="Number of images in the validation split.")] = 1000,
    test: Annotated[int, typer.Option("--test", min=1, help="Number of images in the test split.")] = 1000,
    as_json: ReportAsJson = False,
) -> None:
    """Make the guessing game: mosaics of four digits, each of which is the right one with a known probability.

    Training draws new images for every step from the training digits, which the store keeps.
    """
    from ambiseg.preprocessing.sources.papers.mnist_guess_store import preprocess_mnist_guess

    with progress() as display:
        meter = Meter(display, "Drawing", "images")
        report = preprocess_mnist_guess(folder, output, seed=seed, val=val, test=test, on_progress=meter)
    report_store(report, f"images {report.crops}, training digits {report.counts['train digits']}", as_json)
