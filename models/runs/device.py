"""Which device computes, chosen openly: what is asked for is what is used."""

import torch

from ambiseg.preprocessing.errors import ResourceError, UsageError


def resolve_device(text: str = "auto") -> torch.device:
    """The device for "auto" (CUDA when there is one), "cpu", "cuda" or "cuda:N"; never another one than asked for."""
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if text == "cpu":
        return torch.device("cpu")
    kind, _, number = text.partition(":")
    if kind != "cuda" or not (number == "" or number.isdigit()):
        raise UsageError(f"No device {text!r}: expected auto, cpu, cuda or cuda:N.")
    if not torch.cuda.is_available():
        raise ResourceError(f"Device {text!r} asked for, but this PyTorch sees no CUDA device: use --device cpu.")
    if int(number or 0) >= torch.cuda.device_count():
        raise ResourceError(f"Device {text!r} asked for, but there are {torch.cuda.device_count()} CUDA devices.")
    return torch.device(text)
