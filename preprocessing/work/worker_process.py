"""One process that does tasks, one at a time: both ends of the line to it."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from time import monotonic
from types import FrameType
from typing import Any, Literal

from ..shortages import named
from .free_memory import first_to_go, resident

PATIENCE = 10.0  # seconds that a process has to clean up when it is stopped
KILLED = {-9, -15, 128 + 15, -1}  # by SIGKILL, SIGTERM (also where a task was broken off), SIGHUP
Said = tuple[Literal["ready", "done", "failed"], Any]


class WorkerProcess:
    """A spawned process, from this side.

    make: the pickled function that makes the function that does a task. environment: variables of the new process. The
    process is starting until it says that it is ready, then it is given one task at a time.

    Attributes:
        line: readable when the process has something to say, or is gone.
        number: of the task that it works on; None: it has none.
        starting: whether it has not yet said that it is ready.
    """

    def __init__(self, make: bytes, environment: Mapping[str, str]):
        self.number: int | None = None
        self.starting = True
        self.since = monotonic()
        self._make = make
        context = multiprocessing.get_context("spawn")
        with sheltered():
            resource_tracker.ensure_running()  # of its own accord it ignores but some signals
        self.line, there = context.Pipe()
        self._process: Any = context.Process(target=_serve, args=(there, dict(environment)), daemon=True)
        with sheltered(), _may_have_children():
            self._process.start()
        there.close()  # so that its end is noticed here

    @property
    def pid(self) -> int:
        """The number of the process."""
        return int(self._process.pid)

    @property
    def idle(self) -> bool:
        """Whether it waits for a task."""
        return self.number is None and not self.starting

    def give(self, number: int, task: bytes) -> bool:
        """Hand it a pickled task; False where the process is gone."""
        try:
            if not self._process.is_alive():
                return False
            self.line.send_bytes(task)
        except OSError:
            return False
        self.number, self.since = number, monotonic()
        return True

    def hear(self) -> Said | None:
        """What it says, when `line` is readable: that it is ready, a result or an error. None: it is gone, or starting."""
        said = self._heard()
        if said == "hello":
            with suppress(OSError):
                self.line.send_bytes(self._make)
            return None
        if said is None:
            return None
        self.starting, self.number = False, None
        return said  # type: ignore[return-value]  # as `_serve` sends it

    def _heard(self) -> object:
        try:
            return self.line.recv()
        except (EOFError, OSError):
            self._process.join(PATIENCE)
            return None

    @property
    def gone(self) -> bool:
        """Whether the process has ended."""
        return not self._process.is_alive()

    @property
    def memory(self) -> int:
        """How many bytes it holds; 0 where that is not known."""
        return resident(self.pid) or 0

    @property
    def killed_from_outside(self) -> bool:
        """Whether the process was ended by others, as far as its exit tells."""
        code = self._process.exitcode
        return code is None or code in KILLED

    @property
    def ending(self) -> str:
        """How it ended."""
        code = self._process.exitcode
        return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"

    def ask_to_end(self) -> None:
        """Let it break off its task and clean up."""
        self._process.terminate()

    def end(self, patience: float = 0.0) -> None:
        """Wait for its end for `patience` seconds, then kill it."""
        self._process.join(patience)
        self._process.kill()
        self._process.join()
        self.line.close()


def stop(workers: list[WorkerProcess]) -> None:
    """End processes: those that work may clean up first."""
    busy = [worker for worker in workers if worker.number is not None]
    for worker in busy:
        worker.ask_to_end()
    until = monotonic() + PATIENCE
    for worker in workers:
        worker.end(max(until - monotonic(), 0.0) if worker in busy else 0.0)


@contextmanager
def sheltered() -> Iterator[None]:
    """Hold back what a terminal sends to all its processes; those that are started meanwhile never get it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _may_have_children() -> Iterator[None]:
    """Workers of clusters are daemons, to which multiprocessing allows no processes of their own; ours end with them anyway."""
    config: dict[str, object] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    daemon = config.pop("daemon", None)
    try:
        yield
    finally:
        if daemon is not None:
            config["daemon"] = daemon


class _State:
    """Of a worker process: whether a task runs, and whether the worker is to leave."""

    busy = leaving = False


def _serve(line: Connection, environment: Mapping[str, str]) -> None:
    """In the other process: learn what does a task, then do tasks until the line is closed."""
    os.environ.update(environment)  # before anything that reads it is imported
    _follow_parent()
    first_to_go()
    signal.signal(signal.SIGTERM, _leave)
    with suppress(EOFError, OSError):  # the first process is gone
        line.send("hello")
        made, work = _attempted(_made, line.recv_bytes())
        line.send(("ready", None) if made else ("failed", work))
        while made:
            task = line.recv_bytes()
            done, result = _attempted(_worked, (work, task))
            line.send(("done" if done else "failed", result))


def _made(make: bytes) -> Callable[[object], object]:
    work: Callable[[object], object] = pickle.loads(make)()
    return work


def _worked(asked: tuple[Callable[[object], object], bytes]) -> object:
    work, task = asked
    return work(pickle.loads(task))


def _attempted(work: Callable[[Any], Any], task: Any) -> tuple[bool, Any]:
    """Whether it could be done, and the result or what was raised; SIGTERM breaks it off, so that it cleans up."""
    _State.busy = True
    try:
        return True, work(task)
    except Exception as error:
        return False, _portable(named(error) or error)
    finally:
        _State.busy = False
        if _State.leaving:
            os._exit(128 + signal.SIGTERM)


def _portable(error: Exception) -> Exception:
    """An error that can be sent: itself, or its name where it cannot be pickled. Its causes are not sent."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _follow_parent() -> None:
    """Leave Ctrl-C and the terminal's end to the parent, and end as soon as the parent is gone (killed even)."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once between two tasks; break off the task in hand, so that it cleans up."""
    if not _State.busy:
        os._exit(128 + number)
    if not _State.leaving:
        _State.leaving = True
        raise KeyboardInterrupt


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
