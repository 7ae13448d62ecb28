"""One training on two machines, which are two addresses of this one: it ends as a whole, and it goes on as a whole."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ambiseg.models.runs.run_folder import Run
from ambiseg.models.runs.trained import load_trained
from ambiseg.models.training.distributed import joined_processes
from ambiseg.preprocessing.errors import ResourceError
from ambiseg.preprocessing.store.store import Store

CPU = torch.device("cpu")
NODES = ("127.0.0.1", "127.0.0.2")
SETTINGS = ("data.crop=16", "options.widths=[6,8]", "options.convs=1", "batch=4", "validation.every=20")
PATIENCE = 120.0
pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds processes as Linux shows them")


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[str]]]:
    """The launchers that a test started; they do not outlive it."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for one in started:
        one.kill()
        one.communicate()


def launch(folder: Path, *words: str) -> list[subprocess.Popen[str]]:
    """torchrun on both nodes."""
    with socket.socket() as free:
        free.bind((NODES[0], 0))
        port = free.getsockname()[1]
    common = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint={NODES[0]}:{port}"]
    return [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *common, f"--local-addr={node}", "-m", "ambiseg", *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
        )
        for node in NODES
    ]  # fmt: skip


def wait_for(path: Path, running: list[subprocess.Popen[str]]) -> None:
    begun = time.monotonic()
    while not path.is_file():
        assert time.monotonic() - begun < PATIENCE
        assert [one.poll() for one in running] == [None, None]
        time.sleep(0.1)


def kill_worker(launcher: subprocess.Popen[str]) -> None:
    """Kill what a launcher started."""
    for child in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_process_ends_the_training_everywhere_and_it_can_be_resumed(
    known_truth: Store, tmp_path: Path, running: list[subprocess.Popen[str]]
) -> None:
    settings = [word for setting in (*SETTINGS, "steps=120") for word in ("--set", setting)]
    running += launch(
        tmp_path, "train", "-m", "probunet", "-d", str(known_truth.path), "--preset", "small", "-o", "run", *settings
    )
    wait_for(tmp_path / "run/checkpoint.pt", running)
    kill_worker(running[1])
    said = [one.communicate(timeout=PATIENCE)[0] for one in running]
    assert all(one.returncode for one in running)
    assert "Another of the 2 processes that train together has ended or cannot be reached" in said[0]
    assert "bug in ambiseg" not in said[0]
    run = Run.open(tmp_path / "run")
    steps = [entry["step"] for entry in run.read_log() if entry["kind"] == "validation"]
    assert steps
    assert steps[-1] < 120

    running[:] = launch(tmp_path, "train", "--resume", "run")
    said = [one.communicate(timeout=PATIENCE)[0] for one in running]
    assert [one.returncode for one in running] == [0, 0], said
    steps = [entry["step"] for entry in run.read_log() if entry["kind"] == "validation"]
    assert steps == list(range(20, 140, 20))  # each once
    assert "Training probunet" not in said[1]  # only the first process prints
    assert load_trained(run.path, CPU).method.name == "probunet"


def test_no_other_error_is_taken_for_a_lost_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": NODES[0], "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.distributed.init_process_group", lambda backend: None)
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: None)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    with pytest.raises(RuntimeError, match=r"^a fault of ours$"), joined_processes(CPU):
        raise RuntimeError("a fault of ours")
    with pytest.raises(ResourceError, match="Another of the 2 processes"), joined_processes(CPU):
        raise RuntimeError("[../gloo/transport/tcp/pair.cc:537] Read error: Connection reset by peer")
