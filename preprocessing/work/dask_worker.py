"""What a Dask worker does with tasks: it hands them to a process of its own, which holds the model and keeps the limits.

A task that ends its process or exceeds a limit then fails just as on one machine, and the worker goes on.
"""

import os
import pickle
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from distributed import WorkerPlugin, get_worker

from ambiseg.version import __version__

from ..errors import ResourceError
from .crew import Crew
from .engine import CannotStart, Limits, Outcome, Outcomes

Answer = tuple[bool, Any]  # whether the task was done, and its result or error


class TaskPlace(WorkerPlugin):
    """Held by each worker, also by those that come later: what makes the work, sent once.

    name: of the plugin. make: what makes the work, pickled. folder: where relative paths begin. limits: of a task.
    """

    def __init__(self, name: str, make: bytes, folder: str, limits: Limits | None):
        self.name, self.version = name, __version__
        self._make, self._folder, self._limits = make, folder, limits
        self._free: list[_Desk] = []

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_free": []}

    def setup(self, worker: Any) -> None:
        """Free the memory that idle processes of earlier calls hold."""
        for other in worker.plugins.values():
            if isinstance(other, TaskPlace) and other is not self:
                other.teardown(worker)

    def teardown(self, worker: Any) -> None:
        """End the processes that wait for tasks; those that work end with their task."""
        while self._free:
            with suppress(IndexError):  # another thread took it
                self._free.pop().close()

    def do(self, task: bytes) -> Answer:
        """The answer to a task, from a process that no other thread uses."""
        try:
            desk = self._free.pop()
        except IndexError:
            desk = _Desk(pickle.dumps(partial(_made_in, self._folder, self._make)), self._limits)
        outcome = desk.do(task)
        self._free.append(desk)
        return (True, outcome.result) if outcome.error is None else (False, outcome.error)


class _Desk:
    """One process for one task at a time, replaced where it ends."""

    def __init__(self, make: bytes, limits: Limits | None):
        self._inbox: deque[bytes] = deque()
        crew = Crew[bytes, object](make, [{"OMP_NUM_THREADS": "1"}], limits, check=_still_wanted)
        self._outcomes: Outcomes[bytes, object] = crew.outcomes(_Inbox(self._inbox))

    def do(self, task: bytes) -> Outcome[bytes, object]:
        self._inbox.append(task)
        return next(self._outcomes)

    def close(self) -> None:
        self._outcomes.close()


class _Inbox(Iterator[bytes]):
    """The tasks that have come; empty now does not mean empty for ever."""

    def __init__(self, tasks: deque[bytes]):
        self._tasks = tasks

    def __next__(self) -> bytes:
        if not self._tasks:
            raise StopIteration
        return self._tasks.popleft()


def done(name: str, task: bytes) -> Answer:
    """In a worker: the answer to a task."""
    worker: Any = get_worker()
    place = worker.plugins[name]
    if place.version != __version__:
        raise ResourceError(wrong_version(worker.address, __version__, place.version))
    answer: Answer = place.do(task)
    return answer


def wrong_version(address: str, there: str, here: str) -> str:
    """The sentence about a worker of another version."""
    return f"The worker {address} has ambiseg {there}, but here it is {here}: install ambiseg {here} there."


def _still_wanted() -> None:
    """Raise where the scheduler no longer asks for the task of this thread, as when its command was stopped."""
    worker: Any = get_worker()
    task = worker.state.tasks.get(worker.active_threads.get(threading.get_ident()))
    if task is None or task.state == "cancelled":
        raise CannotStart("The command that asked for this task was stopped.")


def _made_in(folder: str, make: bytes) -> Any:
    """In the process that works: the work, with relative paths as in the command."""
    os.chdir(folder)
    work = pickle.loads(make)()
    return lambda task: work(pickle.loads(task))
