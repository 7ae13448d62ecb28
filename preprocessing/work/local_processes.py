"""Tasks done on this machine: in this process while that is quicker, else by processes of their own."""

import os
import pickle
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from statistics import fmean
from time import perf_counter

from .crew import Crew
from .engine import Engine, Limits, Make, Outcomes, Result, Task, attempt

STARTING = 3.0  # seconds until processes that import this package have done as much as they cost


def usable_cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class LocalProcesses(Engine):
    """Tasks are done by spawned processes of this machine, which end when this process does, however it ends.

    Attributes:
        workers: how many processes. None: one per core or device. Fewer are started where memory is short.
        devices: names of CUDA devices, of which each process sees one; empty: the processes compute on cores, with one
            thread each where there are several processes.
    """

    workers: int | None = None
    devices: tuple[str, ...] = ()

    def outcomes(
        self,
        make: Make[Task, Result],
        tasks: Iterable[Task],
        *,
        limits: Limits | None = None,
        in_order: bool = False,
        shared: Sequence[Path] = (),
        read: Sequence[Path] = (),
    ) -> Outcomes[Task, Result]:
        """Do all tasks, as `Engine` says.

        Without limits or a number of workers, tasks are done in this process as long as the rest is expected to finish here
        sooner than others could start, going by the tasks done so far.
        """
        count = self.workers or len(self.devices) or usable_cores()
        queue = iter(tasks)
        if limits is None:
            left = deque(queue)
            count = min(count, max(len(left), 1))
            yield from self._here(make, left, count)
            queue = iter(left)
        first = list(islice(queue, count))
        if first:
            crew = Crew[Task, Result](pickle.dumps(make), self._environments(min(count, len(first))), limits, in_order)
            yield from crew.outcomes(chain(first, queue))

    def _here(self, make: Make[Task, Result], left: deque[Task], count: int) -> Outcomes[Task, Result]:
        """Do tasks in this process while that is quicker, and take them from `left`."""
        took: list[float] = []
        work = None
        while left and (count == 1 or (self.workers is None and not worth_processes(took, len(left)))):
            begun = perf_counter()
            work = work or make()
            outcome = attempt(work, left.popleft())
            took.append(perf_counter() - begun)
            yield outcome

    def _environments(self, count: int) -> list[Mapping[str, str]]:
        """The variables of each process."""
        if self.devices:
            return [{"CUDA_VISIBLE_DEVICES": self.devices[number % len(self.devices)]} for number in range(count)]
        return [{"OMP_NUM_THREADS": "1"} if count > 1 else {}] * count


def worth_processes(took: Sequence[float], left: int) -> bool:
    """Whether processes of their own would finish `left` more tasks sooner; took: seconds of the tasks done here.

    The first task may have imported what it needs, and counts for as much less as processes take to start.
    """
    count = min(usable_cores(), left)
    if count < 2 or not took:
        return False
    one = fmean(took[1:]) if len(took) > 1 else took[0] - STARTING
    return one * left * (1 - 1 / count) > STARTING


def engine_of(workers: int | Engine | None) -> Engine:
    """An engine as it is, or this machine with so many processes; None: with as many as are of use."""
    return workers if isinstance(workers, Engine) else LocalProcesses(workers)
