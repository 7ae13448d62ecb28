"""`ambiseg preprocess mnist-guess`: MNIST's IDX files to the guessing game's dataset store."""

from pathlib import Path
from typing import Annotated

import typer

from ...terminal.console import Meter, progress, report_store
from ...terminal.options import ReportAsJson


def mnist_guess(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder with train-images-idx3-ubyte, train-labels-idx1-ubyte and the two t10k-* files of MNIST, "
            "as they are distributed or as .gz.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the dataset store to make.")] = Path(
        "data/mnist-guess"
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the digits held out and of the images.")] = 0,
    val: Annotated[int, typer.Option("--val", min=1, help="Images of the validation split.")] = 1000,
    test: Annotated[int, typer.Option("--test", min=1, help="Images of the test split.")] = 1000,
    as_json: ReportAsJson = False,
) -> None:
    """Make the guessing game: mosaics of four digits, one of which is meant with a known probability.

    Training deals new images for every step from the training digits, which the store keeps.
    """
    from ambiseg.preprocessing.sources.papers.mnist_guess_store import preprocess_mnist_guess

    with progress() as display:
        meter = Meter(display, "Dealing", "images")
        report = preprocess_mnist_guess(folder, output, seed=seed, val=val, test=test, on_progress=meter)
    report_store(report, f"images {report.crops}, digits to deal from {report.counts['train digits']}", as_json)
