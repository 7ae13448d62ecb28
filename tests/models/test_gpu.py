"""On CUDA: the loop trains in half precision, and the same noise gives the CPU's masks."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ambiseg.models.config import make_config
from ambiseg.models.randomness import generator_for
from ambiseg.models.run import DataRecord, Run, RunRecord, load_trained
from ambiseg.models.training import train
from ambiseg.preprocessing.store import Store

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]
CUDA = torch.device("cuda")


@pytest.mark.parametrize(
    "settings", [(), ("hardware.precision=fp16",), ("hardware.precision=float32",), ("hardware.compile=true",)]
)
def test_training_learns_in_every_precision(known_truth: Store, tmp_path: Path, settings: tuple[str, ...]) -> None:
    base = ["data.crop=16", "options.widths=[8,16]", "steps=60", "batch=8", "validation.every=20", "optimiser.warmup=0"]
    config = make_config("generalized", "small", None, [*base, *settings])
    record = RunRecord(
        version="test", torch=torch.__version__, device="cuda", config=config, data=DataRecord.of(known_truth)
    )
    run = Run.create(tmp_path / "run", record)
    assert train(run, known_truth, CUDA)
    losses = [entry["loss"] for entry in run.read_log() if entry["kind"] == "validation"]
    assert losses[-1] < losses[0]
    images = known_truth.images(np.arange(4))
    masks = [
        load_trained(run.path, device).predictive(images).atoms(16, generator_for(0)).labels.cpu()
        for device in (CUDA, torch.device("cpu"))
    ]
    assert (masks[0] != masks[1]).float().mean() < 0.01
