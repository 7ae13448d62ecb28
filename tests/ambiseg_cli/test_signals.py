"""SIGTERM and SIGHUP end every command like Ctrl-C: one sentence, exit code 128 + signal number, nothing half-written."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ambiseg.models.training.interrupt import ECHO, interruptible, stop_requests, stopped_by
from ambiseg.preprocessing.store.store import Store

SIGNALS = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}
TINY = (
    "--preset",
    "demo",
    "--set",
    "data.crop=16",
    "--set",
    "options.widths=[4,8]",
    "--set",
    "validation.limit=4",
    "--set",
    "validation.every=10",
)


def started(*arguments: object, cwd: Path, **how: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ambiseg", "-q", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment, **how
    )  # type: ignore[call-overload, no-any-return]


def until(seen: Callable[[], object], process: subprocess.Popen[str]) -> None:
    for _ in range(1200):
        if seen():
            return
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.05)
    raise AssertionError("nothing to be seen after a minute")


def children(pid: int) -> list[int]:
    """The processes that a process started and that still run."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def running(pid: int) -> bool:
    """Whether a process is there, and not just waiting for somebody to ask how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def half_written(folder: Path) -> list[Path]:
    return [*folder.rglob(".writing*"), *folder.rglob(".old*"), *folder.rglob(".lock*")]


@pytest.fixture
def signalled() -> Callable[[int], None]:
    """Send a signal to this process, as if the echo of the last one were long over."""

    def send(number: int) -> None:
        time.sleep(ECHO + 0.05)
        signal.raise_signal(number)

    return send


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_interrupts_and_the_former_handlers_come_back(name: str) -> None:
    number = signal.Signals[name]
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(number)
    assert stopped_by() == number
    assert signal.getsignal(number) is before
    with interruptible():
        assert stopped_by() is None


@pytest.mark.parametrize("name", SIGNALS)
def test_a_loop_is_asked_once_by_a_signal_and_its_echo_and_stopped_by_a_second(
    name: str, signalled: Callable[[int], None]
) -> None:
    number = signal.Signals[name]
    with interruptible(), stop_requests() as asked:
        assert not asked()
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)  # as `timeout` sends one to the process and one to its group
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            signalled(number)
    assert stopped_by() == number


def test_what_a_process_was_started_to_ignore_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible(), stop_requests() as asked:
            signal.raise_signal(signal.SIGHUP)
            assert not asked()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM"])  # SIGINT: test_app; SIGHUP: below
def test_training_saves_its_state_and_goes_on(known_truth: Store, tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    process = started("train", "-d", known_truth.path, *TINY, "--steps", 100000, "-o", "run", cwd=tmp_path)
    until((run / "model.safetensors").exists, process)
    os.kill(process.pid, signal.Signals[name])
    _, err = process.communicate(timeout=60)
    assert process.returncode == SIGNALS[name], err
    assert err == "Stopped; nothing is lost. Continue with: ambiseg train --resume run\n"
    assert (run / "checkpoint.pt").is_file()
    assert not half_written(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "whole_group"), [("SIGINT", True), ("SIGTERM", False), ("SIGHUP", True)])
def test_workers_end_with_their_parent(tmp_path: Path, name: str, whole_group: bool) -> None:
    """A cohort is simulated by two processes; the signal comes to the first or, as from a terminal, to all."""
    process = started("phantom", "--patients", 8, "--workers", 2, "-o", "cohort", cwd=tmp_path, start_new_session=True)
    until(lambda: list(tmp_path.glob("cohort/.writing-*/*/*/*.dcm")), process)
    workers = children(process.pid)
    assert len(workers) >= 2
    begun = time.monotonic()
    (os.killpg if whole_group else os.kill)(process.pid, signal.Signals[name])
    _, err = process.communicate(timeout=60)
    assert process.returncode == SIGNALS[name], err
    assert err == "Interrupted: nothing half-written was kept. Run the same command again.\n"
    assert time.monotonic() - begun < 10
    while any(map(running, workers)):
        time.sleep(0.05)
        assert time.monotonic() - begun < 20
    assert not half_written(tmp_path)


@pytest.mark.slow
def test_a_terminal_that_closes_ends_the_command_in_it(known_truth: Store, tmp_path: Path) -> None:
    """The terminal is gone when the sentence is to be written."""
    arguments = ["train", "-d", str(known_truth.path), *TINY, "--steps", "100000", "-o", str(tmp_path / "run")]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "ambiseg", *arguments], os.environ | {"OMP_NUM_THREADS": "1"})
    os.set_blocking(terminal, False)
    while not (tmp_path / "run" / "model.safetensors").exists():
        with contextlib.suppress(BlockingIOError):
            os.read(terminal, 65536)
        time.sleep(0.05)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert (tmp_path / "run" / "checkpoint.pt").is_file()
    assert not half_written(tmp_path)
