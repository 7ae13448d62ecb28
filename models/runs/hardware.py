"""The machine that a run computes on: its device, its precision, and the memory of its C library.

Nothing is chosen silently: a device or a precision that was requested is used, or refused with a reason.
"""

import ctypes
import platform
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.errors import ResourceError, UsageError

X86 = ("x86_64", "AMD64")

# Parameters of mallopt(3), from glibc's malloc.h. Blocks above a size are mapped separately (at most so many of them),
# free memory at the end of the heap is given back above a threshold, and the heap grows by so much more than requested.
MMAP_MAX, TRIM_THRESHOLD, TOP_PAD = -4, -1, -2
NEVER, MARGIN = 2**31 - 1, 2**28


def resolve_device(text: str = "auto") -> torch.device:
    """The device that a name stands for; a device that was requested is never replaced by another one.

    Args:
        text: "auto" (CUDA if there is a CUDA device, else the CPU), "cpu", "cuda" or "cuda:N".

    Raises:
        UsageError: the text is none of these.
        ResourceError: this machine has no such device.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if text == "cpu":
        return torch.device("cpu")
    kind, _, number = text.partition(":")
    if kind != "cuda" or not (number == "" or number.isdigit()):
        raise UsageError(f"Unknown `device` {text!r}: expected auto, cpu, cuda or cuda:N.")
    if not torch.cuda.is_available():
        raise ResourceError(f"`device` is {text!r}, but this PyTorch sees no CUDA device: set `device` to cpu.")
    if int(number or 0) >= torch.cuda.device_count():
        there = counted(torch.cuda.device_count(), "CUDA device")
        raise ResourceError(
            f"`device` is {text!r}, but this machine has {there}, numbered from 0: choose one of these."
        )
    return torch.device(text)


def training_precision(asked: str, device: torch.device) -> torch.dtype:
    """The type in which convolutions and matrix products are computed on a device.

    Args:
        asked: the setting `hardware.precision`. "auto" is bf16 where the device has units for it, else fp16 on CUDA and
            float32 on a CPU.
        device: where the networks are trained.

    Raises:
        UsageError: the device would only emulate the type, which is tens of times slower than float32.
    """
    units = has_bf16_units(device)
    if asked == "float32" or (asked == "auto" and device.type == "cpu" and not units):
        return torch.float32
    if asked == "fp16" and device.type == "cpu":
        raise UsageError("hardware.precision = 'fp16' needs CUDA: use auto, bf16 or float32.")
    if asked == "bf16" and not units:
        raise UsageError(
            f"hardware.precision = 'bf16' needs a device with bf16 units, which this {device.type.upper()} device lacks: "
            "use auto or float32."
        )
    return torch.bfloat16 if units and asked != "fp16" else torch.float16


def has_bf16_units(device: torch.device) -> bool:
    """Whether the device computes in bf16 natively rather than by emulation.

    oneDNN accepts bf16 on every CPU with AVX-512. Without avx512_bf16 it converts, at a third of the speed of float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False
    return platform.machine() not in X86 or torch.cpu._is_avx512_bf16_supported()


def autocast(precision: torch.dtype, device: torch.device, *, graphs: bool = False) -> AbstractContextManager[Any]:
    """A context in which networks compute in this precision.

    graphs: whether the networks run as CUDA graphs, for which no converted weight may be cached.
    """
    if precision is torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision, cache_enabled=not graphs)


@cache
def keep_freed_memory() -> bool:
    """Make the C library keep freed memory for this process, from now on.

    What one training step or prediction frees, the next one needs again. By default glibc returns every block of a few
    megabytes to the system when a tensor is freed, and the system hands out zeroed pages when the next one is allocated:
    up to a quarter of a step (docs/decisions/0010-memory-on-a-cpu.md). Afterwards the process holds on to the most memory
    that it ever had in use, so only the training loop, the command line and processes of our own call this; a Python
    program that predicts keeps its allocator as it is, unless it asks for this.

    Returns:
        Whether it could be done (glibc only).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(name, value) == 1 for name, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, NEVER), (TOP_PAD, MARGIN)))
