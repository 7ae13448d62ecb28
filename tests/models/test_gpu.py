"""On CUDA: the loop trains in half precision, and the same noise gives the CPU's masks."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ambiseg.models.config import make_config
from ambiseg.models.method import methods
from ambiseg.models.randomness import generator_for
from ambiseg.models.run import DataRecord, Run, RunRecord, load_trained
from ambiseg.models.training import train
from ambiseg.preprocessing.store import Store

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]
CUDA = torch.device("cuda")


BASE = ["data.crop=16", "options.widths=[8,16]", "batch=8", "validation.every=20", "optimiser.warmup=0"]


def trained(folder: Path, store: Store, method: str, *settings: str) -> Run:
    config = make_config(method, "demo", None, [*BASE, *settings])
    record = RunRecord(version="test", torch=torch.__version__, device="cuda", config=config, data=DataRecord.of(store))
    run = Run.create(folder / "run", record)
    assert train(run, store, CUDA)
    return run


def check_masks(run: Run, store: Store) -> None:
    """The weights give the same masks on both devices from the same noise."""
    images = store.images(np.arange(4))
    masks = [
        load_trained(run.path, device).predictive(images).atoms(16, generator_for(0)).labels.cpu()
        for device in (CUDA, torch.device("cpu"))
    ]
    assert (masks[0] != masks[1]).float().mean() < 0.01


@pytest.mark.parametrize("precision", [(), ("hardware.precision=fp16",), ("hardware.precision=float32",)])
@pytest.mark.parametrize("compiled", [(), ("hardware.compile=true",)])
def test_training_learns_in_every_precision(
    known_truth: Store, tmp_path: Path, precision: tuple[str, ...], compiled: tuple[str, ...]
) -> None:
    run = trained(tmp_path, known_truth, "generalized", "steps=60", *precision, *compiled)
    losses = [entry["loss"] for entry in run.read_log() if entry["kind"] == "validation"]
    assert losses[-1] < losses[0]
    check_masks(run, known_truth)


@pytest.mark.parametrize("method", methods())
def test_every_method_trains_and_draws_as_on_the_cpu(known_truth: Store, tmp_path: Path, method: str) -> None:
    check_masks(trained(tmp_path, known_truth, method, "steps=40"), known_truth)
