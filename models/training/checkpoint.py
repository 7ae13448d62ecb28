"""The state of a training run between two steps: made by the seed alone, saved and restored to the bit."""

import copy
import io
import pickle
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ambiseg.preprocessing.errors import DataError
from ambiseg.preprocessing.files import whole_file
from ambiseg.preprocessing.store.store import Store

from ..core.method import Method, Player
from ..core.randomness import seed_of
from ..methods.registry import build
from ..runs.config import OptimiserSettings, TrainConfig
from ..runs.hardware import training_precision
from ..runs.run_record import DataRecord

SCHEMA = 1
COUNTERS = ("step", "best", "stale")
# The errors that readers of zips, pickles and states raise for damaged content.
UNREADABLE = (
    *(OSError, EOFError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError),
    *(AssertionError, NotImplementedError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, struct.error),
)


@dataclass
class TrainingState:
    """All that changes during training. Random numbers are seeded by the number of the step, so none need to be kept.

    Attributes:
        method: with its latest weights.
        averaged: with the exponential moving average of the weights; the method itself if there is none.
        optimisers: by "stage/player".
        scaler: of the gradients, for fp16.
        step: how many steps are done.
        best: the monitored score of the best weights.
        stale: how many validations there were since.
    """

    method: Method
    averaged: Method
    optimisers: dict[str, torch.optim.Optimizer]
    scaler: torch.amp.GradScaler
    step: int = 0
    best: float = float("inf")
    stale: int = 0

    def save(self, path: Path) -> None:
        """Write the state, whole or not at all."""
        content: dict[str, Any] = {"schema": SCHEMA, **{part: getattr(self, part) for part in COUNTERS}}
        content["method"] = self.method.state_dict()
        content["averaged"] = self.averaged.state_dict() if self.averaged is not self.method else None
        content["optimisers"] = {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}
        content["scaler"] = self.scaler.state_dict()
        buffer = io.BytesIO()
        torch.save(content, buffer)
        # No view of the buffer may live on in the traceback of a full disk: it crashes the garbage collector of Python 3.12.1.
        with whole_file(path) as file, file.open("wb") as out, buffer.getbuffer() as view:
            out.write(view)

    def load(self, path: Path, device: torch.device) -> None:
        """Restore a saved state. No code in the file is ever executed.

        Raises:
            DataError: the file is damaged, or of another version or method.
        """
        try:
            _check_sums(path)
            content = torch.load(path, map_location=device, weights_only=True)
            if content["schema"] != SCHEMA:
                raise ValueError(f"schema {content['schema']}")
            self.method.load_state_dict(content["method"])
            if content["averaged"] is not None:
                self.averaged.load_state_dict(content["averaged"])
            for name, optimiser in self.optimisers.items():
                optimiser.load_state_dict(content["optimisers"][name])
            self.scaler.load_state_dict(content["scaler"])
            for part in COUNTERS:
                setattr(self, part, _number(content, part))
        except UNREADABLE as error:
            raise DataError(
                f"{path} is corrupt or of another version: restore it from a copy, or delete it to train from the start."
            ) from error


def saved_progress(path: Path) -> tuple[int, int]:
    """How many steps are done in a saved state, and how many validations there were since the best; (0, 0) without one.

    Raises:
        DataError: the file is damaged.
    """
    if not path.is_file():
        return 0, 0
    try:
        _check_sums(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        return int(_number(content, "step")), int(_number(content, "stale"))
    except UNREADABLE as error:
        raise DataError(f"{path} is corrupt or of another version: restore it from a copy.") from error


def new_method(config: TrainConfig, store: Store) -> Method:
    """The method of a run's settings for the images and classes of a store, with weights from torch's own generator."""
    data = DataRecord.of(store, config)
    return build(config.method, data.inputs, len(data.class_names), config.options, len(data.reader_names))


def initial_state(config: TrainConfig, store: Store, device: torch.device) -> TrainingState:
    """A freshly initialised method with its optimisers, on a device; the seed alone decides the weights."""
    torch.manual_seed(seed_of(config.seed, "initialise"))
    method = new_method(config, store).to(device)
    if config.hardware.channels_last:
        method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own stub lacks it
    averaged = copy.deepcopy(method).requires_grad_(False) if config.optimiser.ema else method
    if config.hardware.compile:
        _compile(method)
    optimisers = {
        f"{stage.name}/{player.name}": _optimiser(player, config.optimiser, device)
        for stage in method.stages()
        for player in stage.players
    }
    precision = training_precision(config.hardware.precision, device)
    scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)
    return TrainingState(method, averaged, optimisers, scaler)


def _compile(method: Method) -> None:
    """Have torch compile every network that a method may call, wherever it is.

    One that another calls becomes a part of that one's graph. Single layers stay as they are.
    """
    for net in method.modules():
        runs = type(net).forward is not nn.Module.forward  # a list of networks does not
        if runs and not isinstance(net, Method) and any(True for _ in net.children()):
            net.compile()


def _optimiser(player: Player, settings: OptimiserSettings, device: torch.device) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        list(player.parameters),
        lr=settings.learning_rate * player.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=device.type == "cuda",
    )


def _check_sums(path: Path) -> None:
    """Raise BadZipFile unless every part of a checkpoint's zip has the checksum that was written with it."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(damaged)


def _number(content: dict[str, Any], part: str) -> Any:
    """A counter of a saved state. Raises ValueError for anything but a number."""
    value = content[part]
    if not isinstance(value, int | float):
        raise ValueError(f"{part} is not a number")
    return value
