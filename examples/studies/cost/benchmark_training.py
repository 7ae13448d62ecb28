"""Training steps per second: ambiseg's loop against a plain loop with a DataLoader, on the same network and the same data.

    python examples/studies/cost/benchmark_training.py [STORE] [--method generalized] [--preset small] [--steps 30] [--rounds 3]

The plain loop is what one writes first: a Dataset that reads a crop, draws its readers and augments both in numpy, a
DataLoader with worker processes, zero_grad / loss / backward / step in float32, and `loss.item()` at every step. Both are
timed in turn, round by round, after a warm-up; the ratio is what counts, since machines differ and are noisy. Then some
steps of each are profiled to show where their time goes. Without a STORE, one is created.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, zoom
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, Dataset

from ambiseg.models.core.batch import Batch
from ambiseg.models.methods.registry import build
from ambiseg.models.runs.config import TrainConfig, make_config
from ambiseg.models.runs.hardware import resolve_device
from ambiseg.models.runs.normalise import normalise, resolve_window
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.run_record import RunRecord
from ambiseg.models.training.crops.augment import ELASTIC_KNOTS
from ambiseg.models.training.distributed import Processes
from ambiseg.models.training.loop import LOG_EVERY, Loop
from ambiseg.preprocessing.sources.papers.known_readers import write_known_truth
from ambiseg.preprocessing.store.store import Store
from ambiseg.terminal.console import plain_errors

WARM_UP = 5  # steps before each timing; the plain loop's workers have then used up what they read ahead
ARITHMETIC = ("convolution", "aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")


class Steps(Protocol):
    """A training loop, run step by step; `data_seconds` adds up how long it waited for batches."""

    data_seconds: float

    def step(self) -> None:
        """One step."""


class OurSteps:
    """ambiseg's own loop: augmented on the device, with clipping, averaged weights and logging."""

    def __init__(self, store: Store, config: TrainConfig, device: torch.device, folder: Path):
        run = Run.create(folder / "run", RunRecord.of(config, store, str(device)))
        self.loop = Loop(run, store, device, Processes(), lambda progress: None)
        self.fetch, self.device, self.data_seconds, self.alone = self.loop.stepper.batch_of, device, 0.0, False
        self.loop.stepper.batch_of = self.timed_batch

    def timed_batch(self, step: int, progress: float) -> Batch:
        """A batch; its time on the device counts when profiled, which makes the host wait as training never does."""
        begun = time.perf_counter()
        batch = self.fetch(step, progress)
        if self.alone:
            finish(self.device)
        self.data_seconds += time.perf_counter() - begun
        return batch

    def step(self) -> None:
        """One step, with what the loop does after it."""
        self.loop.advance()
        if self.loop.state.step % LOG_EVERY == 0:
            self.loop.report()


class PlainSteps:
    """The plain loop."""

    def __init__(self, store: Store, config: TrainConfig, device: torch.device, workers: int):
        self.data, self.device, self.data_seconds = PlainDataset(store, config), device, 0.0
        loader = DataLoader(self.data, config.batch, shuffle=True, num_workers=workers, drop_last=True)
        self.batches = endless(loader)
        method = build(config.method, store.channels, len(store.class_names), config.options)
        self.method = method.to(device).train()
        self.optimiser = torch.optim.Adam(self.method.parameters(), config.optimiser.learning_rate)
        self.generator = torch.Generator(device).manual_seed(0)

    def step(self) -> None:
        """One step, from the loader to the weights."""
        begun = time.perf_counter()
        image, mask = next(self.batches)
        batch = Batch(normalise(image.to(self.device), self.data.window), mask.to(self.device))
        self.data_seconds += time.perf_counter() - begun
        self.optimiser.zero_grad()
        loss = self.method.loss(batch, self.generator).total
        loss.backward()
        self.optimiser.step()
        loss.item()


