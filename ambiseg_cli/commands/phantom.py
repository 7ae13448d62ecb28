"""`ambiseg phantom`: a simulated LIDC cohort."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ambiseg.preprocessing.counted import counted

from ..terminal.console import Meter, emit_json, out, progress
from ..terminal.options import Workers


class PhantomSlices(StrEnum):
    """Which slices of a scan are simulated."""

    all = "all"
    nodules = "nodules"


def phantom(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the cohort.")] = Path("data/phantom-dicom"),
    patients: Annotated[
        int, typer.Option("--patients", help="Number of patients, out of LIDC's 875 with nodules.")
    ] = 12,
    slices: Annotated[
        PhantomSlices,
        typer.Option(
            "--slices",
            help="Whole scans, which pylidc needs (about 65 MB each; short scans are preferred), or only the slices around "
            "nodules.",
        ),
    ] = PhantomSlices.all,
    faults: Annotated[
        str,
        typer.Option(
            "--faults",
            help="Faults, each in one scan, separated by commas: missing-slices, duplicate-z, truncated, foreign-series, "
            "compressed, unreadable-syntax.",
        ),
    ] = "",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the patients and of their pixels.")] = 0,
    workers: Workers = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Simulate CT scans around LIDC-IDRI's real contours: DICOM with invented pixels, to try everything without the data.

    If it is stopped, the same command continues where it was.
    """
    from ambiseg.preprocessing.phantom import write_phantom

    wanted = [fault.strip() for fault in faults.split(",") if fault.strip()]
    with progress() as display:
        manifest = write_phantom(
            output,
            patients,
            seed=seed,
            slices=slices.value,
            faults=wanted,
            workers=workers,
            on_progress=Meter(display, "Simulating", "slices"),
        )
    if as_json:
        emit_json(manifest)
    else:
        faulty = f", {len(manifest.faults)} of them faulty (see phantom.json)" if manifest.faults else ""
        out(
            f"{counted(manifest.images, 'synthetic slice')} of {counted(len(manifest.scans), 'scan')}{faulty}: {output}",
            f"Next: ambiseg preprocess lidc {output}",
        )
