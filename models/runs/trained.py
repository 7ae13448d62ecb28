"""A trained model: the best weights of a run, ready to predict."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ambiseg.preprocessing.errors import DataError, InputError, UsageError

from ..core.calibration import Calibration, read_calibration
from ..core.method import Method, build
from ..core.predictive import Predictive
from .hardware import keep_freed_memory
from .normalise import normalise, with_probabilities
from .run_folder import RECORD, Run
from .run_record import RunRecord
from .weights_file import read_weights


@dataclass(frozen=True)
class Trained:
    """A trained method with what it needs to read images; made by `load_trained`.

    `name` is the run folder's name, `weights_hash` the SHA-256 of its weights, `calibration` what was fitted for them.
    """

    method: Method
    record: RunRecord
    device: torch.device
    name: str
    weights_hash: str
    calibration: Calibration | None = None

    @torch.inference_mode()
    def predictive(self, images: NDArray, probabilities: NDArray[np.uint8] | None = None) -> Predictive:
        """The predictive distribution for images [B, C, H, W] in the data's unit (HU for CT).

        probabilities [B, K, H, W] in 255ths: another segmenter's, for a model that reads them.
        """
        arrays = (images,) if probabilities is None else (images, probabilities)
        image, *others = (torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for array in arrays)
        inputs = with_probabilities(normalise(image, self.record.window), *others)
        predictive: Predictive = self.method(inputs.to(memory_format=torch.channels_last))
        return predictive


def load_trained(path: Path, device: torch.device, *, calibrated: bool = True) -> Trained:
    """The best weights of a run, in evaluation mode on `device`, with their calibration if there is one and it is wanted."""
    if device.type == "cpu":
        keep_freed_memory()
    run = Run.open(path)
    if not run.weights.is_file():
        raise InputError(f"{path} has no weights yet: its training stopped before the first validation; resume it.")
    content = run.weights.read_bytes()
    data, config = run.record.data, run.record.config
    tensors, _ = read_weights(content, str(run.weights))
    try:
        method = build(config.method, data.inputs, len(data.class_names), config.options)
    except UsageError as error:
        raise DataError(f"{path / RECORD} is damaged or of another version: {error}") from error
    try:
        method.load_state_dict(tensors)
    except RuntimeError as error:
        raise DataError(f"{run.weights} is corrupt or not of this model: restore it or train again.") from error
    method.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own stub lacks it
    method.eval().requires_grad_(False)
    weights_hash = hashlib.sha256(content).hexdigest()
    calibration = read_calibration(path, weights_hash) if calibrated else None
    return Trained(method, run.record, device, path.resolve().name, weights_hash, calibration)
