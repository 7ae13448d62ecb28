"""The `ambiseg` command: gathers the commands, and is the one place where an error becomes an exit code."""

import errno
import os
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from ambiseg.preprocessing.errors import AmbisegError, Interrupted
from ambiseg.preprocessing.files import FORBIDDEN

from .audit import audit
from .benchmark import benchmark
from .calibrate import calibrate
from .compare import compare
from .console import complain, console
from .data import data
from .demo import demo
from .evaluate import evaluate
from .gallery import gallery
from .methods import methods
from .model import model
from .phantom import phantom
from .predict_command import predict
from .preprocess_cityscapes import cityscapes
from .preprocess_lidc import lidc
from .preprocess_mnist_guess import mnist_guess
from .preprocess_nifti import nifti
from .preprocess_packed import packed
from .train import train
from .version import __version__

# What the system may say of a file or folder that is no fault of ours.
REFUSALS = FORBIDDEN | {errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.ESTALE}

app = typer.Typer(
    name="ambiseg",
    help="Ranked, plausible segmentation masks, each with a probability. For research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
preprocess = typer.Typer(help="Turn images and readers' masks into a dataset store.", no_args_is_help=True)
for source in (lidc, nifti, packed, mnist_guess, cityscapes):
    preprocess.command()(source)
app.add_typer(preprocess, name="preprocess")
app.add_typer(data, name="data")
app.add_typer(benchmark, name="benchmark")
app.add_typer(model, name="model")
for command in (train, evaluate, calibrate, compare, audit, predict, gallery, methods, phantom, demo):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ambiseg {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no notes, errors only.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options that stand before the command's name."""
    console.quiet = quiet
    os.environ["AMBISEG_DEBUG"] = "1" if debug else ""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code; errors meant for the user become one sentence on stderr."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded; see docs/decisions/0010
    try:
        app(arguments, prog_name="ambiseg")
    except SystemExit as leaving:
        if leaving.code == 130:
            complain("Interrupted: nothing half-written was kept; run the same command again.")
        raise
    except Exception as error:
        raise SystemExit(_report(error)) from None
    raise SystemExit(0)


def _report(error: Exception) -> int:
    """Say what went wrong and return the exit code."""
    if os.environ.get("AMBISEG_DEBUG"):
        complain(*traceback.format_exc().splitlines())
    if isinstance(error, Interrupted):
        complain(str(error))
        return error.exit_code
    if isinstance(error, AmbisegError):
        complain(f"Error: {error}")
        return error.exit_code
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        complain("Error: Out of memory: use a smaller batch or fewer draws, or another device.")
        return 6
    if isinstance(error, OSError) and error.errno in REFUSALS and error.filename:
        complain(
            f"Error: The system refuses to use {error.filename} ({error.strerror}): "
            "expected a file or folder that may be read or written here; name another."
        )
        return 6
    complain(
        f"Unexpected error: {type(error).__name__}: {error}",
        "This is a fault in ambiseg: please report it with the output of `ambiseg --debug ...`.",
    )
    return 1
