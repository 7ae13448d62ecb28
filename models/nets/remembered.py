"""What a net made of an image, kept while one looks around a lesion: most slices are seen again with the next step.

A net whose output for an image does not depend on the other images of the batch remembers by rows. Inside `remembering`,
it only runs on the images that are new. Elsewhere nothing changes.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from hashlib import sha256
from typing import TypeVar

import torch
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)
Key = tuple[int, bytes]

MOST_BYTES = 256_000_000  # of outputs; the ones not used for the longest time are forgotten first
LEAST_ROWS = 16  # of a batch: convolutions of a few images round otherwise than those of many


class Memory:
    """Outputs of nets for single images, at most `MOST_BYTES` of them."""

    def __init__(self) -> None:
        self._rows: OrderedDict[Key, Tensor] = OrderedDict()
        self._bytes = 0

    def rows(self, net: int, images: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        """A net's outputs [B, ...] for images [B, C, H, W]; it runs on the new ones, and on others up to `LEAST_ROWS`."""
        keys = [(net, sha256(image.numpy().tobytes()).digest()) for image in images]
        new = [number for number, key in enumerate(keys) if key not in self._rows]
        if len(new) == len(keys):
            found = run(images)
            self._keep(keys, found)
            return found
        if new:
            old = [number for number, key in enumerate(keys) if key in self._rows]
            chosen = sorted(new + old[: max(0, LEAST_ROWS - len(new))])
            self._keep([keys[number] for number in chosen], run(images[chosen]))
        for key in keys:
            self._rows.move_to_end(key)
        return torch.cat([self._rows[key] for key in keys])

    def forget(self) -> None:
        """Forget the oldest outputs beyond `MOST_BYTES`."""
        while self._bytes > MOST_BYTES:
            _, row = self._rows.popitem(last=False)
            self._bytes -= row.nbytes

    def _keep(self, keys: list[Key], found: Tensor) -> None:
        for key, row in zip(keys, found.split(1), strict=True):
            if key not in self._rows:
                self._rows[key] = row.clone()  # else the whole batch would stay in memory
                self._bytes += row.nbytes


_memory: ContextVar[Memory | None] = ContextVar("_memory", default=None)


@contextmanager
def remembering() -> Iterator[None]:
    """Within it, nets on the CPU that are `remembered` run once for each image."""
    token = _memory.set(Memory())
    try:
        yield
    finally:
        _memory.reset(token)


def remembered(run: Callable[[Net, Tensor], Tensor]) -> Callable[[Net, Tensor], Tensor]:
    """A method of a net, from images [B, C, H, W] to outputs [B, ...], that is not run again on images it has seen."""

    @wraps(run)
    def rows(net: Net, images: Tensor) -> Tensor:
        memory = _memory.get()
        if memory is None or net.training or torch.is_grad_enabled() or images.device.type != "cpu":
            return run(net, images)
        found = memory.rows(id(net), images, lambda some: run(net, some))
        memory.forget()
        return found

    return rows
