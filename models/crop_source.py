"""Where training crops come from: all on the device when they fit, otherwise read ahead from the store's memory maps."""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ambiseg.preprocessing.store import Store

from .randomness import seed_of

Crops = tuple[Tensor, Tensor, Tensor]  # images [B, C, H, W], masks [B, R, H, W], present [B, R]
SHARE = 0.4  # of the free memory that the data may take


class DeviceSource:
    """All crops of the given rows on the device, in their stored types."""

    def __init__(self, store: Store, rows: NDArray[np.intp], device: torch.device):
        self.crops = _read(store, rows, device)

    def fetch(self, positions: Sequence[int], ahead: Sequence[int]) -> Crops:
        """The crops at these positions among the rows."""
        index = torch.as_tensor(positions, device=self.crops[0].device)
        images, masks, present = (part.index_select(0, index) for part in self.crops)
        return images, masks, present


class MappedSource:
    """Crops read from disk; while a batch is used, a thread reads the next one."""

    def __init__(self, store: Store, rows: NDArray[np.intp], device: torch.device):
        self.store, self.rows, self.device = store, rows, device
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="crops")
        self.coming: tuple[tuple[int, ...], Future[Crops]] | None = None

    def fetch(self, positions: Sequence[int], ahead: Sequence[int]) -> Crops:
        """The crops at these positions; those at `ahead` are read meanwhile."""
        if self.coming is not None and self.coming[0] == tuple(positions):
            crops = self.coming[1].result()
        else:
            crops = self._read(positions)
        self.coming = (tuple(ahead), self.reader.submit(self._read, ahead))
        return crops

    def _read(self, positions: Sequence[int]) -> Crops:
        return _read(self.store, self.rows[np.asarray(positions, np.intp)], self.device)


def crop_source(store: Store, rows: NDArray[np.intp], device: torch.device, memory: str) -> DeviceSource | MappedSource:
    """The source for `memory` "device", "mapped" or "auto" (on the device when the crops take less than SHARE of it)."""
    if memory == "auto":
        one = store.images(rows[:1]).nbytes + store.masks(rows[:1]).nbytes
        memory = "device" if one * len(rows) < SHARE * _free_bytes(device) else "mapped"
    return (DeviceSource if memory == "device" else MappedSource)(store, rows, device)


def positions_of_step(step: int, count: int, batch: int, seed: int) -> list[int]:
    """Which of `count` crops step number `step` uses: epochs are seeded permutations, laid end to end."""
    return [
        int(_permutation(place // count, count, seed)[place % count])
        for place in range(step * batch, (step + 1) * batch)
    ]


@lru_cache(maxsize=4)
def _permutation(epoch: int, count: int, seed: int) -> NDArray[np.intp]:
    return np.random.default_rng(seed_of(seed, "epoch", epoch)).permutation(count)


def _read(store: Store, rows: NDArray[np.intp], device: torch.device) -> Crops:
    arrays = (store.images(rows), store.masks(rows), store.present[rows])
    images, masks, present = (torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays)
    return images, masks, present


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
