"""The constructor of a method is its schema: its options as a pydantic model, and its size before memory is allocated."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ambiseg.preprocessing.documents import shown
from ambiseg.preprocessing.errors import UsageError

from ..core.bounds import MOST_CLASSES, MOST_INPUTS, MOST_NUMBERS, MOST_TENSORS
from ..core.method import Method

GIVEN = ("channels", "classes", "readers")  # parameters of a constructor that follow from the data
DRAWING = {Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_}

Options = Mapping[str, object]


@cache
def options_model(method: type[Method]) -> type[BaseModel]:
    """The options of a method as a pydantic model, read from its constructor.

    Args:
        method: a subclass of `Method`.

    Returns:
        A frozen model with one field per option, in the order of the constructor's parameters.

    Raises:
        TypeError: a parameter other than `channels`, `classes` and `readers` has no type or no default.

    Example:
        >>> from .baselines.mheads import MHeads
        >>> options_model(MHeads)().heads
        16
    """
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(method, eval_str=True).parameters.values():
        if parameter.name in GIVEN:
            continue
        if parameter.annotation is parameter.empty or parameter.default is parameter.empty:
            raise TypeError(f"option {parameter.name} of {method.__name__} needs a type and a default")
        fields[parameter.name] = (parameter.annotation, parameter.default)
    return create_model(
        f"{method.__name__}Options", __config__=ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False), **fields
    )


def checked_options(method: type[Method], options: Options) -> dict[str, Any]:
    """All options of a method by name, with its defaults filled in.

    Raises:
        UsageError: an option is unknown or has a bad value; the message names the first one.
    """
    model = options_model(method)
    try:
        return model.model_validate(dict(options)).model_dump()
    except ValidationError as error:
        raise UsageError(first_problem(error, f"method {method.name}", list(model.model_fields))) from error


def first_problem(error: ValidationError, where: str, known: Sequence[str]) -> str:
    """One sentence for the first problem that pydantic found in settings `where`, whose keys are the `known` ones."""
    first, *others = error.errors()
    place, expected, got = first["loc"], first["msg"].lower(), first["input"]
    for other in others:
        *at, kind = other["loc"]
        # A value that may be of several kinds fails as each of them, at a place that ends in the kind.
        if str(kind).startswith("literal[") and place[: len(at)] == tuple(at):
            expected = "input is too short" if first["type"] == "missing" else expected.split(",")[0]
            expected += f", or {other['msg'].lower().removeprefix('input should be ')}"
            place, got = tuple(at), other["input"]
    key = ".".join(str(part) for part in place)
    if first["type"] == "extra_forbidden":
        return f"Unknown option {shown(key)!r} of {where}: expected one of {', '.join(known)}."
    return f"Option {shown(key)!r} of {where}: {expected}, got {shown(repr(got))}."


def by_reader(options: Options) -> bool:
    """Whether these options of a method make it tell readers apart by their names."""
    return options.get("condition") == "reader"


def outline(method: type[Method], channels: int, classes: int, options: Options, readers: int = 0) -> Method:
    """A method whose tensors have shapes but hold no numbers, so that its size is known before memory is allocated.

    Args:
        method: a subclass of `Method`.
        channels: C, plus K where the class probabilities of another segmenter are read.
        classes: K, background included.
        options: as `checked_options` returns them.
        readers: how many the data name.

    Raises:
        UsageError: the method would be larger than any model that is trained.
    """
    if not (0 < channels <= MOST_INPUTS and 0 < classes <= MOST_CLASSES):
        raise UsageError(
            f"Method {method.name} cannot read {channels} channels for {classes} classes: expected at most {MOST_INPUTS} "
            f"channels and {MOST_CLASSES} classes."
        )
    count = _counter(method)
    hooks = (
        nn.modules.module.register_module_parameter_registration_hook(count),
        nn.modules.module.register_module_buffer_registration_hook(count),
    )
    try:
        with torch.device("meta"), _NothingDrawn():
            return constructed(method, channels, classes, options, readers)
    finally:
        for hook in hooks:
            hook.remove()


def constructed(method: type[Method], channels: int, classes: int, options: Options, readers: int = 0) -> Method:
    """A method of these options, which must have been checked; `readers` counts the readers whom the data name.

    Raises UsageError where the options ask for readers with names and there are none.
    """
    make: Callable[..., Method] = method
    if not by_reader(options):
        return make(channels=channels, classes=classes, **options)
    if readers < 1:
        raise UsageError("options.condition is reader, but the data name no readers: leave the option out.")
    return make(channels=channels, classes=classes, readers=readers, **options)


def _counter(method: type[Method]) -> Callable[[nn.Module, str, Tensor | None], None]:
    """A hook that counts the tensors that modules register, and their numbers; UsageError once they are too many."""
    tensors = numbers = 0

    def count(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal tensors, numbers
        if tensor is None:
            return
        tensors, numbers = tensors + 1, numbers + tensor.numel()
        if tensors > MOST_TENSORS or numbers > MOST_NUMBERS:
            raise UsageError(
                f"Method {method.name} with these options has more than {MOST_TENSORS:,} tensors or {MOST_NUMBERS:,} "
                "numbers: choose smaller ones."
            )

    return count


class _NothingDrawn(TorchFunctionMode):
    """Fills no tensor with random numbers: without memory there is nothing to draw, and torch would load its compiler."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        given = kwargs or {}
        if func in DRAWING:  # those of `nn.init` come with their tensor by its name
            return args[0] if args else given["tensor"]
        return func(*args, **given)
