"""Work spread over processes, a few tasks in flight at a time."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait as wait_for_end
from statistics import fmean
from time import perf_counter
from typing import TypeVar

from .errors import ResourceError

STARTING = 3.0  # seconds until processes that import this package have done as much as they cost

Task = TypeVar("Task")
Result = TypeVar("Result")


def usable_cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(
    work: Callable[[Task], Result], tasks: Sequence[Task], workers: int | None = None, *, in_order: bool = False
) -> Iterator[tuple[Task, Result]]:
    """Yield each task with `work(task)`, in the order in which they are finished, or that of the tasks.

    workers: processes; with one, all is done in this process. Without a number, tasks are done in this process while what
    is left is done here sooner than others have started, as the tasks done so far tell, and the rest by a process a core.
    Other processes are spawned, so `work` and the tasks must be picklable; at most two tasks a worker are in flight.
    Workers end when this process does, however it ends.
    """
    left = deque(tasks)
    count = min(workers or usable_cores(), max(len(left), 1))
    took: list[float] = []
    while left and (count == 1 or (workers is None and not worth_processes(took, len(left)))):
        task, begun = left.popleft(), perf_counter()
        result = work(task)
        took.append(perf_counter() - begun)
        yield task, result
    if left:
        yield from _spawned(work, left, min(count, len(left)), in_order)


def worth_processes(took: Sequence[float], left: int) -> bool:
    """Whether processes of their own would finish `left` more tasks sooner; took: seconds of the tasks done here.

    The first task may have imported what it needs, and counts for as much less as processes take to start.
    """
    count = min(usable_cores(), left)
    if count < 2 or not took:
        return False
    one = fmean(took[1:]) if len(took) > 1 else took[0] - STARTING
    return one * left * (1 - 1 / count) > STARTING


def _spawned(
    work: Callable[[Task], Result], tasks: Iterable[Task], count: int, in_order: bool
) -> Iterator[tuple[Task, Result]]:
    """As `spread`, by `count` processes of their own."""
    queue = iter(tasks)
    flying: dict[Future[Result], Task] = {}
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_follow_parent)
    try:
        while True:
            flying |= {pool.submit(work, task): task for task in islice(queue, 2 * count - len(flying))}
            if not flying:
                return
            for future in [next(iter(flying))] if in_order else wait(flying, return_when=FIRST_COMPLETED).done:
                yield flying.pop(future), future.result()
    except BrokenProcessPool as error:
        raise ResourceError(
            "A worker process was killed, most likely for want of memory: run it again with --workers 1."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """In a worker: leave Ctrl-C to the parent, and end as soon as the parent is gone (killed even)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait_for_end([sentinel])
    os._exit(1)
