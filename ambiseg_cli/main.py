"""The `ambiseg` command: all commands together, and the one place where an error becomes an exit code."""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from ambiseg.models.training.interrupt import interruptible, stopped_by
from ambiseg.preprocessing.errors import AmbisegError, Interrupted
from ambiseg.preprocessing.shortages import named

from .commands.audit import audit
from .commands.benchmark.benchmark import benchmark
from .commands.calibrate import calibrate
from .commands.compare import compare
from .commands.data import data
from .commands.data_readers import consensus, readers
from .commands.demo.demo import demo
from .commands.evaluate import evaluate
from .commands.gallery import gallery
from .commands.growth import growth
from .commands.methods import methods
from .commands.model import model
from .commands.phantom import phantom
from .commands.predict import predict
from .commands.preprocess.cityscapes import cityscapes
from .commands.preprocess.lidc import lidc
from .commands.preprocess.mnist_guess import mnist_guess
from .commands.preprocess.nifti import nifti
from .commands.preprocess.packed import packed
from .commands.score import score
from .commands.train import train
from .terminal.console import complain
from .terminal.everywhere import FRANK, Debug, Everywhere, Quiet
from .terminal.option_names import spoken
from .terminal.streams import let_go, outlive_terminal
from .version import __version__

app = typer.Typer(
    name="ambiseg",
    help="Ranked, plausible segmentation masks, each with a probability. For research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    cls=Everywhere,
    context_settings={"help_option_names": ["-h", "--help"]},
)
preprocess = typer.Typer(help="Make a dataset store from images and readers' masks.", no_args_is_help=True)
for source in (lidc, nifti, packed, mnist_guess, cityscapes):
    preprocess.command()(source)
app.add_typer(preprocess, name="preprocess")
for part in (readers, consensus):
    data.command()(part)
app.add_typer(data, name="data")
app.add_typer(benchmark, name="benchmark")
app.add_typer(model, name="model")
for command in (train, evaluate, calibrate, compare, score, audit, predict, growth, gallery, methods, phantom, demo):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ambiseg {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Options of the whole command line."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code. Errors meant for the user become one sentence on stderr."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is loaded; see docs/decisions/0010
    outlive_terminal()
    with interruptible():
        try:
            code = _run(arguments)
        except KeyboardInterrupt:
            code = _interrupted("Interrupted: nothing half-written was kept. Run the same command again.")
        except Exception as error:
            code = _report(error)
    for stream in (sys.stdout, sys.stderr):
        let_go(stream)
    raise SystemExit(code)


def _run(arguments: Sequence[str] | None) -> int:
    """Run the command line and return its exit code. Raises KeyboardInterrupt, and whatever a command raises."""
    try:
        app(arguments, prog_name="ambiseg")
    except SystemExit as leaving:
        if leaving.code == 130:  # this is how typer passes on a KeyboardInterrupt
            raise KeyboardInterrupt from None
        sys.stdout.flush()  # a full disk is found here, not when Python ends
        return int(leaving.code or 0)
    return 0


def _report(error: Exception) -> int:
    """Print what went wrong and return the exit code."""
    if os.environ.get(FRANK):
        complain(*traceback.format_exc().splitlines())
    if isinstance(error, Interrupted):
        return _interrupted(str(error))
    told = named(error) or error
    if isinstance(told, AmbisegError):
        sentence, *below = map(spoken, told.lines)
        complain(f"Error: {sentence}", *below)
        return told.exit_code
    if stopped_by() is not None:  # a library turned the interruption into another error
        return _interrupted("Interrupted: run the same command again.")
    complain(
        f"Unexpected error: {type(error).__name__}: {error}",
        "This is a bug in ambiseg. Please report it with the output of `ambiseg --debug ...`.",
    )
    return 1


def _interrupted(sentence: str) -> int:
    """Print that the work was stopped. Returns the exit code: 128 plus the signal's number."""
    complain(spoken(sentence))
    return 128 + (stopped_by() or signal.SIGINT)
