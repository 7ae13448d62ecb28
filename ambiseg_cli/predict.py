"""`ambiseg predict`: from a scan and a place in it to ranked masks with probabilities."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import Meter, console, emit_json, out, progress

if TYPE_CHECKING:
    from rich.table import Table


def predict(
    scan: Annotated[Path, typer.Argument(help="The scan, 2D or 3D: .nii or .nii.gz.", show_default=False)],
    at: Annotated[
        list[str] | None,
        typer.Option(help="A lesion's place X,Y,Z in mm RAS; may be repeated.", metavar="X,Y,Z", show_default=False),
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(help="CSV of places: columns x,y,z (name), or LUNA16's coordX,coordY,coordZ.", show_default=False),
    ] = None,
    roi: Annotated[
        Path | None,
        typer.Option(help="Mask on the scan's grid; each connected piece is a lesion.", show_default=False),
    ] = None,
    voxel: Annotated[
        bool, typer.Option("--voxel", help="--at and --points count the file's voxels i,j,k from 0, not mm.")
    ] = False,
    probabilities: Annotated[
        Path | None,
        typer.Option(
            help="Another segmenter's class probabilities of the scan (nnU-Net's .npz, or .nii.gz), for a model that refines "
            "them.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="The run folder. Default: the newest in runs/.", show_default=False)
    ] = None,
    top: Annotated[int, typer.Option(help="Hypotheses to keep.", min=1, max=99)] = 8,
    draws: Annotated[int, typer.Option(help="Masks drawn from the model.", min=1)] = 256,
    merge: Annotated[
        float, typer.Option(help="Masks closer than this (1 - IoU) are one hypothesis.", min=0, max=1)
    ] = 0.3,
    depth: Annotated[
        float | None,
        typer.Option(
            help="Slices so many mm above and below are looked at.", min=0, show_default="half a crop, max 20"
        ),
    ] = None,
    uncalibrated: Annotated[
        bool, typer.Option("--uncalibrated", help="Give the model's own probabilities, even of a calibrated run.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the draws: the same seed gives the same files.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder to write.", show_default="<scan>-hypotheses"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a former prediction even if other files lie in its folder.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print hypotheses.json instead of a table.")] = False,
) -> None:
    """Give the most probable masks of a lesion, each with its probability, on the scan's own grid."""
    from ambiseg.models.device import resolve_device
    from ambiseg.models.predict import Ranking, predict_scan
    from ambiseg.models.predict_files import check_folder
    from ambiseg.models.run import load_trained, newest_run
    from ambiseg.preprocessing.nifti import read_grid, scan_name

    folder = output or Path(f"{scan_name(scan)}-hypotheses")
    check_folder(folder, overwrite)
    read_grid(scan)  # a wrong path is named before a model is looked for
    trained = load_trained(model or newest_run(), resolve_device(device), calibrated=not uncalibrated)
    console.print(f"Model {trained.name} ({trained.record.method}) on {trained.device}")
    with progress() as display:
        prediction = predict_scan(
            trained,
            scan,
            folder,
            at=at or (),
            points=points,
            roi=roi,
            voxel=voxel,
            probabilities=probabilities,
            ranking=Ranking(top, draws, merge, depth, seed),
            overwrite=overwrite,
            on_progress=Meter(display, "Predicting", "lesions"),
        )
    for warning in prediction.warnings:
        console.print(f"[yellow]Warning:[/] {warning}")
    content = prediction.content
    if as_json:
        emit_json(content)
    else:
        for number, lesion in enumerate(content["lesions"], start=1):
            out(_table(lesion, f"lesion_{number:02d}" if len(content["lesions"]) > 1 else "Lesion"))
    if any(hypothesis["cut_off"] for lesion in content["lesions"] for hypothesis in lesion["hypotheses"]):
        console.print("[yellow]Note:[/] masks marked with * reach the border of what was looked at; see --depth.")
    if any(lesion["aleatoric"] for lesion in content["lesions"]):
        console.print("aleatoric.nii.gz: the entropy that the model states without a draw, beside that of its draws.")
    if content["calibration"] is None:
        console.print(
            "The probabilities are the model's own, not calibrated: `ambiseg calibrate` fits them to readers."
        )
    console.print(f"Written: {folder}/")


def _table(lesion: dict[str, Any], called: str) -> "Table":
    """A lesion's hypotheses, the most probable first; a star marks those that may be cut off."""
    from rich.table import Table

    place = ", ".join(f"{value:.1f}" for value in lesion["centre_mm"])
    title = f"{called}{' ' if lesion['name'] else ''}{lesion['name']} at ({place}) mm"
    drawn = "exact" if lesion["draws"] is None else f"{lesion['draws']} draws"
    caption = f"P(no lesion) {lesion['no_lesion']:.1%}, left out {lesion['residual']:.1%}, {drawn}"
    size, heading = next(
        (key, text)
        for key, text in (("area_mm2", "area mm²"), ("volume_mm3", "volume mm³"))
        if key in lesion["hypotheses"][0]
    )
    table = Table(title=title, caption=caption)
    for column in ("rank", "probability", "95 % interval", heading, "axis mm"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("file", no_wrap=True)
    for entry in lesion["hypotheses"]:
        table.add_row(
            str(entry["rank"]),
            f"{entry['probability']:.1%}",
            "{:.0%} to {:.0%}".format(*entry["interval"]) if entry["interval"] else "exact",
            "no lesion" if entry["empty"] else f"{entry[size]:.0f}",
            "" if entry["empty"] else f"{entry['long_axis_mm']:.1f}",
            Path(entry["file"]).name + (" *" if entry["cut_off"] else ""),
        )
    return table
