"""Tasks done by a cluster: Dask distributed, at the address of its scheduler or started by SLURM.

Dask hands out the tasks, notices workers that die, gives their tasks to others, and takes in workers that come later.
Each worker keeps a process of its own for the tasks (`dask_worker`).
"""

import os
import pickle
import re
import secrets
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic

from ambiseg.version import __version__

from ..errors import ResourceError, UsageError
from .engine import TRIES, CannotStart, Engine, Limits, Make, Outcome, Outcomes, Result, Task, TaskLost, Turns

if TYPE_CHECKING:
    from distributed import Client

SLURM = "slurm"
CONNECT_S = 10.0  # the longest that connecting to a scheduler may take
WORKERLESS_S = 60.0  # how long a cluster may be without workers
LOOK_S = 1.0  # seconds between two looks at how many workers there are
AHEAD = 2  # tasks in flight per thread of a worker
JOB = {"cores": 1, "processes": 1, "memory": "4GB"}  # of SLURM, where Dask's configuration says nothing else
Seen = tuple[str, list[str]]  # a worker's version of ambiseg, and what it does not see


@dataclass(frozen=True)
class DaskCluster(Engine):
    """Tasks are done by the workers of a Dask cluster.

    Attributes:
        address: of the scheduler, as tcp://host:8786; "slurm": workers are started as jobs, and end with the call.
        jobs: how many jobs SLURM is asked for.
        kept: the connection of an engine that is held.
    """

    address: str
    jobs: int | None = None
    kept: "_Connection | None" = None

    @contextmanager
    def held(self) -> Iterator[Engine]:
        """The engine with one connection, and with the same jobs of SLURM, for several rounds of tasks."""
        with ExitStack() as open_:
            yield replace(self, kept=_Connection(self.address, self.jobs, open_))

    def check(self) -> None:
        """Raise ResourceError unless the scheduler answers, has workers, and these have this version of ambiseg."""
        if self.address == SLURM:
            return  # its workers come with the work
        with self._client() as client:
            _wait_for_workers(client, self)
            _check_workers(client)

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
        """Do all tasks, as `Engine` says. Tasks of workers that die are done again by others. Without a task no worker is
        needed.
        """
        queue = iter(tasks)
        first = list(islice(queue, 1))
        if not first:
            return
        with ExitStack() as held:
            client = held.enter_context(self._client())
            _wait_for_workers(client, self)
            _check_workers(client, shared, read)
            name = held.enter_context(_told(client, pickle.dumps(make), limits))
            round_ = _Round[Task, Result](client, name, in_order)
            held.callback(round_.cancel)
            yield from round_.outcomes(chain(first, queue))

    @contextmanager
    def _client(self) -> Iterator["Client"]:
        """A connection to the scheduler."""
        with ExitStack() as open_:
            yield (self.kept or _Connection(self.address, self.jobs, open_)).client


@dataclass
class _Connection:
    """A connection to a scheduler, made when it is first needed and closed with `open_`."""

    address: str
    jobs: int | None
    open_: ExitStack

    @cached_property
    def client(self) -> "Client":
        """What talks to the scheduler."""
        from distributed import Client

        place = self.open_.enter_context(_slurm(self.jobs or 1)) if self.address == SLURM else self.address
        try:
            client = Client(place, timeout=CONNECT_S, set_as_default=False)
        except OSError as error:
            raise ResourceError(
                f"There is no Dask scheduler at {self.address}: start one with `dask scheduler`, and give the address that "
                "it prints, such as tcp://host:8786."
            ) from error
        self.open_.enter_context(client)
        return client


def check_cluster(address: str) -> None:
    """Raise UsageError where a cluster cannot be used, or the address is none."""
    if address != SLURM and not re.fullmatch(r"(tcp|tls)://.+:\d+", address):
        raise UsageError(
            f"`cluster` {address!r} is not understood: expected the address of a Dask scheduler, such as tcp://host:8786, or "
            "slurm."
        )
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise UsageError("`cluster` needs Dask: run `pip install 'ambiseg[dask]'`.") from error
    if address == SLURM and shutil.which("sbatch") is None:
        raise UsageError(
            "`cluster` slurm needs SLURM's command sbatch, which is not here: work on a machine that has it."
        )


@contextmanager
def _slurm(jobs: int) -> Iterator[Any]:
    """A cluster whose workers are SLURM's jobs: a job that ends early is replaced."""
    import dask
    from dask_jobqueue import SLURMCluster

    asked: dict[str, Any] = {
        name: value for name, value in JOB.items() if dask.config.get(f"jobqueue.slurm.{name}", None) is None
    }
    with SLURMCluster(**asked) as cluster:
        cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
        yield cluster


def _wait_for_workers(client: "Client", engine: DaskCluster) -> None:
    """Wait for the first worker: jobs of SLURM come when there is room, others are there already."""
    with suppress(TimeoutError):
        client.wait_for_workers(1, timeout=None if engine.address == SLURM else WORKERLESS_S)
        return
    raise ResourceError(_no_workers())


def _no_workers() -> str:
    return (
        f"The cluster has had no workers for {WORKERLESS_S:g} s: start some with `dask worker ADDRESS`, then run "
        "the same command again."
    )


