"""What hands out independent tasks: an engine. The results are the same for every engine.

An engine is shaped like `concurrent.futures.Executor.map`: it takes a function and tasks and gives what came of each. What
differs: the function is made in each process once (it may hold a model), tasks are taken from their iterable as they are
needed, and a task that fails is an outcome among the others.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar, cast

from ..errors import ResourceError

Task = TypeVar("Task")
Result = TypeVar("Result")
Make = Callable[[], Callable[[Task], Result]]
TRIES = 4  # how often a task is begun whose process is killed from outside


class CannotStart(ResourceError):
    """There is no process to work in: no task is to blame."""


class TaskLost(ResourceError):
    """A task ended its process, or was stopped because it exceeded a limit."""


@dataclass(frozen=True)
class Limits:
    """What one task may take.

    Attributes:
        minutes: the longest time; a task that takes longer is stopped.
        memory_gb: the most memory of its process, in GB (10⁹ bytes); None: as much as was free at the start.
    """

    minutes: float = 60.0
    memory_gb: float | None = None


@dataclass(frozen=True)
class Outcome(Generic[Task, Result]):
    """What came of a task: a result, or an error."""

    task: Task
    result: Result | None = None
    error: Exception | None = None

    def get(self) -> Result:
        """The result; raises the error where there is one."""
        if self.error is not None:
            raise self.error
        return cast(Result, self.result)


Outcomes: TypeAlias = Generator[Outcome[Task, Result], None, None]


class Engine(ABC):
    """Does independent tasks."""

    def check(self) -> None:
        """Raise ResourceError unless there are machines to work on. It is called before anything is written."""
        return

    @contextmanager
    def held(self) -> Iterator["Engine"]:
        """The engine for several rounds of tasks: what it starts for the first one with a task lasts until the block ends."""
        yield self

    @abstractmethod
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
        """Do all tasks; whatever stops the loop over the outcomes stops the tasks, which then clean up.

        Args:
            make: called once in each process, it returns the function that does a task. It must be picklable, and so must
                tasks and results.
            tasks: taken one by one, a few ahead of those that are done.
            limits: what a task may take. With limits every task is done in another process, so that one which ends it or
                exceeds them costs only itself. Without, tasks are trusted, and done in this process where that is quicker.
            in_order: whether outcomes come in the tasks' order, instead of as they are finished.
            shared: folders that every process writes; on a cluster it is checked that they are the same.
            read: files and folders that every process reads; on a cluster it is checked that they are there.

        Yields:
            Each task with its result or its error.

        Raises:
            CannotStart: there is no process to work in.
            ResourceError: the machines cannot be used; the sentence says what to do.
        """


class Turns(Generic[Task, Result]):
    """Outcomes that wait for their turn: in the order in which tasks were taken, or as they came."""

    def __init__(self, in_order: bool):
        self._in_order = in_order
        self._over: dict[int, Outcome[Task, Result]] = {}
        self._taken = self._told = 0

    def is_open(self, most: int) -> bool:
        """Whether another task may be taken: of those in order, at most so many are ahead of the one that is due."""
        return not self._in_order or self._taken - self._told < most

    def number(self) -> int:
        """The number of a task that is taken now."""
        self._taken += 1
        return self._taken - 1

    def put(self, number: int, outcome: Outcome[Task, Result]) -> None:
        """A task is over."""
        self._over[number] = outcome

    def due(self) -> Iterator[Outcome[Task, Result]]:
        """The outcomes whose turn it is."""
        while self._over and not (self._in_order and self._told not in self._over):
            number = self._told if self._in_order else next(iter(self._over))
            self._told += 1
            yield self._over.pop(number)


class InProcess(Engine):
    """Tasks are done one by one in this process, without limits."""

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
        """Do all tasks, as `Engine` says."""
        work = make()
        for task in tasks:
            yield attempt(work, task)


def attempt(work: Callable[[Task], Result], task: Task) -> Outcome[Task, Result]:
    """The outcome of a task that is done here and now."""
    try:
        return Outcome(task, work(task))
    except Exception as error:
        return Outcome(task, error=error)


def always(work: Callable[[Task], Result]) -> Make[Task, Result]:
    """What makes a function that needs no preparation.

    >>> always(abs)()(-3)
    3
    """
    return partial(_same, work)


def _same(work: Callable[[Task], Result]) -> Callable[[Task], Result]:
    return work
