"""Work spread over processes, a few tasks in flight at a time."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import wait as wait_for_end
from multiprocessing.process import BaseProcess
from statistics import fmean
from time import monotonic, perf_counter
from types import FrameType
from typing import TypeVar

from .errors import ResourceError
from .shortages import named

Task = TypeVar("Task")
Result = TypeVar("Result")

STARTING = 3.0  # seconds until processes that import this package have done as much as they cost
PATIENCE = 10.0  # seconds that workers have to clean up when they are stopped


def usable_cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(
    work: Callable[[Task], Result], tasks: Sequence[Task], workers: int | None = None, *, in_order: bool = False
) -> Iterator[tuple[Task, Result]]:
    """Yield each task with `work(task)`, in the order in which they are finished, or that of the tasks.

    workers: processes; with one, all is done in this process. Without a number, tasks are done in this process as long
    as the rest is expected to finish here sooner than others could start, going by the tasks done so far. The rest is done by
    one process per core.
    Other processes are spawned, so `work` and the tasks must be picklable; at most two tasks per worker are in flight.
    Workers end when this process does, however it ends. Whatever stops the loop stops them within their tasks, which then
    clean up.
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
    queue, others = iter(tasks), set(multiprocessing.active_children())
    flying: dict[Future[Result], Task] = {}
    with sheltered():
        resource_tracker.ensure_running()  # of its own accord it ignores but some signals
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)
    try:
        while True:
            for task in islice(queue, 2 * count - len(flying)):
                with sheltered():
                    flying[pool.submit(_done, work, task)] = task
            if not flying:
                return
            for future in [next(iter(flying))] if in_order else wait(flying, return_when=FIRST_COMPLETED).done:
                yield flying.pop(future), future.result()
    except BrokenProcessPool as error:
        raise ResourceError(
            "A worker process was killed, most likely for want of memory: run it again with `workers` 1."
        ) from error
    except BaseException:
        _stop(set(multiprocessing.active_children()) - others)
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def sheltered(*others: signal.Signals) -> Iterator[None]:
    """Hold back what a terminal sends to all its processes, and `others`; those that are started meanwhile never get it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP, *others})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop(workers: Iterable[BaseProcess]) -> None:
    """Ask workers to end, and kill those that do not within a while."""
    running = {worker.sentinel: worker for worker in workers}
    for worker in running.values():
        worker.terminate()
    begun = monotonic()
    while running and monotonic() - begun < PATIENCE:
        for sentinel in wait_for_end(list(running), timeout=PATIENCE):
            del running[sentinel]  # type: ignore[arg-type]  # these are the sentinels that went in
    for worker in running.values():
        worker.kill()


class _State:
    """Of a worker process: whether a task runs, and whether the worker is to leave."""

    busy = leaving = False


def _begin() -> None:
    """In a worker: leave signals of the terminal to the parent, and end as soon as it asks or is gone."""
    follow_parent()
    signal.signal(signal.SIGTERM, _leave)


def follow_parent() -> None:
    """In a worker: leave Ctrl-C and the terminal's end to the parent, and end as soon as the parent is gone (killed even)."""
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


def _done(work: Callable[[Task], Result], task: Task) -> Result:
    """In a worker: the result of a task. A shortage is named here, as an error's causes do not reach the parent."""
    _State.busy = True
    try:
        return work(task)
    except Exception as error:
        lacking = named(error)
        if lacking is None or lacking is error:
            raise
        raise lacking from error
    finally:
        _State.busy = False
        if _State.leaving:
            os._exit(128 + signal.SIGTERM)


def _end_after(sentinel: int) -> None:
    wait_for_end([sentinel])
    os._exit(1)
