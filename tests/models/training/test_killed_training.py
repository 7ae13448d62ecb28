"""Training that is killed without warning at random moments ends with the weights of uninterrupted training."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ambiseg.models.runs.config import make_config
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.run_record import RunRecord
from ambiseg.models.training.loop import train
from ambiseg.preprocessing.store.store import Store

CPU = torch.device("cpu")
KILLS = 2
TRAIN = """
import sys, torch
from pathlib import Path
from ambiseg.models.runs.run_folder import Run
from ambiseg.models.training import loop
from matplotlib.figure import Figure
from ambiseg.preprocessing.store.store import Store
torch.set_num_threads(1)
loop.SAVE_SECONDS = 0.05
Figure.savefig = lambda figure, path, **choice: path.write_bytes(b"drawn")
print("ready", flush=True)
loop.train(Run.open(Path(sys.argv[1])), Store.open(Path(sys.argv[2])), torch.device("cpu"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["auto", pytest.param("float32", marks=pytest.mark.exhaustive)])
def test_a_run_killed_at_random_moments_ends_with_the_same_weights(
    known_truth: Store, tmp_path: Path, precision: str
) -> None:
    """With BatchNorm and averaged weights; `auto` is bf16 where the processor has units for it."""
    settings = ["data.crop=16", "options.widths=[6,8]", "options.convs=1", "options.norm=true", "steps=300", "batch=4"]
    settings += ["validation.every=100", "validation.limit=4", f"hardware.precision={precision}"]
    config = make_config("generalized", "small", settings=settings)
    whole, killed = (
        Run.create(tmp_path / name, RunRecord.of(config, known_truth, "cpu")) for name in ("whole", "killed")
    )
    begun = time.monotonic()
    assert train(whole, known_truth, CPU)
    length = time.monotonic() - begun
    command = [sys.executable, "-c", TRAIN, str(killed.path), str(known_truth.path)]
    seed = time.time_ns()
    moments = random.Random(seed)
    for _ in range(KILLS):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moments.uniform(0, length / 2))
        process.kill()
        process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0)
    subprocess.run(command, check=True, capture_output=True)
    assert killed.weights.read_bytes() == whole.weights.read_bytes(), f"killed at the moments of seed {seed}"
    states = [torch.load(run.checkpoint, weights_only=True) for run in (whole, killed)]
    for part in ("method", "averaged"):
        assert all(torch.equal(states[0][part][key], states[1][part][key]) for key in states[0][part])
    steps = [(entry["kind"], entry["step"]) for entry in killed.read_log() if entry["kind"] == "validation"]
    assert steps == [("validation", step) for step in (100, 200, 300)]
