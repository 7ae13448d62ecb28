"""What hands out independent tasks: an engine. The results are the same for every engine.

An engine is shaped like `concurrent.futures.Executor.map`: it takes a function and tasks and gives what came of each. What
differs: the function is made in each process once (it may hold a model), tasks are taken from their iterable as they are
needed, and a task that fails is an outcome among the others.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
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

    @abstractmethod
    def outcomes(
        self,
        make: Make[Task, Result],
        tasks: Iterable[Task],
        *,
        limits: Limits | None = None,
        in_order: bool = False,
        shared: Sequence[Path] = (),
    ) -> Outcomes[Task, Result]:
        """Do all tasks; whatever stops the loop over the outcomes stops the tasks, which then clean up.

        Args:
            make: called once in each process, it returns the function that does a task. It must be picklable, and so must
                tasks and results.
            tasks: taken one by one, a few ahead of those that are done.
            limits: what a task may take. With limits every task is done in another process, so that one which ends it or
                exceeds them costs only itself. Without, tasks are trusted, and done in this process where that is quicker.
            in_order: whether outcomes come in the tasks' order, instead of as they are finished.
            shared: folders that every process must see.

        Yields:
            Each task with its result or its error.

        Raises:
            CannotStart: there is no process to work in.
            ResourceError: the machines cannot be used; the sentence says what to do.
        """


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
