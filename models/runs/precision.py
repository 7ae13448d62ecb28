"""In which precision networks are trained: half of it where the hardware has units for it, asked for openly."""

import platform
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from ambiseg.preprocessing.errors import UsageError

X86 = ("x86_64", "AMD64")


def training_precision(asked: str, device: torch.device) -> torch.dtype:
    """The type in which convolutions and matrix products are computed on a device, for `hardware.precision` as `asked`.

    "auto" is bf16 where the device has units for it, else fp16 on CUDA and float32 on a CPU. Raises UsageError for a type
    that the device would only imitate, which is tens of times slower than float32.
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
    """Whether the device computes in bf16, rather than imitating it.

    oneDNN takes bf16 on every CPU with AVX-512 and converts where there is no avx512_bf16, at a third of float32's speed.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return False
    return platform.machine() not in X86 or torch.cpu._is_avx512_bf16_supported()


def autocast(precision: torch.dtype, device: torch.device, *, graphs: bool = False) -> AbstractContextManager[Any]:
    """A context in which networks compute in this precision; with `graphs`, as CUDA graphs need it: no weight is converted
    ahead and kept.
    """
    if precision is torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision, cache_enabled=not graphs)
