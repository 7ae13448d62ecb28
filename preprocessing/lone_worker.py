"""One process that works apart from this one, task by task: a task that kills it or never ends costs itself alone."""

import multiprocessing
import pickle
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from .errors import ResourceError
from .workers import follow_parent, sheltered

Task = TypeVar("Task")
Result = TypeVar("Result")

START_S, END_S = 600.0, 10.0  # the longest that a process may take to start, and to be gone


class CannotStart(ResourceError):
    """There is no other process to work in: no task is to blame."""


class LoneWorker(Generic[Task, Result]):
    """A context in which `do` hands tasks to another process; one that died or was stopped is replaced for the next task.

    make: called once in each new process, it gives the function that does a task. The process is spawned, so that `make`,
    tasks and results must be picklable. minutes: how long a task may take.
    """

    def __init__(self, make: Callable[[], Callable[[Task], Result]], minutes: float):
        self._make, self._minutes = make, minutes
        self._process: Any = None
        self._line: Connection | None = None

    def __enter__(self) -> "LoneWorker[Task, Result]":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def do(self, task: Task) -> Result:
        """The result of a task.

        Raises what the task raises, and ResourceError where it ends its process or takes too long, CannotStart where
        there is no process to do it in.
        """
        try:
            if self._process is not None and not self._process.is_alive():
                self._end()  # it was killed while it waited
            done, result = self._answer(self._line or self._begin(), task)
        except BaseException:
            self._end()
            raise
        if done:
            return result
        raise result

    def _begin(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        self._line, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there,), daemon=True)
        with sheltered(signal.SIGTERM):  # this process ends that one
            self._process.start()
        there.close()  # so that its end is noticed here
        try:
            self._line.send(self._make)
            ready = wait([self._line], START_S) and self._line.recv()
        except (EOFError, OSError):
            ready = False
        if not ready:
            raise CannotStart(
                "A process to work in could not be started, most likely for want of memory: close other programs, then try "
                "again."
            )
        return self._line

    def _answer(self, line: Connection, task: Task) -> tuple[bool, Any]:
        """Whether the task was done, and its result or what it raised."""
        try:
            line.send(task)
            if wait([line], 60 * self._minutes):
                answer: tuple[bool, Any] = line.recv()
                return answer
        except (EOFError, OSError) as error:
            self._process.join(END_S)
            raise ResourceError(
                f"It ended the process that worked on it ({_ending(self._process.exitcode)}), as a damaged file or a lack of "
                "memory can: leave it out, or try it alone."
            ) from error
        raise ResourceError(
            f"It took longer than {self._minutes:g} min and was stopped: allow more `minutes`, or leave it out."
        )

    def _end(self) -> None:
        if self._process is not None and self._line is not None:
            self._process.kill()
            self._process.join()
            self._line.close()
        self._process = self._line = None


def _ending(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _serve(line: Connection) -> None:
    """In the other process: learn what does a task, then do tasks until the line is closed."""
    follow_parent()
    with suppress(EOFError, OSError):  # the first process is gone
        work = line.recv()()
        line.send(True)
        while True:
            line.send(_done(work, line.recv()))


def _done(work: Callable[[Task], Result], task: Task) -> tuple[bool, Any]:
    """Whether a task was done, and its result or what it raised."""
    try:
        return True, work(task)
    except Exception as error:
        return False, _portable(error)


def _portable(error: Exception) -> Exception:
    """An error that can be sent: itself, or its name where it cannot be pickled."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