def _check_workers(client: "Client", shared: Sequence[Path] = (), read: Sequence[Path] = ()) -> None:
    """Raise ResourceError unless every worker has this ambiseg and sees the same folders, by a file that is written there."""
    tokens = [folder.absolute() / f".writing-{secrets.token_hex(8)}" for folder in shared]
    try:
        for token in tokens:
            token.touch()
        wanted = [*map(str, tokens), os.getcwd(), *(str(path.absolute()) for path in read)]
        found: Mapping[str, Seen] = client.run(_looker(wanted))
    finally:
        for token in tokens:
            token.unlink(missing_ok=True)
    for address, (version, missing) in found.items():
        if not version:
            raise ResourceError(f"The worker {address} has no ambiseg: install ambiseg {__version__} there.")
        if version != __version__:
            from .dask_worker import wrong_version

            raise ResourceError(wrong_version(address, version, __version__))
        for path in missing:
            place = Path(path).parent if Path(path) in tokens else path
            raise ResourceError(
                f"The worker {address} does not see {place} of this machine: all machines need the same folders under the same "
                "paths, as on a network file system."
            )


def _looker(paths: Sequence[str]) -> Callable[[], Seen]:
    """A function that says what a worker has. It is sent as its text, since the worker may lack this package."""

    def look() -> Seen:
        import os

        try:
            from ambiseg.version import __version__ as version
        except ImportError:
            version = ""
        return version, [path for path in paths if not os.path.exists(path)]

    return look


@contextmanager
def _told(client: "Client", make: bytes, limits: Limits | None) -> Iterator[str]:
    """Send all workers what makes the work, once; the name under which they hold it."""
    from .dask_worker import TaskPlace

    name = f"ambiseg-{secrets.token_hex(8)}"
    client.register_plugin(TaskPlace(name, make, os.getcwd(), limits), name=name)
    try:
        yield name
    finally:
        with suppress(Exception):  # the scheduler may be gone
            client.unregister_worker_plugin(name)


@dataclass
class _Flying(Generic[Task]):
    """A task in flight, with its number and how often it was begun."""

    task: Task
    number: int
    tries: int = 0


class _Round(Generic[Task, Result]):
    """The tasks of one call."""

    def __init__(self, client: "Client", name: str, in_order: bool):
        self._client, self._name = client, name
        self._flying: dict[Any, _Flying[Task]] = {}
        self._again: deque[_Flying[Task]] = deque()
        self._over = Turns[Task, Result](in_order)
        self._ended: SimpleQueue[Any] = SimpleQueue()
        self._slots = 1
        self._seen = self._looked = 0.0

    def outcomes(self, tasks: Iterable[Task]) -> Iterator[Outcome[Task, Result]]:
        """Do all tasks."""
        queue = iter(tasks)
        while self._fill(queue):
            self._wait()
            self._fill(queue)
            yield from self._over.due()

    def cancel(self) -> None:
        """Let the workers break off what is left."""
        with suppress(Exception):  # the scheduler may be gone
            self._client.cancel(list(self._flying), force=True)

    def _fill(self, queue: Iterator[Task]) -> bool:
        """Send tasks, a few more than there are workers; False: nothing is left to do."""
        self._look()
        most = AHEAD * self._slots
        while self._again and len(self._flying) < most:
            self._send(self._again.popleft())
        while len(self._flying) < most and self._over.is_open(2 * most):
            for task in islice(queue, 1):
                self._send(_Flying(task, self._over.number()))
                break
            else:
                break
        return bool(self._flying or self._again)

    def _look(self) -> None:
        """Count the workers now and then; without any for long, there is no going on."""
        now = monotonic()
        if now - self._looked < LOOK_S:
            return
        if self._client.status != "running":
            raise ResourceError(_lost())
        threads = sum(self._client.nthreads().values())
        self._looked, self._slots = now, max(threads, 1)
        self._seen = now if threads or not self._seen else self._seen
        if now - self._seen > WORKERLESS_S:
            raise ResourceError(_no_workers())

    def _send(self, flying: _Flying[Task]) -> None:
        from .dask_worker import done

        flying.tries += 1
        key = f"{self._name}-{flying.number}-{flying.tries}"
        future = self._client.submit(done, self._name, pickle.dumps(flying.task), key=key, pure=False)
        self._flying[future] = flying
        future.add_done_callback(self._ended.put)

    def _wait(self) -> None:
        """Wait for a task that is over, for a while."""
        with suppress(Empty):
            future = self._ended.get(timeout=LOOK_S)
            self._hear(future, self._flying.pop(future))

    def _hear(self, future: Any, flying: _Flying[Task]) -> None:
        """A task is over, or was lost with its workers."""
        if future.status == "cancelled":
            raise ResourceError(_lost())
        try:
            done, result = future.result(timeout=LOOK_S)
        except TimeoutError:  # lost with its worker just now: another one makes it again
            self._flying[future] = flying
            future.add_done_callback(self._ended.put)
        except Exception as error:
            self._retry(flying, error)
        else:
            task = flying.task
            self._over.put(flying.number, Outcome(task, result) if done else Outcome(task, error=result))

    def _retry(self, flying: _Flying[Task], error: Exception) -> None:
        """Send a task again whose workers died or could not begin it."""
        from distributed import KilledWorker

        if not isinstance(error, KilledWorker | CannotStart | KeyError):
            raise error
        if flying.tries < TRIES:
            self._again.append(flying)
        elif isinstance(error, KilledWorker):
            reason = "All workers that worked on it died, as a lack of memory can cause: leave it out, or try it alone."
            self._over.put(flying.number, Outcome(flying.task, error=TaskLost(reason)))
        else:
            raise error


def _lost() -> str:
    return "The Dask scheduler is gone: start it, then run the same command again; what was finished is kept."
