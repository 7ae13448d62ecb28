"""Training steps a second: ambiseg's loop against a plain loop with a DataLoader, on the same network and the same data.

    python examples/benchmark_training.py [STORE] [--method generalized] [--preset small] [--steps 50] [--rounds 3]

The plain loop is what one writes first: a Dataset that reads a crop, draws a reader and mirrors both, a DataLoader with
two workers, zero_grad / loss / backward / step, and `loss.item()` at every step. Both are timed in turn, round by round,
after a warm-up; the ratio is what counts, since machines differ and are noisy. Without a STORE one is made.
"""

import argparse
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ambiseg.models.batch import Batch
from ambiseg.models.config import TrainConfig, make_config
from ambiseg.models.device import resolve_device
from ambiseg.models.method import build
from ambiseg.models.normalise import normalise, resolve_window
from ambiseg.models.run import Run, RunRecord
from ambiseg.models.training import LOG_EVERY, train
from ambiseg.preprocessing.crops import centre_crop
from ambiseg.preprocessing.sources.known_truth import write_known_truth
from ambiseg.preprocessing.store import Store


class PlainDataset(Dataset):
    """One crop at a time, with its readers drawn and mirrored in numpy."""

    def __init__(self, store: Store, config: TrainConfig):
        self.store, self.config, self.rows = store, config, store.rows("train")
        self.window = resolve_window(config.data.window, store.intensity)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int):
        row, rng = self.rows[item : item + 1], np.random.default_rng()
        image = centre_crop(self.store.images(row)[0], self.config.data.crop)
        masks = centre_crop(self.store.masks(row)[0], self.config.data.crop)
        masks = masks[rng.choice(len(masks), self.config.data.readers, replace=False)]
        if rng.random() < 0.5:
            image, masks = image[..., ::-1], masks[..., ::-1]
        return torch.from_numpy(image.astype(np.float32)), torch.from_numpy(masks.astype(np.int64))


def plain_steps(store: Store, config: TrainConfig, device: torch.device, steps: int) -> float:
    """Steps a second of the plain loop."""
    data = PlainDataset(store, config)
    loader = DataLoader(data, config.batch, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)
    method = build(config.method, store.channels, len(store.class_names), config.options).to(device).train()
    optimiser = torch.optim.Adam(method.parameters(), config.optimiser.learning_rate)
    generator, done, start = torch.Generator(device).manual_seed(0), -2, 0.0
    while True:
        for image, mask in loader:
            if done == 0:
                start = time.perf_counter()
            batch = Batch(normalise(image.to(device), data.window), mask.to(device))
            optimiser.zero_grad()
            loss = method.loss(batch, generator).total
            loss.backward()
            optimiser.step()
            loss.item()
            done += 1
            if done == steps:
                return steps / (time.perf_counter() - start)


def our_steps(store: Store, config: TrainConfig, device: torch.device, steps: int) -> float:
    """Steps a second of the training loop itself, as its log has them, after the first report."""
    with tempfile.TemporaryDirectory() as folder:
        timed = config.model_copy(
            update={
                "steps": LOG_EVERY + steps,
                "validation": config.validation.model_copy(update={"every": 10**6, "limit": 1}),
            }
        )
        run = Run.create(Path(folder) / "run", RunRecord.of(timed, store, str(device)))
        train(run, store, device)
        entries = [entry for entry in run.read_log() if entry["kind"] == "train"]
    return steps / sum(
        (later["step"] - entry["step"]) / later["steps_per_second"] for entry, later in pairwise(entries)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", nargs="?", type=Path)
    parser.add_argument("--method", default="generalized")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    device, config = resolve_device(asked.device), make_config(asked.method, asked.preset)
    with tempfile.TemporaryDirectory() as folder:
        path = asked.store
        store = (
            Store.open(path)
            if path
            else write_known_truth(Path(folder) / "store", crops=500, size=config.data.crop + 16)
        )
        print(f"{asked.method}, preset {asked.preset}, batch {config.batch}, crop {config.data.crop}, {device}")
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
        rounds = [
            (our_steps(store, config, device, asked.steps), plain_steps(store, config, device, asked.steps))
            for _ in range(asked.rounds)
        ]
    for number, (ours, plain) in enumerate(rounds):
        print(f"round {number}: ambiseg {ours:.2f} steps/s, plain loop {plain:.2f} steps/s, ratio {ours / plain:.2f}")
    print(f"median ratio {statistics.median(ours / plain for ours, plain in rounds):.2f}")


if __name__ == "__main__":
    main()
