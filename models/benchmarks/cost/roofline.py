"""What a device can do at best: FLOPs per second by large products and convolutions, bytes per second by a large copy.

An operation takes at least its arithmetic at the first speed or its memory traffic at the second, whichever is longer
(the roofline of Williams et al. 2009). Memory is that of the large copy: what stays in a cache may go faster.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .arithmetic import Call, seconds_each

TRIES = 3  # the best of which counts: a limit is what nothing beats
SIDES = {"cpu": 1024, "cuda": 8192}  # of the square matrices
IMAGES = {"cpu": 2, "cuda": 64}  # of 64 x 64 pixels and WIDTH channels, convolved to as many by 3 x 3
WIDTH = 128
COPIED = {"cpu": 2**28, "cuda": 2**31}  # bytes of the copied block


@dataclass(frozen=True)
class Speeds:
    """A device's best: FLOPs a second in each type, and bytes per second read and written."""

    flops: Mapping[torch.dtype, float]
    bandwidth: float

    def seconds(self, calls: Mapping[Call, int]) -> float:
        """The least time of calls, each so many times, one after the other and none in a cache."""
        return sum(
            count * max(call.flops / self.flops[call.dtype], call.bytes / self.bandwidth)
            for call, count in calls.items()
        )


def measure_speeds(device: torch.device, dtypes: Iterable[torch.dtype]) -> Speeds:
    """Measure a device's speeds, of arithmetic in these types. A library may be slow in one kind of it, so two are tried."""
    return Speeds(
        {dtype: max(_product_speed(device, dtype), _convolution_speed(device, dtype)) for dtype in dtypes},
        _copy_speed(device),
    )


def _product_speed(device: torch.device, dtype: torch.dtype) -> float:
    side = SIDES[device.type]
    left, right = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
    result = torch.empty_like(left)
    return 2 * side**3 / _best(lambda: torch.mm(left, right, out=result), device)


def _convolution_speed(device: torch.device, dtype: torch.dtype) -> float:
    image = torch.ones(IMAGES[device.type], WIDTH, 64, 64, dtype=dtype, device=device)
    weight = torch.ones(WIDTH, WIDTH, 3, 3, dtype=dtype, device=device)
    image, weight = (each.to(memory_format=torch.channels_last) for each in (image, weight))
    return 2 * image.numel() * WIDTH * 9 / _best(lambda: F.conv2d(image, weight, padding=1), device)


def _copy_speed(device: torch.device) -> float:
    source = torch.ones(COPIED[device.type], dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return 2 * source.numel() / _best(lambda: target.copy_(source), device)


def _best(work: Callable[[], object], device: torch.device) -> float:
    work()
    return min(seconds_each(work, 3, device) for _ in range(TRIES))
