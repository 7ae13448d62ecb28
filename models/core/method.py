"""Method: what every generative segmentation model is, and how methods are found by name.

To add one: a file in `models/methods/` with one subclass of `Method`. Its constructor's keyword arguments are its options
(annotated with `Annotated[type, Field(...)]`); types, defaults, errors for unknown keys and the command line's help follow.
"""

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ambiseg.preprocessing.documents import shown
from ambiseg.preprocessing.errors import UsageError

from .batch import Batch, Loss
from .bounds import MOST_CLASSES, MOST_INPUTS, MOST_NUMBERS, MOST_TENSORS
from .predictive import Predictive

# As the README and the help list them: what is worth training first, then the baselines.
ORDER = (
    "generalized", "probunet", "modal", "refine", "gated",
    "dropout", "ensemble", "mheads", "image2image-vae",
)  # fmt: skip
DRAWING = {Tensor.normal_, Tensor.uniform_}


@dataclass(frozen=True)
class Player:
    """Parameters with a loss of their own and their own optimiser: one in most stages, two in adversarial ones.

    `loss(batch, generator)` draws all its randomness from the generator. `active(step)` says whether the player moves
    in that step of its stage; one player at least moves in each. `learning_rate` multiplies the run's.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    loss: Callable[[Batch, torch.Generator], Loss]
    learning_rate: float = 1.0
    active: Callable[[int], bool] = lambda step: True


@dataclass(frozen=True)
class Stage:
    """A part of the schedule, `share` of its steps, in which the `players` move in turn.

    `prepare(batch, generator)` is called once a step, before any player moves, and may put into `batch.shared` what
    several players need; gradients pass through it.
    """

    name: str
    players: tuple[Player, ...]
    share: float = 1.0
    prepare: Callable[[Batch, torch.Generator], Batch] = lambda batch, generator: batch


class Method(nn.Module, ABC):
    """A network that gives a distribution over whole masks.

    Nothing of a batch is kept on `self`, but for running statistics in buffers, as BatchNorm has them. `channels` is what
    a network reads (C of the image, and K more where another segmenter's class probabilities come with it), `classes` is
    K, background included.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    channels: int
    classes: int

    @abstractmethod
    def forward(self, image: Tensor) -> Predictive:
        """The predictive distribution for images [B, C, H, W], normalised as in training."""

    @abstractmethod
    def loss(self, batch: Batch, generator: torch.Generator) -> Loss:
        """The training loss of a batch; all randomness comes from `generator`, on the batch's device.

        With several players: the objective that validation reports.
        """

    def stages(self) -> tuple[Stage, ...]:
        """One stage with one player unless a method says else."""
        return (Stage("train", (Player("model", list(self.parameters()), self.loss),)),)


@cache
def methods() -> Mapping[str, type[Method]]:
    """All methods by name, in the order of `ORDER`; one that is not in it comes last."""
    from .. import methods as package

    found = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
        for value in vars(importlib.import_module(f"{package.__name__}.{module}")).values():
            if inspect.isclass(value) and issubclass(value, Method) and "name" in vars(value):
                found[value.name] = value
    return dict(sorted(found.items(), key=lambda pair: ORDER.index(pair[0]) if pair[0] in ORDER else len(ORDER)))


def find_method(name: str) -> type[Method]:
    """The method of that name or alias."""
    for method in methods().values():
        if name in (method.name, *method.aliases):
            return method
    raise UsageError(f"No method {shown(name)!r}: expected one of {', '.join(methods())}.")


@cache
def options_model(method: type[Method]) -> type[BaseModel]:
    """The method's options as a pydantic model, read off its constructor."""
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(method).parameters.values():
        if parameter.name not in ("channels", "classes"):
            fields[parameter.name] = (parameter.annotation, parameter.default)
    return create_model(
        f"{method.__name__}Options", __config__=ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False), **fields
    )


def build(name: str, channels: int, classes: int, options: Mapping[str, Any]) -> Method:
    """Construct a method from its name and options, checked against its signature.

    Raises UsageError, before any room is made, for options that would make it larger than any model.
    """
    method = find_method(name)
    checked = check_options(name, options)
    outline(method, channels, classes, checked)
    return method(channels=channels, classes=classes, **checked)


def outline(method: type[Method], channels: int, classes: int, options: Mapping[str, Any]) -> Method:
    """A method of checked options whose tensors have shapes and no numbers. Raises UsageError when they are too many."""
    if not (0 < channels <= MOST_INPUTS and 0 < classes <= MOST_CLASSES):
        raise UsageError(
            f"Method {method.name} cannot read {channels} channels for {classes} classes: expected {MOST_INPUTS} and "
            f"{MOST_CLASSES} at most."
        )
    count = {"tensors": 0, "numbers": 0}

    def add(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        if tensor is not None:
            count["tensors"] += 1
            count["numbers"] += tensor.numel()
            if count["tensors"] > MOST_TENSORS or count["numbers"] > MOST_NUMBERS:
                raise UsageError(
                    f"Method {method.name} with these options has more than {MOST_TENSORS:,} tensors or {MOST_NUMBERS:,} "
                    "numbers: choose smaller ones."
                )

    hooks = (
        nn.modules.module.register_module_parameter_registration_hook(add),
        nn.modules.module.register_module_buffer_registration_hook(add),
    )
    try:
        with torch.device("meta"), _NothingDrawn():
            return method(channels=channels, classes=classes, **options)
    finally:
        for hook in hooks:
            hook.remove()


class _NothingDrawn(TorchFunctionMode):
    """No tensor gets random numbers: without memory there is nothing to draw, and torch would load its compiler for it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func in DRAWING else func(*args, **kwargs or {})


def check_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a method, defaults filled in; one line naming the first bad key otherwise."""
    model = options_model(find_method(name))
    try:
        return model.model_validate(dict(options)).model_dump()
    except ValidationError as error:
        raise UsageError(first_problem(error, f"method {name}", list(model.model_fields))) from error


def first_problem(error: ValidationError, where: str, known: Sequence[str]) -> str:
    """One sentence for the first thing that pydantic found wrong."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"Unknown option {shown(key)!r} of {where}: expected one of {', '.join(known)}."
    return f"Option {shown(key)!r} of {where}: {first['msg'].lower()}, came {shown(repr(first['input']))}."
