"""From a zip to a model that can be used by its name."""

import shutil
import tempfile
from pathlib import Path

import safetensors
import torch

from ambiseg.preprocessing.errors import AmbisegError, DataError, UsageError
from ambiseg.preprocessing.files import disk_errors, whole_folder

from ..method import build
from ..run import Run, load_trained
from .archive import unpack
from .files import check_files, check_name
from .installed import models_folder
from .metadata import read_metadata

ABSURD = (RuntimeError, TypeError, ValueError, ArithmeticError)  # what torch raises for sizes that no net can have


def install_model(path: Path, *, name: str | None = None, overwrite: bool = False) -> Path:
    """Install a model's zip under a name (default: its own), whole or not at all; returns its folder.

    Before it is kept every hash is checked, the model is built and its weights are loaded. Raises InputError when there is
    no file, DataError for a zip that is damaged, holds anything strange or does not work with this version, UsageError for
    a bad name or a model that is installed already.
    """
    if name is not None:
        check_name(name)
    with tempfile.TemporaryDirectory() as folder, disk_errors(Path(folder)):
        aside = Path(folder)
        own = unpack(path, aside)
        target = models_folder() / (name or own)
        _check_free(target, overwrite)
        check_files(aside, path)
        read_metadata(aside, path)
        _check_works(aside, path)
        with whole_folder(target) as place:
            for file in aside.iterdir():  # without the temporary folder's mode, which shuts out other users
                shutil.copyfile(file, place / file.name)
    return target


def _check_free(target: Path, overwrite: bool) -> None:
    if target.exists() and not overwrite:
        raise UsageError(
            f"A model {target.name!r} is installed already: choose another --name, or replace it with --overwrite."
        )


def _check_works(folder: Path, path: Path) -> None:
    """Raise a DataError unless this version can build the model and its weights fit it to the last."""
    try:
        _check_shapes(folder)
        load_trained(folder, torch.device("cpu"))
    except UsageError as error:
        raise DataError(f"{path} was made for another version of ambiseg: {error}") from error
    except (AmbisegError, safetensors.SafetensorError, *ABSURD) as error:
        raise DataError(f"{path} was refused, its weights, run.json and calibration do not belong together.") from error


def _check_shapes(folder: Path) -> None:
    """Raise a DataError unless the weights' shapes are those that run.json asks for, before any room is made for them."""
    run = Run.open(folder)
    data, config = run.record.data, run.record.config
    with torch.device("meta"):
        method = build(config.method, data.inputs, len(data.class_names), config.options)
    wanted = {name: list(tensor.shape) for name, tensor in method.state_dict().items()}
    with safetensors.safe_open(run.weights, "pt") as file:
        found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118  # it is no mapping
    if found != wanted:
        raise DataError(f"{run.weights} is not of this model.")
