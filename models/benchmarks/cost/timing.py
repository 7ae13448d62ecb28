"""What a run's training took, how long its sampling takes, and on what machine."""

import platform
from itertools import pairwise
from statistics import median

import torch

from ambiseg.preprocessing.counted import counted
from ambiseg.preprocessing.store.store import Store

from ...core.randomness import generator_for
from ...runs.hardware import has_bf16_units
from ...runs.run_folder import Run
from ...runs.trained import Trained
from .arithmetic import seconds_each

TIMINGS = 15


def training_seconds(run: Run) -> float:
    """Seconds that the steps of a run took in all its pieces, without its validations, by its log."""
    entries = [{"step": 0}, *(entry for entry in run.read_log() if entry["kind"] == "train")]
    return sum((entry["step"] - before["step"]) / entry["steps_per_second"] for before, entry in pairwise(entries))


def sampling_seconds(trained: Trained, store: Store, split: str, draws: int) -> float:
    """Seconds from one image of a split to that many masks drawn for it: the median of `TIMINGS` runs."""
    inputs = trained.record.crops(store, store.rows(split)[:1])

    def draw() -> None:
        with torch.inference_mode():
            trained.predictive(*inputs).sample(draws, generator_for("sampling"))

    draw()
    return median(seconds_each(draw, 1, trained.device) for _ in range(TIMINGS))


def device_words(device: torch.device) -> str:
    """The device, what it computes with, and torch's version, for a table."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    units = torch.backends.cpu.get_cpu_capability() + (" and bf16 units" if has_bf16_units(device) else "")
    return f"CPU with {units}, {counted(torch.get_num_threads(), 'thread')}, torch {torch.__version__}"


def machine_words() -> str:
    """The system and its processor's kind; no name of a host."""
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
