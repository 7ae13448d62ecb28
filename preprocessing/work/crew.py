"""Processes that share tasks: who gets which, who is replaced, and what came of each task."""

import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf
from multiprocessing.connection import wait
from time import monotonic
from typing import Generic

from ..errors import ResourceError
from .engine import TRIES, CannotStart, Limits, Outcome, Outcomes, Result, Task, TaskLost, Turns
from .free_memory import free_memory
from .worker_process import WorkerProcess, stop

START_S = 600.0  # the longest that a process may take to start
LOOK_S = 0.25  # seconds between two looks at the time that tasks took and the memory that they hold
NEED = 2**29  # bytes that a process is expected to need, until one has told
AHEAD = 4  # tasks per process that may be done before one whose outcome is due


@dataclass
class _Given(Generic[Task]):
    """A task with its number and how often it was begun."""

    task: Task
    number: int
    tries: int = 0


class Crew(Generic[Task, Result]):
    """The processes that do the tasks of one call.

    make: the pickled function that each process calls once. environments: the variables of each process. limits: what a task
    may take. in_order: whether outcomes come in the order of the tasks. check: called at every look at the limits; what it
    raises stops the processes.
    """

    def __init__(
        self,
        make: bytes,
        environments: Sequence[Mapping[str, str]],
        limits: Limits | None,
        in_order: bool = False,
        check: Callable[[], None] = lambda: None,
    ):
        self._make, self._limits, self._check = make, limits, check
        self._environments = dict(enumerate(environments))
        self._workers: dict[int, WorkerProcess] = {}
        self._waiting: deque[_Given[Task]] = deque()
        self._given: dict[int, _Given[Task]] = {}
        self._over = Turns[Task, Result](in_order)
        self._need = NEED
        self._lost = 0  # processes in a row that were killed while they started
        self._most_memory = most_memory(limits)

    def outcomes(self, tasks: Iterable[Task]) -> Outcomes[Task, Result]:
        """Do all tasks. Whatever stops the loop stops the processes."""
        queue = iter(tasks)
        try:
            while self._fill(queue):
                self._wait()
                self._fill(queue)  # so that nobody waits while outcomes are dealt with
                yield from self._over.due()
        finally:
            stop(list(self._workers.values()))

    def _fill(self, queue: Iterator[Task]) -> bool:
        """Give each idle process a task, and start processes for the tasks that wait; False: nothing is left to do."""
        for place, worker in list(self._workers.items()):
            if worker.idle and (not self._given or self._is_room(worker.memory)) and self._takes(queue):
                self._give(place, worker)
        starting = sum(worker.starting for worker in self._workers.values())
        for place, environment in self._environments.items():
            if place in self._workers or not self._takes(queue, starting):
                continue
            if not self._workers or self._is_room(-starting * self._need):
                self._workers[place] = WorkerProcess(self._make, environment)
                starting += 1
        return bool(self._given or self._waiting)

    def _takes(self, queue: Iterator[Task], spoken_for: int = 0) -> bool:
        """Whether more tasks wait than are spoken for; one is taken from the queue where they do not."""
        if len(self._waiting) <= spoken_for and self._over.is_open(AHEAD * len(self._environments)):
            for task in islice(queue, 1):
                self._waiting.append(_Given(task, self._over.number()))
        return len(self._waiting) > spoken_for

    def _give(self, place: int, worker: WorkerProcess) -> None:
        given = self._waiting.popleft()
        if worker.give(given.number, pickle.dumps(given.task)):
            given.tries += 1
            self._given[given.number] = given
        else:  # it was killed while it waited
            self._waiting.appendleft(given)
            self._workers.pop(place).end()

    def _is_room(self, held: int) -> bool:
        """Whether memory allows another task in a process that holds so many bytes already."""
        free = free_memory()
        return free is None or free > self._need - held

    def _wait(self) -> None:
        """Wait until a process says something, or for a while, and see to limits."""
        self._check()
        places = {worker.line: place for place, worker in self._workers.items()}
        for line in wait(list(places), LOOK_S):
            self._hear(places[line])  # type: ignore[index]  # these are the lines that went in
        for place in list(self._workers):
            self._look(place)

    def _hear(self, place: int) -> None:
        worker = self._workers[place]
        number, starting, held = worker.number, worker.starting, worker.memory
        said = worker.hear()
        if said is None:
            if worker.gone:
                self._mourn(place)
        elif starting:
            self._lost = 0
            if said[0] == "failed":
                self._do_without(place, said[1])
        elif number is not None:
            self._need = max(self._need, held)
            if said[0] == "done":
                self._end(number, None, said[1])
            else:
                self._end(number, said[1])

    def _mourn(self, place: int) -> None:
        """A process is gone: its task is tried again where others ended it."""
        worker = self._workers[place]
        if worker.starting and worker.killed_from_outside and self._lost < TRIES:
            self._lost += 1
            self._workers.pop(place).end()
            return
        if worker.starting:
            self._do_without(place, None)
            return
        self._workers.pop(place).end()
        if worker.number is None:
            return
        given = self._given[worker.number]
        if worker.killed_from_outside and given.tries < TRIES:
            self._waiting.appendleft(self._given.pop(worker.number))
            return
        reason = (
            f"It ended the process that worked on it ({worker.ending}), as a damaged file or a lack of memory can: leave it "
            "out, or try it alone."
        )
        self._end(worker.number, TaskLost(reason))

    def _do_without(self, place: int, error: Exception | None) -> None:
        """A process could not be started: go on without it, if there are others."""
        self._workers.pop(place).end()
        del self._environments[place]
        if not any(not worker.starting for worker in self._workers.values()):
            raise error or CannotStart(
                "A process to work in could not be started, most likely for want of memory: close other programs, then try "
                "again."
            )

    def _look(self, place: int) -> None:
        """Stop a process that takes too long to start, or whose task exceeds a limit."""
        worker = self._workers[place]
        waited = monotonic() - worker.since
        if worker.starting and waited > START_S:
            self._do_without(place, None)
        reason = None if worker.number is None else self._exceeded(waited, worker)
        if reason is not None and worker.number is not None:
            self._workers.pop(place).end()
            self._end(worker.number, TaskLost(reason))

    def _exceeded(self, seconds: float, worker: WorkerProcess) -> str | None:
        """Which limit a task exceeds, as a sentence."""
        if self._limits is not None and seconds > 60 * self._limits.minutes:
            minutes = f"{self._limits.minutes:g} min"
            return f"It took longer than {minutes} and was stopped: allow more `minutes`, or leave it out."
        if self._most_memory < inf and worker.memory > self._most_memory:
            most = f"{self._most_memory / 1e9:.3g} GB of memory"
            return f"It needed more than {most} and was stopped: allow more `memory_gb`, or leave it out."
        return None

    def _end(self, number: int, error: Exception | None, result: Result | None = None) -> None:
        """A task is over."""
        task = self._given.pop(number).task
        self._over.put(number, Outcome(task, result) if error is None else Outcome(task, error=error))


def most_memory(limits: Limits | None) -> float:
    """How much memory the process of a task may hold, in bytes."""
    free = free_memory()
    if limits is None:
        return inf
    if limits.memory_gb is None:
        return free or inf
    if free is None:
        raise ResourceError("A limit `memory_gb` cannot be kept on this system: leave it out.")
    return 1e9 * limits.memory_gb
