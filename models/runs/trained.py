"""A trained model: the best weights of a run, ready to predict."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ambiseg.preprocessing.documents import shown
from ambiseg.preprocessing.errors import DataError, InputError, UsageError

from ..core.calibration import Calibration, read_calibration
from ..core.lesion_slices import Extent
from ..core.method import Method
from ..core.predictive import Predictive
from ..methods.registry import MethodMissing, build
from .hardware import keep_freed_memory
from .normalise import stored_input
from .run_folder import RECORD, Run
from .run_record import RunRecord
from .training_list import TrainingList
from .weights_file import read_weights


@dataclass(frozen=True)
class Trained:
    """A trained model: a method with its weights, and what it needs to read images. `load_trained` makes it.

    Attributes:
        method: the network, in evaluation mode.
        record: the run's record, with the settings of its training and what is known of its data.
        device: where the weights are.
        name: of the run folder.
        weights_hash: SHA-256 of the file of weights.
        calibration: what was fitted for these weights, None without such.
        folder: where its files are; None for a model that has none.
        reader: whose masks it gives (see `as_reader`); empty for those of the pool of all readers.
    """

    method: Method
    record: RunRecord
    device: torch.device
    name: str
    weights_hash: str
    calibration: Calibration | None = None
    folder: Path | None = None
    reader: str = ""

    def as_reader(self, name: str) -> "Trained":
        """The model that gives the masks of one reader.

        It has no calibration: that is fitted to the pool of all readers.

        Args:
            name: of a reader whom the model knows.

        Raises:
            UsageError: the model does not know the reader, or none by name.
        """
        known = self.record.data.reader_names
        if not known:
            raise UsageError(
                f"The model {self.name} knows no reader by name: leave out `reader`, or train a model with "
                "options.condition=reader on data that say who drew."
            )
        if name not in known:
            raise UsageError(
                f"The model {self.name} knows no reader {shown(repr(name))}: expected one of {', '.join(known)}."
            )
        return replace(self, reader=name, calibration=None)

    def trained_on(self) -> TrainingList | None:
        """The patients and images of the training, as hashes; None where the model does not say. Raises DataError."""
        return None if self.folder is None else TrainingList.read(self.folder)

    @property
    def extent(self) -> Extent | None:
        """How a lesion's first and last slices are modelled; None where that was not fitted."""
        return None if self.calibration is None else self.calibration.extent

    @torch.inference_mode()
    def predictive(self, images: NDArray, probabilities: NDArray[np.uint8] | None = None) -> Predictive:
        """The predictive distribution of masks for images.

        Args:
            images: [B, C, H, W] in the unit of the training data (HU for CT), with pixels of its spacing.
            probabilities: class probabilities [B, K, H, W] of another segmenter in 255ths, for a model that reads them.

        Returns:
            A distribution over masks [H, W] for each image.
        """
        inputs = self.network_input(images, probabilities)
        if self.reader:
            number = 1 + self.record.data.reader_names.index(self.reader)
            asked: Predictive = self.method(inputs, torch.full((len(inputs),), number, device=inputs.device))
            return asked
        predictive: Predictive = self.method(inputs)
        return predictive

    def network_input(self, images: NDArray, probabilities: NDArray[np.uint8] | None = None) -> Tensor:
        """What the networks see of images and probabilities, as `predictive` takes them."""
        arrays = (images,) if probabilities is None else (images, probabilities)
        return stored_input(arrays, self.record.window, self.record.centre, self.device)


def load_trained(path: Path, device: torch.device, *, calibrated: bool = True, keep_memory: bool = False) -> Trained:
    """The model of a run, with its best weights.

    Args:
        path: the run folder.
        device: where the model shall compute.
        calibrated: whether to load the calibration of these weights, if there is one.
        keep_memory: whether to call `keep_freed_memory` for a model on a CPU. It makes prediction faster and changes the
            whole process, so only programs that own their process should ask for it, as the command line does.

    Raises:
        InputError: there is no run, or it has no weights yet.
        DataError: a file of the run is damaged, or its method is not installed.
    """
    if keep_memory and device.type == "cpu":
        keep_freed_memory()
    run = Run.open(path)
    if not run.weights.is_file():
        raise InputError(f"{path} has no weights yet, as its training stopped before the first validation: resume it.")
    content = run.weights.read_bytes()
    method = _method(run, content).to(device)
    method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own stub lacks it
    method.eval().requires_grad_(False)
    weights_hash = hashlib.sha256(content).hexdigest()
    calibration = read_calibration(path, weights_hash) if calibrated else None
    return Trained(method, run.record, device, path.resolve().name, weights_hash, calibration, path)


def _method(run: Run, content: bytes) -> Method:
    """The method of a run with the weights that are the `content` of its file."""
    data, config = run.record.data, run.record.config
    tensors, _ = read_weights(content, str(run.weights))
    try:
        method = build(config.method, data.inputs, len(data.class_names), config.options, len(data.reader_names))
    except MethodMissing as error:
        raise DataError(
            f"{run.path} was trained with the method {shown(config.method)!r}, which is not available here: install the "
            f"package that provides it. {error}"
        ) from error
    except UsageError as error:
        raise DataError(f"{run.path / RECORD} is damaged or of another version: {error}") from error
    try:
        method.load_state_dict(tensors)
    except RuntimeError as error:
        raise DataError(f"{run.weights} is corrupt or not of this model: restore it or train again.") from error
    return method
