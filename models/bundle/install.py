"""Install: from a zip to a model that can be used by its name."""

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

HEADER = 512  # the most bytes that a tensor takes in the header of the weights


def install_model(path: Path, *, name: str | None = None, overwrite: bool = False) -> Path:
    """Install a model's zip, whole or not at all.

    Before the model is kept, every hash is checked, the model is built and its weights are loaded. Leftovers of a killed
    installation are removed first.

    Args:
        path: The zip.
        name: The name under which to install it; by default its own.
        overwrite: Whether to replace an installed model of this name.

    Returns:
        The folder of the installed model.

    Raises:
        InputError: There is no such file.
        DataError: The zip is damaged, contains anything unexpected, or does not work with this version.
        UsageError: The name is not valid, or a model of this name is installed already.
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
            f"A model {target.name!r} is installed already: choose another `name`, or give `overwrite` to replace it."
        )


def _check_works(folder: Path, path: Path) -> None:
    """Raise a DataError unless this version can build the model and all its weights fit."""
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
    """Raise a DataError unless the weights have the shapes that run.json requires, before memory is allocated for them."""
    run = Run.open(folder)
    data, config = run.record.data, run.record.config
    options = check_options(config.method, config.options)
    method = outline(find_method(config.method), data.inputs, len(data.class_names), options, len(data.reader_names))
    with run.weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > HEADER * MOST_TENSORS:
        raise DataError(f"{run.weights} names more tensors than a model has.")
    with safetensors.safe_open(run.weights, "pt") as opened:
        found = {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118  # it is no mapping
    if found != {name: list(tensor.shape) for name, tensor in method.state_dict().items()}:
        raise DataError(f"{run.weights} holds other weights than {run.record.method} with these options has.")