class PlainDataset(Dataset):
    """One crop at a time, with its readers drawn and both augmented in numpy, as the preset says."""

    def __init__(self, store: Store, config: TrainConfig):
        self.store, self.config, self.rows = store, config, store.rows("train")
        self.window = resolve_window(config.data.window, store.intensity)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor]:
        row, rng = self.rows[item : item + 1], np.random.default_rng()
        image, masks = self.store.images(row)[0], self.store.masks(row)[0]
        masks = masks[rng.choice(len(masks), self.config.data.readers, replace=False)]
        image, masks = self.placed(image, masks, rng)
        if self.config.augment.flip != "none":
            image, masks = mirrored(image, masks, rng, self.config.augment.flip == "all")
        return torch.from_numpy(image.astype(np.float32)), torch.from_numpy(masks.astype(np.int64))

    def placed(self, image: NDArray, masks: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
        """The training crop: shifted, and rotated, zoomed and warped where the preset says so."""
        crop, augment = self.config.data.crop, self.config.augment
        shift = rng.uniform(-augment.shift_px, augment.shift_px, 2)
        if not (augment.rotate_deg or augment.scale or augment.elastic_px):
            places = [(side - crop) // 2 for side in image.shape[1:]]
            y, x = (int(np.clip(p + round(s), 0, 2 * p)) for p, s in zip(places, shift, strict=True))
            return image[:, y : y + crop, x : x + crop], masks[:, y : y + crop, x : x + crop]
        angle = np.deg2rad(rng.uniform(-augment.rotate_deg, augment.rotate_deg))
        size = 1 + rng.uniform(-augment.scale, augment.scale)
        grid = np.stack(np.meshgrid(*[np.arange(crop) - (crop - 1) / 2] * 2, indexing="ij"))
        turn = size * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        knots = rng.normal(0, augment.elastic_px, (2, ELASTIC_KNOTS, ELASTIC_KNOTS))
        middle = np.array([(side - 1) / 2 for side in image.shape[1:]])
        places = np.einsum("ij,jyx->iyx", turn, grid) + zoom(knots, (1, crop / ELASTIC_KNOTS, crop / ELASTIC_KNOTS))
        places += (middle + shift)[:, None, None]
        image = np.stack([map_coordinates(plane, places, order=1, mode="nearest") for plane in image])
        return image, np.stack([map_coordinates(plane, places, order=0, cval=255) for plane in masks])


def mirrored(image: NDArray, masks: NDArray, rng: np.random.Generator, every: bool) -> tuple[NDArray, NDArray]:
    """Both mirrored left and right with probability one half; `every`: also up and down, and with swapped axes."""
    columns, rows, swap = rng.random(3) < 0.5
    if columns:
        image, masks = image[..., ::-1], masks[..., ::-1]
    if every and rows:
        image, masks = image[..., ::-1, :], masks[..., ::-1, :]
    if every and swap:
        image, masks = image.swapaxes(-1, -2), masks.swapaxes(-1, -2)
    return image, masks


def endless(loader: DataLoader) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    while True:
        yield from loader


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def steps_a_second(loop: Steps, steps: int, device: torch.device) -> float:
    for _ in range(WARM_UP):
        loop.step()
    finish(device)
    begun = time.perf_counter()
    for _ in range(steps):
        loop.step()
    finish(device)
    return steps / (time.perf_counter() - begun)


def profiled(loop: Steps, steps: int, device: torch.device) -> dict[str, float]:
    """Milliseconds per step, by kind of work."""
    for _ in range(WARM_UP):
        loop.step()
    finish(device)
    cuda = device.type == "cuda"
    loop.data_seconds = 0.0
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as seen:
        begun = time.perf_counter()
        for _ in range(steps):
            loop.step()
        finish(device)
        whole = 1e3 * (time.perf_counter() - begun) / steps
    own = "self_device_time_total" if cuda else "self_cpu_time_total"
    arithmetic = [getattr(event, own) for event in seen.key_averages() if any(name in event.key for name in ARITHMETIC)]
    spent = {"convolutions and products": sum(arithmetic) / 1e3 / steps, "data": 1e3 * loop.data_seconds / steps}
    return spent | {"everything else": whole - sum(spent.values()), "whole step": whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", nargs="?", type=Path)
    parser.add_argument("--method", default="generalized")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="one setting of both, e.g. batch=8")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=min(8, os.cpu_count() or 1), help="of the plain loop")
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    device, config = resolve_device(asked.device), make_config(asked.method, asked.preset, settings=asked.settings)
    with tempfile.TemporaryDirectory() as folder:
        made, size = Path(folder) / "store", config.data.crop + 16
        store = Store.open(asked.store) if asked.store else write_known_truth(made, crops=500, size=size)
        ours = OurSteps(store, config, device, Path(folder))
        plain = PlainSteps(store, config, device, asked.workers)
        print(f"{asked.method}, preset {asked.preset}, batch {config.batch}, crop {config.data.crop}, {device}")
        print(
            f"torch {torch.__version__}, {torch.get_num_threads()} threads, {asked.workers} workers of the plain loop"
        )
        speeds = []
        for number in range(asked.rounds):
            speeds.append([steps_a_second(loop, asked.steps, device) for loop in (ours, plain)])
            mine, its = speeds[-1]
            print(f"round {number}: ambiseg {mine:.2f} steps/s, plain loop {its:.2f} steps/s, ratio {mine / its:.2f}")
        print(f"median ratio {statistics.median(mine / its for mine, its in speeds):.2f}")
        ours.alone = True
        spent = [profiled(loop, min(asked.steps, 10), device) for loop in (plain, ours)]
        print(f"{'ms per step, profiled':28s}{'plain loop':>12s}{'ambiseg':>12s}")
        for part in spent[0]:
            print(f"{part:28s}" + "".join(f"{column[part]:12.1f}" for column in spent))


if __name__ == "__main__":
    with plain_errors():
        main()
