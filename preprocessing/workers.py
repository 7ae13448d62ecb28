"""Work spread over processes, a few tasks in flight at a time."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait as wait_for_end
from typing import TypeVar

from .errors import ResourceError

Task = TypeVar("Task")
Result = TypeVar("Result")


def usable_cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int | None = None, *, in_order: bool = False
) -> Iterator[tuple[Task, Result]]:
    """Yield each task with `work(task)`, in the order in which they are finished, or that of the tasks.

    `workers` processes (default: one a core) are spawned, so `work` and the tasks must be picklable; with one, all is
    done in this process. At most two tasks a worker are in flight. Workers end when this process does, however it ends.
    """
    count = workers or usable_cores()
    if count == 1:
        yield from ((task, work(task)) for task in tasks)
        return
    queue = iter(tasks)
    flying: dict[Future[Result], Task] = {}
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=follow_parent)
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


def follow_parent() -> None:
    """In a worker: leave Ctrl-C to the parent, and end as soon as the parent is gone (killed even)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait_for_end([sentinel])
    os._exit(1)
