"""Starting from a trained model: its weights where their shapes fit, and parts of them that stay as they are."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor, nn

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.errors import InputError, UsageError
from ambiseg.preprocessing.store.store import Store

from ..core.method import Method
from ..core.named_readers import by_names
from ..runs.config import TrainConfig
from ..runs.run_folder import Run
from ..runs.run_record import DataRecord
from ..runs.weights_file import read_weights
from .checkpoint import new_method

SHOWN = 4  # names in a message


@dataclass(frozen=True)
class Start:
    """What a new method takes from a trained model.

    Attributes:
        taken: names of its parameters and buffers whose values come from the model.
        fresh: names of those that have another shape in the model, or that it lacks.
        frozen: names of those that stay as they are.
    """

    taken: tuple[str, ...]
    fresh: tuple[str, ...]
    frozen: tuple[str, ...]

    def __str__(self) -> str:
        """What was taken, in words."""
        words = f"{len(self.taken)} of {counted(len(self.taken) + len(self.fresh), 'tensor')} taken"
        if self.fresh:
            words += f"; made anew: {_listed(self.fresh)}"
        if self.frozen:
            words += f"; {counted(len(self.frozen), 'tensor')} frozen"
        return words


def with_start(config: TrainConfig, store: Store) -> TrainConfig:
    """The settings of a run that is about to start, with the hash of the weights that it starts from.

    Raises:
        InputError: there is no such model.
        UsageError: the model is of another method, nothing of it fits, or a frozen part does not exist or does not fit.
    """
    if not config.start.model:
        if config.start.frozen:
            raise UsageError("Only parts of a trained model can be frozen: give the model as `start`.")
        return config
    tensors, weights = _source(config, DataRecord.of(store, config).reader_names)
    _plan(_unfilled(config, store), tensors, config)
    return config.model_copy(update={"start": config.start.model_copy(update={"weights": weights})})


def plan(config: TrainConfig, store: Store) -> Start:
    """What a run takes from the model that it starts from. Raises as `with_start`."""
    tensors, _ = _source(config, DataRecord.of(store, config).reader_names)
    return _plan(_unfilled(config, store), tensors, config)


def _unfilled(config: TrainConfig, store: Store) -> Method:
    """The method of a run, of which only names and shapes are known."""
    with torch.device("meta"):
        return new_method(config, store)


def begin_from(method: Method, config: TrainConfig, readers: Sequence[str] = ()) -> None:
    """Give a new method the weights of the model that its settings name; nothing is done where they name none.

    readers: the names of the readers whom the method tells apart.
    """
    if not config.start.model:
        return
    tensors, _ = _source(config, readers)
    taken = _plan(method, tensors, config).taken
    method.load_state_dict({name: tensors[name] for name in taken}, strict=False)


class Frozen:
    """Parts of a method that stay as they are, whatever an optimiser or a batch does to them.

    Normalisation layers whose weights are frozen use their stored statistics in training, too.
    """

    def __init__(self, method: Method, patterns: Sequence[str]) -> None:
        state = method.state_dict(keep_vars=True)
        names = _matching(state, patterns)
        self.tensors = [state[name] for name in names]
        self.kept = [tensor.detach().clone() for tensor in self.tensors]
        self.layers = [
            layer
            for place, layer in method.named_modules()
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and f"{place}.weight" in names
        ]

    def before(self) -> None:
        """To be called before a step, when the method is in training mode."""
        for layer in self.layers:
            layer.eval()

    @torch.no_grad()
    def after(self) -> None:
        """To be called after a step: put back what has moved."""
        for tensor, kept in zip(self.tensors, self.kept, strict=True):
            tensor.copy_(kept)


def _source(config: TrainConfig, readers: Sequence[str]) -> tuple[dict[str, Tensor], str]:
    """The weights of the model that a run starts from, and their hash; what it has for a reader goes by the name."""
    path, expected = Path(config.start.model), config.start.weights
    try:
        run = Run.open(path)
        content = run.weights.read_bytes()
    except (InputError, FileNotFoundError) as error:
        raise InputError(f"The model to start from is not at {path}: restore it, or start a new run.") from error
    if run.record.method != config.method:
        raise UsageError(
            f"{path} is a model of {run.record.method}, not of {config.method}: choose the same method, or leave it out."
        )
    weights = hashlib.sha256(content).hexdigest()
    if expected and weights != expected:
        raise UsageError(
            f"{path} has other weights than the run was started from, SHA-256 {weights[:12]} instead of {expected[:12]}: "
            "restore them, or start a new run."
        )
    tensors = read_weights(content, str(run.weights))[0]
    return by_names(tensors, run.record.data.reader_names, readers), weights


def _plan(method: Method, tensors: Mapping[str, Tensor], config: TrainConfig) -> Start:
    state = method.state_dict()
    taken = [name for name, tensor in state.items() if name in tensors and tensors[name].shape == tensor.shape]
    parameters = {name for name, _ in method.named_parameters()}
    if not parameters.intersection(taken):
        raise UsageError(
            f"Nothing of {config.start.model} fits the network of this run: use the model's own options, such as "
            "options.widths."
        )
    frozen = _matching(state, config.start.frozen)
    for pattern in config.start.frozen:
        if not _matching(state, [pattern]):
            tops = sorted({".".join(name.split(".")[:2]) for name in parameters})
            raise UsageError(f"No part {pattern!r} to freeze: expected names such as {_listed(tops)}.")
    if lacking := [name for name in frozen if name not in taken]:
        raise UsageError(
            f"{_listed(lacking)} cannot be frozen, as the model has other shapes there (other classes or channels): leave it "
            "to be trained."
        )
    return Start(tuple(taken), tuple(name for name in state if name not in taken), tuple(frozen))


def _matching(names: Mapping[str, Tensor], patterns: Sequence[str]) -> list[str]:
    """The names that are, or lie within, one of the patterns, which may have wildcards."""
    return [name for name in names if any(fnmatchcase(name, one) or fnmatchcase(name, f"{one}.*") for one in patterns)]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
