"""`ambiseg model export|install|list|verify|remove|onnx`: share trained models between machines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..terminal.console import console, emit_json, out
from ..terminal.options import Model, Overwrite

if TYPE_CHECKING:
    from ambiseg.models.bundle import Installed

model = typer.Typer(
    help="Share trained models: export a run as a zip, install it elsewhere, use it by its name.",
    no_args_is_help=True,
)


@model.command()
def export(
    run: Model = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Zip file to write. Default: NAME-VERSION.zip.", show_default=False),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The model's name. Default: the run's.", show_default=False)] = None,
    version: Annotated[str | None, typer.Option(help="The model's version.", show_default="1.0.0")] = None,
    author: Annotated[list[str] | None, typer.Option(help="Author; repeatable.", show_default=False)] = None,
    description: Annotated[
        str, typer.Option(help="One sentence about the model, for its model card.", show_default=False)
    ] = "",
    licence: Annotated[
        str | None,
        typer.Option(
            "--licence", "--license", help="Text file, or an SPDX name such as CC-BY-4.0.", show_default="none stated"
        ),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Round the weights to half precision, which halves the size.")
    ] = False,
    no_patients: Annotated[
        bool,
        typer.Option("--no-patients", help="Leave out the hashes of the training patients' identifiers."),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a run as one zip: weights, model card, metadata, calibration, licence and hashes, without paths or pickles."""
    from ambiseg.models.bundle import export_model, find_model
    from ambiseg.models.bundle.model_files import SUMS
    from ambiseg.models.runs.run_folder import newest_run

    model = find_model(run or newest_run())
    exported = export_model(
        model,
        output,
        name=name,
        version=version,
        authors=", ".join(author or ()),
        description=description,
        licence=licence,
        half=half,
        patients=not no_patients,
        overwrite=overwrite,
    )
    for note in exported.notes:
        console.print(f"Note: {note}")
    if licence is None and not (model / SUMS).is_file():
        console.print("Note: no licence was given, so nobody else may use the model: give one with --licence.")
    console.print(
        f"Written: {exported.path!s} ({_size(exported.path.stat().st_size)}), model {exported.name}, "
        f"SHA-256 of the weights {exported.weights_hash[:12]}"
    )


@model.command()
def install(
    path: Annotated[
        Path, typer.Argument(metavar="ZIP", help="Zip file, as `ambiseg model export` writes it.", show_default=False)
    ],
    name: Annotated[
        str | None, typer.Option(help="The model's name on this machine. Default: its own.", show_default=False)
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Check every byte of a model's zip, load it once, and keep it where `--model NAME` finds it."""
    from ambiseg.models.bundle import install_model

    folder = install_model(path, name=name, overwrite=overwrite)
    console.print(f"Installed: {folder!s}; its model card is README.md in this folder")
    console.print(f"Use it: ambiseg predict SCAN --model {folder.name}")


@model.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON instead of a table.")] = False,
) -> None:
    """List the models that come with ambiseg and those that you installed."""
    from rich.table import Table

    from ambiseg.models.bundle import installed_models, models_folder, shipped_models

    shipped = shipped_models()
    models = [*shipped, *installed_models()]
    if as_json:
        emit_json([_facts(one) for one in models])
        return
    if not models:
        console.print(f"No model is installed in {models_folder()!s}: install one with `ambiseg model install ZIP`.")
        return
    table = Table(box=None)
    for column in ("name", "version", "method", "data"):
        table.add_column(column)
    table.add_column("size", justify="right")
    table.add_column("calibrated")
    table.add_column("from")
    for one in models:
        about = (
            (one.metadata.version, one.metadata.method, one.metadata.data_source.split(" (")[0])
            if one.metadata
            else ("damaged", "", "")
        )
        table.add_row(
            one.name,
            *about,
            _size(one.size),
            "yes" if one.calibrated else "no",
            "shipped" if one in shipped else "installed",
        )
    out(table)
    for folder in dict.fromkeys(one.path.parent for one in models):
        console.print(f"In {folder!s}; the model card is README.md in a model's folder")


@model.command()
def verify(
    what: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="Name of an installed model, a zip file, or a folder.", show_default=False
        ),
    ],
) -> None:
    """Check every file of a model against its hash."""
    from ambiseg.models.bundle import verify_model

    hashes = verify_model(what)
    out(f"{what}: all {len(hashes)} files are as exported, SHA-256 of the weights {hashes['model.safetensors']}")


@model.command()
def remove(
    name: Annotated[str, typer.Argument(help="Name of the installed model.", show_default=False)],
) -> None:
    """Delete an installed model."""
    from ambiseg.models.bundle import remove_model

    console.print(f"Removed: {remove_model(name)!s}")


@model.command()
def onnx(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Run folder, or name of an installed model. Default: the newest run.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write. Default: NAME.onnx.", show_default=False)
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            help="Height and width of the images in pixels. Default: those of the training crop.",
            min=8,
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a model as an ONNX file with all randomness as an input. It is compared with PyTorch before it is kept."""
    import torch

    from ambiseg.models.bundle import find_model
    from ambiseg.models.bundle.onnx_export import export_onnx
    from ambiseg.models.runs.trained import load_trained
    from ambiseg.preprocessing.errors import UsageError

    trained = load_trained(find_model(name), torch.device("cpu"))
    path = output or Path(f"{trained.name}.onnx")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} already exists: choose another `output`, or replace it with `overwrite`.")
    with console.status("Tracing and comparing"):
        found = export_onnx(trained, path, size=size)
    out(_signature("inputs", found.inputs))
    out(_signature("outputs", found.outputs))
    out(f"largest difference from PyTorch: {found.difference:.1e}, in logits of up to {found.largest:.1f}")
    console.print(f"Written: {path!s} ({_size(path.stat().st_size)})")
    if trained.calibration is not None:
        console.print("Note: the file does not contain the calibration, which works on hypotheses, not on logits.")


def _facts(one: "Installed") -> dict[str, Any]:
    """An installed model as plain values."""
    metadata = one.metadata.model_dump() if one.metadata else None
    return {
        "name": one.name, "path": str(one.path), "size": one.size, "calibrated": one.calibrated, "metadata": metadata
    }  # fmt: skip


def _size(count: int) -> str:
    """A number of bytes in kB or MB."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _signature(what: str, values: Any) -> str:
    return f"{what}: " + ", ".join(f"{name} [{', '.join(map(str, axes))}]" for name, axes in values.items())
