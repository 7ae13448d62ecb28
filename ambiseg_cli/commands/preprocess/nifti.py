"""`ambiseg preprocess nifti`: a dataset store from NIfTI images with readers' masks."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from ambiseg.preprocessing.counted import counted

from ...terminal.console import Meter, console, emit_json, failures_table, out, progress, say_of_store
from ...terminal.options import (
    AllowDuplicates,
    ClassNames,
    Cluster,
    Jobs,
    OwnOrShares,
    ReportAsJson,
    SplitFile,
    SplitSeed,
    Workers,
    own_or_sizes,
    spacing_mm,
    workplace,
)
from ...terminal.options import class_names as parse_classes


class Slices(StrEnum):
    """Which slices of a case become crops."""

    any_reader = "any-reader"
    all = "all"


class Unit(StrEnum):
    """The unit of the images' values."""

    auto = "auto"
    hu = "hu"
    relative = "relative"


def nifti(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="A folder with CASE/image.nii.gz and CASE/reader_1.nii.gz, CASE/reader_2.nii.gz, ..., where each case is a "
            "patient; or a CSV file with the columns case, patient (optional), image, mask_1, mask_2, ... (paths relative to "
            "the CSV file, an empty cell for an absent reader). Columns reader_1, reader_2, ... say who drew. Another "
            "segmenter's class probabilities may lie in CASE/probabilities.npz or .nii.gz, or in the column probabilities.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Folder of the dataset store. Default: data/ and the name of IN.", show_default=False
        ),
    ] = None,
    size: Annotated[int, typer.Option("--size", min=1, help="Height and width of a crop, in pixels.")] = 128,
    spacing: Annotated[str, typer.Option("--spacing", help="Pixel size of a crop in mm, or native.")] = "native",
    slices: Annotated[
        Slices, typer.Option("--slices", help="The slices in which any reader marked the lesion, or all slices.")
    ] = Slices.any_reader,
    whole: Annotated[
        bool, typer.Option("--whole", help="One crop around the image's centre instead of one around each lesion.")
    ] = False,
    class_names: ClassNames = "background,lesion",
    intensity: Annotated[
        Unit,
        typer.Option(
            "--intensity",
            help="Unit of the images' values: hu (CT), relative grey values, or judged from the images (auto).",
        ),
    ] = Unit.auto,
    readers: Annotated[
        Literal["auto", "named", "anonymous"],
        typer.Option(
            help="Whether a reader's name or number is the same person in all cases (auto: yes); the store then keeps it."
        ),
    ] = "auto",
    split: OwnOrShares = None,
    seed: SplitSeed = 0,
    split_file: SplitFile = None,
    allow_duplicates: AllowDuplicates = False,
    workers: Workers = None,
    cluster: Cluster = None,
    jobs: Jobs = None,
    as_json: ReportAsJson = False,
) -> None:
    """Crop 2D or 3D images and the masks of their readers into a dataset store."""
    from ambiseg.preprocessing.errors import PartialError
    from ambiseg.preprocessing.sources.nifti.nifti_crops import NiftiSettings
    from ambiseg.preprocessing.sources.nifti.nifti_store import preprocess_nifti

    settings = NiftiSettings(
        size, spacing_mm(spacing), slices.value, whole, parse_classes(class_names), intensity.value
    )
    with progress() as display:
        report = preprocess_nifti(
            source,
            output or Path("data") / source.resolve().stem,
            settings,
            seed=seed,
            split=own_or_sizes(split),
            split_file=split_file,
            allow_duplicates=allow_duplicates,
            workers=workplace(workers, cluster, jobs),
            readers=readers,
            on_progress=Meter(display, "Cropping", "cases"),
        )
    say_of_store(report)
    if report.failures:
        console.print(failures_table(report.failures))
    if as_json:
        failures = [vars(failure) for failure in report.failures]
        emit_json(
            {"store": str(report.store), "crops": report.crops, "counts": dict(report.counts), "failures": failures}
        )
    else:
        out(f"{report.store}: crops {report.crops}, cases {report.counts['cases']}")
    if report.failures:
        raise PartialError(
            f"{counted(len(report.failures), 'case')} could not be used, see {report.failures_file}. All others are in "
            f"{report.store}. Repair these and run the same command again."
        )
