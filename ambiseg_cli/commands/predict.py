"""`ambiseg predict`: from scans to ranked masks with probabilities. (`ambiseg.predict` is the same in Python.)"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ambiseg.preprocessing.counted import counted

from ..terminal.console import Meter, console, emit_json, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ambiseg.models.prediction.predict_scan import Prediction, Request
    from ambiseg.models.prediction.stopwatch import Stopwatch
    from ambiseg.models.runs.trained import Trained
    from ambiseg.preprocessing.scans.cases import Case

KINDS = ".nii, .nii.gz, .nrrd, .mha, a DICOM folder, or a .zip of one of these"


class Format(StrEnum):
    """What masks can be written in beside NIfTI."""

    DICOM_SEG = "dicom-seg"
    SEG_NRRD = "seg-nrrd"


def predict(
    scan: Annotated[
        Path, typer.Argument(help=f"The scan, 2D or 3D: {KINDS}; or a folder of scans.", show_default=False)
    ],
    at: Annotated[
        list[str] | None,
        typer.Option(help="A lesion's place X,Y,Z in mm RAS; may be repeated.", metavar="X,Y,Z", show_default=False),
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(
            help="CSV of places: columns x,y,z (and name, scan), or LUNA16's coordX,coordY,coordZ.", show_default=False
        ),
    ] = None,
    roi: Annotated[
        Path | None,
        typer.Option(help="Mask on the scan's grid; each connected piece is a lesion.", show_default=False),
    ] = None,
    voxel: Annotated[
        bool, typer.Option("--voxel", help="--at and --points count the file's voxels i,j,k from 0, not mm.")
    ] = False,
    lung_mask: Annotated[
        Path | None,
        typer.Option(help="Mask on the scan's grid in which lesions are searched. Default: found.", show_default=False),
    ] = None,
    candidates: Annotated[
        int, typer.Option(help="Lesions at most, where no place is given and the lungs are searched.", min=1, max=50)
    ] = 5,
    series: Annotated[
        str | None,
        typer.Option(help="Which series of a DICOM folder: its number in the list, or its UID.", show_default=False),
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(
            help="Another segmenter's class probabilities of the scan (nnU-Net's .npz, or .nii.gz), for a model that refines "
            "them.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A run folder or an installed model's name. Default: the newest run.", show_default=False),
    ] = None,
    top: Annotated[int, typer.Option(help="Hypotheses to keep.", min=1, max=99)] = 8,
    draws: Annotated[int, typer.Option(help="Masks drawn from the model.", min=1)] = 256,
    merge: Annotated[
        float, typer.Option(help="Masks closer than this (1 - IoU) are one hypothesis.", min=0, max=1)
    ] = 0.3,
    depth: Annotated[
        float | None,
        typer.Option(
            help="Slices so many mm above and below are looked at.",
            min=0,
            show_default="as far as the lesion reaches, max 20",
        ),
    ] = None,
    uncalibrated: Annotated[
        bool, typer.Option("--uncalibrated", help="Give the model's own probabilities, even of a calibrated run.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the draws: the same seed gives the same files.")] = 0,
    format: Annotated[
        list[Format] | None,
        typer.Option(help="Write masks in this format too, beside NIfTI; may be repeated.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder to write.", show_default="<scan>-hypotheses"),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace a former prediction even if other files lie there; in a batch, predict all again.",
        ),
    ] = False,
    time_limit: Annotated[
        float,
        typer.Option(help="In a batch: minutes that a scan may take; one that takes longer is given up.", min=0.01),
    ] = 60,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say where the time went.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print hypotheses.json instead of tables.")] = False,
) -> None:
    """Give the most probable masks of lesions, each with its probability, on the scan's own grid.

    Without a place a small scan is taken for a lesion's crop, and a chest CT is searched (experimental).
    """
    from ambiseg.models.prediction.stopwatch import Stopwatch

    watch = Stopwatch()
    with watch("starting"):
        from ambiseg.models.bundle.find import find_model
        from ambiseg.models.bundle.installed import is_shipped
        from ambiseg.models.prediction.inference import Ranking
        from ambiseg.models.prediction.places import Places
        from ambiseg.models.prediction.predict_scan import Request
        from ambiseg.models.results.folder import check_folder
        from ambiseg.models.runs.hardware import resolve_device
        from ambiseg.models.runs.trained import load_trained
        from ambiseg.preprocessing.files import check_place
        from ambiseg.preprocessing.names import scan_name
        from ambiseg.preprocessing.scans.cases import find_cases

        cases = find_cases(scan)
        folder = output or Path(f"{scan_name(scan)}-hypotheses")
        if cases is None:
            check_folder(folder, overwrite)
            check_place(folder)
        places = Places(tuple(at or ()), points, roi, voxel, lung_mask, candidates, of_many=cases is not None)
        chosen = find_model(model)
        trained = load_trained(chosen, resolve_device(device), calibrated=not uncalibrated, keep_memory=True)
        request = Request(
            places,
            Ranking(top, draws, merge, depth, seed),
            probabilities,
            series,
            tuple(each.value for each in format or ()),
        )
    origin = ", which comes with ambiseg: see `ambiseg model list`" if is_shipped(chosen) else ""
    console.print(f"Model {trained.name} ({trained.record.method}) on {trained.device}{origin}")
    if cases is not None:
        _batch(trained, cases, folder, request, overwrite, time_limit, as_json)
        return
    prediction = _one(trained, scan, folder, request, watch)
    _show(prediction, watch, as_json, verbose)
    _leave(prediction, folder)


def _one(trained: "Trained", scan: Path, folder: Path, request: "Request", watch: "Stopwatch") -> "Prediction":
    """Predict one scan and write its folder."""
    from ambiseg.models.results.folder import predict_to_folder

    with progress() as display:
        return predict_to_folder(
            trained,
            scan,
            folder,
            request,
            watch=watch,
            on_search=Meter(display, "Searching", "steps"),
            on_lesion=Meter(display, "Predicting", "lesions"),
        )


def _show(prediction: "Prediction", watch: "Stopwatch", as_json: bool, verbose: bool) -> None:
    """Print a prediction and, where it is wanted, where the time went."""
    from ambiseg.models.prediction.stopwatch import peak_memory_mb

    from ..terminal.predict_tables import show, time_split

    if as_json:
        emit_json(prediction.content)
    else:
        show(prediction.document)
    if verbose:
        console.print(time_split(watch.seconds, peak_memory_mb()))


def _leave(prediction: "Prediction", folder: Path) -> None:
    """Say where the results are, and leave with 5 where something is missing."""
    from ambiseg.preprocessing.errors import PartialError

    report = " (open report.html)" if (folder / "report.html").is_file() else ""
    console.print(f"Written: {folder}/{report}")
    for missing in prediction.missing:
        console.print(f"Warning: {missing}")
    if prediction.missing:
        raise PartialError(
            f"{folder} lacks what the warnings above name; all masks, maps and numbers are in it. The same command tries "
            "again."
        )


def _batch(
    trained: "Trained",
    cases: "Sequence[Case]",
    folder: Path,
    request: "Request",
    overwrite: bool,
    time_limit: float,
    as_json: bool,
) -> None:
    """Predict all cases, say how it went, and leave with 5 where some failed or lack something."""
    from ambiseg.models.results.apart import predict_apart
    from ambiseg.models.results.batches import predict_batch
    from ambiseg.preprocessing.errors import NothingFound, PartialError
    from ambiseg.preprocessing.failures import CaseFailure

    from ..terminal.failure_table import failures_table

    apart = predict_apart(trained, request, overwrite=overwrite, minutes=time_limit)
    with progress() as display, apart as predict_case:
        batch = predict_batch(
            trained,
            cases,
            folder,
            request,
            predict_case,
            overwrite=overwrite,
            on_progress=Meter(display, "Predicting", "scans"),
        )
    if as_json:
        emit_json(
            {
                "done": batch.done,
                "skipped": batch.skipped,
                "nothing": batch.nothing,
                "incomplete": batch.incomplete,
                "failed": {each.case: each.reason for each in batch.failures},
            }
        )
    if batch.nothing:
        nothing = [CaseFailure(case, reason) for case, reason in batch.nothing.items()]
        console.print(failures_table(nothing, "scan", "with nothing to predict"))
    if batch.incomplete:
        missing = [CaseFailure(case, what) for case, each in batch.incomplete.items() for what in each]
        console.print(failures_table(missing, "thing", "missing (pictures, reports, exports)"))
    if batch.failures:
        console.print(failures_table(batch.failures))
    console.print(
        f"Written: {folder!s}/: {counted(len(batch.done), 'scan')} predicted, {len(batch.skipped)} were done before, "
        f"{len(batch.nothing)} with nothing to predict"
    )
    if len(batch.nothing) == len(cases):
        raise NothingFound("There is nothing to predict in any of the scans: the table above says why.")
    if batch.failures:
        raise PartialError(
            f"{len(batch.failures)} of {counted(len(cases), 'scan')} failed; {folder}/failures.csv says why, and the same "
            "command tries them again."
        )
    if batch.incomplete:
        raise PartialError(
            f"{counted(len(batch.incomplete), 'scan')} of {len(cases)} without what the table above names; masks and numbers "
            "are whole. Delete a scan's folder to have all of it made again."
        )
