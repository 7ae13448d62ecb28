"""Sources of training crops: all on the device if they fit, read ahead from disk, or drawn anew for every step."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ambiseg.preprocessing.sources.papers.guessing_game import example_drawer
from ambiseg.preprocessing.store.flips import Flip
from ambiseg.preprocessing.store.store import Store

from ...core.randomness import seed_of

SHARE = 0.4  # of the free memory that the data may take


@dataclass(frozen=True)
class Crops:
    """Stored crops on the device, in their stored types.

    Attributes:
        images: [B, C, H, W].
        masks: of the readers [B, R, H, W], or base label maps [B, 1, H, W] from which `flips` generate the modes.
        chances: 1 for readers who are present and 0 for the others [B, R]; probabilities of the modes if `known`.
        known: whether the probabilities of the modes are known.
        flips: of classes, which generate the modes.
        probabilities: class probabilities [B, K, H, W] of another segmenter, in 255ths.
    """

    images: Tensor
    masks: Tensor
    chances: Tensor
    known: bool = False
    flips: tuple[Flip, ...] = ()
    probabilities: Tensor | None = None


@dataclass(frozen=True)
class Share:
    """The part of each batch that a process takes: image number `rank` of every `world` images, in batches of `batch`."""

    batch: int
    seed: int
    rank: int = 0
    world: int = 1

    def positions(self, step: int, count: int) -> NDArray[np.intp]:
        """Which of `count` crops this process takes in a step."""
        return positions_of_step(step, count, self.batch, self.seed)[self.rank :: self.world]


class DeviceSource:
    """All crops of the given rows on the device."""

    def __init__(self, store: Store, rows: NDArray[np.intp], device: torch.device, share: Share):
        self.crops, self.share = read_crops(store, rows, device), share

    def fetch(self, step: int) -> Crops:
        """The crops of a step."""
        crops = self.crops
        index = _sent(self.share.positions(step, len(crops.images)), crops.images.device)
        extra = crops.probabilities
        return Crops(
            crops.images.index_select(0, index),
            crops.masks.index_select(0, index),
            crops.chances.index_select(0, index),
            crops.known,
            crops.flips,
            None if extra is None else extra.index_select(0, index),
        )

    def settle(self) -> None:
        """Nothing is ever being read."""


class AheadSource:
    """Crops that take time to `read`: while the batch of one step is used, a thread reads the next one's."""

    def __init__(self, read: Callable[[int], Crops]):
        self.read = read
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="crops")
        self.coming: tuple[int, Future[Crops]] | None = None

    def fetch(self, step: int) -> Crops:
        """The crops of a step; those of the next one are read meanwhile."""
        crops = self.coming[1].result() if self.coming and self.coming[0] == step else self.read(step)
        self.coming = (step + 1, self.reader.submit(self.read, step + 1))
        return crops

    def settle(self) -> None:
        """Wait until nothing is being read."""
        if self.coming:
            self.coming[1].result()


CropSource = DeviceSource | AheadSource


def crop_source(store: Store, device: torch.device, memory: str, share: Share) -> CropSource:
    """The source of the training crops of a store.

    Args:
        store: with train rows, or with a pool from which crops are drawn anew for every step.
        device: where the crops are needed.
        memory: "device", "mapped" (read from disk), or "auto": on the device if the crops take less than SHARE of its free
            memory.
        share: the part of each batch that this process takes.
    """
    if store.manifest.deal is not None:
        return AheadSource(_drawn(store, device, share))
    rows = store.rows("train")
    if memory == "auto":
        one = store.images(rows[:1]).nbytes + store.labels(rows[:1]).nbytes
        memory = "device" if one * len(rows) < SHARE * _free_bytes(device) else "mapped"
    if memory == "device":
        return DeviceSource(store, rows, device, share)
    return AheadSource(lambda step: read_crops(store, rows[share.positions(step, len(rows))], device, wait=False))


def read_crops(store: Store, rows: NDArray[np.intp], device: torch.device, *, wait: bool = True) -> Crops:
    """The crops of the given rows, on the device.

    wait: whether to wait until they are there. This keeps large data out of pinned memory.
    """
    put = _tensor if wait else _sent
    return Crops(
        put(store.images(rows), device),
        put(store.labels(rows), device),
        put(store.truth.chances(rows).astype(np.float32), device),
        store.truth.known,
        store.manifest.flips,
        put(store.class_probabilities(rows), device) if store.manifest.has_class_probabilities else None,
    )


def positions_of_step(step: int, count: int, batch: int, seed: int) -> NDArray[np.intp]:
    """The numbers of the crops that a step uses, of `count`: epochs are seeded permutations, one after the other."""
    epochs, places = np.divmod(np.arange(step * batch, (step + 1) * batch), count)
    return np.concatenate([_permutation(int(e), count, seed)[places[epochs == e]] for e in np.unique(epochs)])


@lru_cache(maxsize=4)
def _permutation(epoch: int, count: int, seed: int) -> NDArray[np.intp]:
    return np.random.default_rng(seed_of(seed, "epoch", epoch)).permutation(count)


def _drawn(store: Store, device: torch.device, share: Share) -> Callable[[int], Crops]:
    """A function from a step to crops that no other step has seen."""
    draw = example_drawer(store)

    def read(step: int) -> Crops:
        rng = np.random.default_rng(seed_of(share.seed, "deal", step, share.rank))
        images, masks, probabilities = draw(share.batch // share.world, rng)
        chances = _sent(probabilities.astype(np.float32), device)
        return Crops(_sent(images, device), _sent(masks, device), chances, known=True)

    return read


def _tensor(array: NDArray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def _sent(array: NDArray, device: torch.device) -> Tensor:
    """As `_tensor`, but through pinned memory to CUDA, so that the host does not wait for the device."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
