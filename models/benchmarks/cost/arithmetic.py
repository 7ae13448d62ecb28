"""The arithmetic of a piece of work: every convolution and matrix product in it, forward and backward, and its cost alone.

What counts as arithmetic, and how many FLOPs each call has (two a multiply-add), is what `torch.utils.flop_counter` knows.
A call's memory traffic is the size of the tensors that it reads and makes. A call on the very numbers that an earlier call
of the same kind had gives nothing new: a network that runs twice on one image. Such calls are counted apart.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Layout:
    """A tensor but for its numbers."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """Of its distinct numbers: a broadcast axis counts once."""
        return math.prod(self._own) * self.dtype.itemsize

    @property
    def _own(self) -> list[int]:
        return [1 if stride == 0 else length for length, stride in zip(self.shape, self.stride, strict=True)]

    def random(self, device: torch.device) -> Tensor:
        """A tensor of this layout with standard normal numbers; a stride of 0 (a broadcast axis) is kept."""
        return torch.empty_strided(self._own, self.stride, dtype=self.dtype, device=device).normal_().expand(self.shape)


@dataclass(frozen=True)
class Call:
    """One operation with its arguments, tensors by their layout alone; FLOPs of one execution, and the bytes of the tensors
    that it reads and makes.
    """

    operation: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...]
    flops: int = field(compare=False)
    bytes: int = field(compare=False)

    @property
    def dtype(self) -> torch.dtype:
        """The type that it computes in: its first tensor's."""
        return next(_layouts(self.arguments)).dtype

    def prepared(self, tensor: Callable[[Layout], Tensor]) -> Callable[[], Any]:
        """The call on tensors that `tensor` makes, ready to run."""
        arguments = _with_tensors(self.arguments, tensor)
        options = {name: _with_tensors(value, tensor) for name, value in self.options}
        return lambda: self.operation(*arguments, **options)


@dataclass(frozen=True)
class Arithmetic:
    """How often each distinct call is needed, and how often it was made again on the same numbers."""

    needed: Mapping[Call, int]
    repeated: Mapping[Call, int]

    def alone(self, device: torch.device) -> Callable[[], None]:
        """What is needed and nothing else, ready to run on random tensors: the calls in the work's own order, those of one
        layout together. Tensors of one layout are one, so it takes no more memory than the work.
        """
        tensor = cache(lambda layout: layout.random(device))
        runs = [call.prepared(tensor) for call, count in self.needed.items() for _ in range(count)]

        def run() -> None:
            for call in runs:
                call()

        return run

    @property
    def flops(self) -> int:
        """FLOPs of what was executed, repetitions included."""
        return _flops(self.needed) + _flops(self.repeated)

    @property
    def bytes(self) -> int:
        """Bytes that what is needed reads and writes."""
        return sum(call.bytes * count for call, count in self.needed.items())

    @property
    def repeated_flops(self) -> int:
        """FLOPs that computed nothing new."""
        return _flops(self.repeated)


def record(work: Callable[[], Any]) -> Arithmetic:
    """Run `work` once and note its arithmetic, that of its backward passes included."""
    with _Recorder() as recorder:
        work()
    return Arithmetic(recorder.needed, recorder.repeated)


def seconds_each(work: Callable[[], Any], times: int, device: torch.device) -> float:
    """Seconds of one run of `work`, the mean of `times` runs; on CUDA the device has finished.

    On a CPU with one thread it is the process's own time, in which what else the machine does hardly counts.
    """
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = process_time if alone else perf_counter
    _finish(device)
    begun = clock()
    for _ in range(times):
        work()
    _finish(device)
    return (clock() - begun) / times


class _Recorder(TorchDispatchMode):
    """Sees every operation that reaches the backend while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.needed: Counter[Call] = Counter()
        self.repeated: Counter[Call] = Counter()
        self.seen: set[tuple[Call, Any]] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        result = func(*args, **options)
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            named = tuple((name, _without_tensors(value)) for name, value in options.items())
            arguments, flops = _without_tensors(args), count(*args, **options, out_val=result)
            moved = sum(layout.bytes for layout in _layouts((arguments, named, _without_tensors(result))))
            call = Call(func, arguments, named, flops, moved)
            numbers = (call, _fingerprint(args))
            (self.repeated if numbers in self.seen else self.needed)[call] += 1
            self.seen.add(numbers)
        return result


def _flops(calls: Mapping[Call, int]) -> int:
    return sum(call.flops * count for call, count in calls.items())


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _without_tensors(value: Any) -> Any:
    if isinstance(value, Tensor):
        return Layout(tuple(value.shape), value.stride(), value.dtype)
    return tuple(map(_without_tensors, value)) if isinstance(value, list | tuple) else value


def _layouts(value: Any) -> Iterator[Layout]:
    """All layouts in nested tuples."""
    if isinstance(value, Layout):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _layouts(part)


def _with_tensors(value: Any, tensor: Callable[[Layout], Tensor]) -> Any:
    if isinstance(value, Layout):
        return tensor(value)
    return tuple(_with_tensors(part, tensor) for part in value) if isinstance(value, tuple) else value


def _fingerprint(value: Any) -> Any:
    """Sum and sum of squares of every tensor among the arguments: equal for equal numbers, by chance for no others."""
    if isinstance(value, Tensor):
        return value.sum(dtype=torch.float64).item(), torch.linalg.vector_norm(value, dtype=torch.float64).item()
    return tuple(map(_fingerprint, value)) if isinstance(value, list | tuple) else None
