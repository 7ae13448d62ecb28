"""From a zip to a model that can be used by its name."""

import os
from pathlib import Path

import safetensors
import torch

from ambiseg.preprocessing.errors import AmbisegError, DataError, UsageError
from ambiseg.preprocessing.files import clear_leftovers, whole_folder

from ..core.bounds import MOST_TENSORS
from ..methods.constructor import outline
from ..methods.registry import check_options, find_method
from ..runs.run_folder import Run
from ..runs.trained import load_trained
from .installed import models_folder
from .metadata import read_metadata
from .model_files import check_files, check_name
from .model_zip import model_name, unpack

HEADER = 512  # bytes that a tensor takes in the header of the weights, at the most


def install_model(path: Path, *, name: str | None = None, overwrite: bool = False) -> Path:
    """Install a model's zip under a name (default: its own), whole or not at all; returns its folder.

    Before it is kept every hash is checked, the model is built and its weights are loaded. Raises InputError when there is
    no file, DataError for a zip that is damaged, holds anything strange or does not work with this version, UsageError for
    a bad name or a model that is installed already. What a killed installation left in the place goes first.
    """
    if name is not None:
        check_name(name)
    target = models_folder() / (name or model_name(path))
    _check_free(target, overwrite)
    clear_leftovers(models_folder())
    with whole_folder(target) as place:
        unpack(path, place)
        check_files(place, path)
        read_metadata(place, path)
        _check_works(place, path)
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
    except (AmbisegError, safetensors.SafetensorError) as error:
        said = str(error).replace(f"{folder}{os.sep}", "").removesuffix(".")
        raise DataError(
            f"{path} was refused, its weights, run.json and calibration do not belong together: {said}."
        ) from error


def _check_shapes(folder: Path) -> None:
    """Raise a DataError unless the weights' shapes are those that run.json asks for, before any room is made for them."""
    run = Run.open(folder)
    data, config = run.record.data, run.record.config
    options = check_options(config.method, config.options)
    wanted = outline(find_method(config.method), data.inputs, len(data.class_names), options).state_dict()
    with run.weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > HEADER * MOST_TENSORS:
        raise DataError(f"{run.weights} names more tensors than a model has.")
    with safetensors.safe_open(run.weights, "pt") as opened:
        found = {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118  # it is no mapping
    if found != {name: list(tensor.shape) for name, tensor in wanted.items()}:
        raise DataError(f"{run.weights} holds other weights than {run.record.method} with these options has.")
