"""Random numbers come from explicit generators, each seeded by its purpose, so that every draw replays.

Numbers are drawn on the generator's own device and then moved: a CPU generator gives the same draws everywhere.
"""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

TINY = 1e-20


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed that depends on all parts and on nothing else, such as (seed of the run, "step", 17).

    Example:
        >>> seed_of(0, "step", 17) == seed_of(0, "step", 17) != seed_of(0, "step", 18)
        True
    """
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator_for(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on `device` seeded by `seed_of(*parts)`."""
    return torch.Generator(device).manual_seed(seed_of(*parts))


def normal(shape: Sequence[int], generator: torch.Generator | None, like: Tensor) -> Tensor:
    """Standard normal numbers of a shape, on the device of `like`, float32."""
    device = generator.device if generator is not None else like.device
    return torch.randn(tuple(shape), generator=generator, device=device).to(like.device)


def uniform(shape: Sequence[int], generator: torch.Generator | None, like: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) of a shape, on the device of `like`, float32."""
    device = generator.device if generator is not None else like.device
    return torch.rand(tuple(shape), generator=generator, device=device).to(like.device)


def gumbel(shape: Sequence[int], generator: torch.Generator | None, like: Tensor) -> Tensor:
    """Standard Gumbel numbers of a shape: adding them to logits and taking the argmax draws from the softmax."""
    return -(-(uniform(shape, generator, like).clamp_min(TINY)).log()).clamp_min(TINY).log()


def kept(shape: Sequence[int], rate: float, generator: torch.Generator | None, like: Tensor) -> Tensor:
    """The factors of dropout for features [..., C, H, W] of a `shape`: 0 with probability `rate` (to 1/65536), else
    1 / (1 - rate). They are on the device of `like`, in its type, and have channels last in memory, as features do.

    Each takes sixteen random bits, which a CPU generates several times faster than a float.
    """
    device = generator.device if generator is not None else like.device
    words = torch.empty(-(-math.prod(shape) // 4), dtype=torch.int64, device=device)
    bits = words.random_(-(2**63), None, generator=generator).view(torch.int16)[: math.prod(shape)]
    factors = torch.empty(bits.shape, dtype=like.dtype, device=device)
    torch.ge(bits, round(rate * 2**16) - 2**15, out=factors).mul_(1 / (1 - rate))
    *leading, channels, height, width = shape
    return factors.to(like.device).view(*leading, height, width, channels).movedim(-1, -3)
