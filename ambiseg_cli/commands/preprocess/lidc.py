"""`ambiseg preprocess lidc`: a dataset store from LIDC-IDRI's DICOM."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ambiseg.preprocessing.counted import counted

from ...terminal.console import Meter, console, emit_json, failures_table, out, progress
from ...terminal.options import Cluster, Jobs, NoCache, ReportAsJson, SplitFile, Workers, workplace

if TYPE_CHECKING:
    from ambiseg.preprocessing.lidc.lidc_store import LidcReport


class Slices(StrEnum):
    """Which slices of a nodule become crops."""

    any_reader = "any-reader"
    all = "all"


def lidc(
    dicom_root: Annotated[
        Path | None,
        typer.Argument(
            help="Folder with LIDC-IDRI's DICOM, in any layout. Default: $AMBISEG_LIDC_ROOT, the path in ~/.pylidcrc, "
            "or ./LIDC-IDRI.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the dataset store to create.")] = Path(
        "data/lidc"
    ),
    root: Annotated[Path | None, typer.Option("--root", help="The same as DICOM_ROOT.", show_default=False)] = None,
    size: Annotated[int, typer.Option("--size", min=1, help="Height and width of a crop, in pixels.")] = 180,
    spacing: Annotated[float, typer.Option("--spacing", help="Pixel size of a crop, in mm.")] = 0.5,
    slices: Annotated[
        Slices,
        typer.Option("--slices", help="The slices in which any reader drew, or all over the nodule's height."),
    ] = Slices.any_reader,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the split by patient (722/144/144 in proportion).")] = 0,
    split_file: SplitFile = None,
    workers: Workers = None,
    cluster: Cluster = None,
    jobs: Jobs = None,
    no_cache: NoCache = False,
    as_json: ReportAsJson = False,
) -> None:
    """Crop LIDC-IDRI's nodules with the masks of their four readers into a dataset store.

    If it is stopped, the same command continues where it was.
    """
    from ambiseg.preprocessing.errors import PartialError, UsageError
    from ambiseg.preprocessing.lidc.lidc_plan import default_root
    from ambiseg.preprocessing.lidc.lidc_store import preprocess_lidc
    from ambiseg.preprocessing.scans.dicom.header_cache import cache_file

    if dicom_root is not None and root is not None:
        raise UsageError("Both `dicom_root` and `root` are given: give one of them.")
    with progress() as display:
        searching, cropping = Meter(display, "Looking for series", "files"), Meter(display, "Cropping", "scans")
        report = preprocess_lidc(
            dicom_root or root or default_root(),
            output,
            size=size,
            spacing_mm=spacing,
            slices=slices.value,
            seed=seed,
            split_file=split_file,
            workers=workplace(workers, cluster, jobs),
            cache=None if no_cache else cache_file(),
            on_file=searching,
            on_progress=cropping,
        )
    if report.failures:
        console.print(failures_table(report.failures))
    if as_json:
        emit_json(_as_json(report))
    else:
        out(_summary(report))
    if report.failures:
        raise PartialError(
            f"{counted(len(report.failures), 'input')} could not be used, see {report.failures_file}. All others are in "
            f"{report.store}. Repair these and run the same command again."
        )


def _summary(report: "LidcReport") -> str:
    counts = report.counts
    return (
        f"{report.store}: crops {report.crops}, nodules {counts['nodules']}, scans {counts['scans used']}, "
        f"patients {counts['patients used']}"
    )


def _as_json(report: "LidcReport") -> dict[str, object]:
    return {
        "store": str(report.store),
        "crops": report.crops,
        "counts": dict(report.counts),
        "failures": [vars(failure) for failure in report.failures],
    }
