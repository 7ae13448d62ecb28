"""A separate process: a task's results and errors come back, and a task that kills or blocks the process costs only itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from ambiseg.preprocessing.errors import DataError, NothingFound, ResourceError
from ambiseg.preprocessing.lone_worker import CannotStart, LoneWorker


def answering(name: str) -> Callable[[str], object]:
    """What a worker of this name does: tasks are words that say how they end."""

    def answer(task: str) -> object:
        if task == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif task == "abort":
            os.abort()
        elif task == "leave":
            os._exit(3)
        elif task == "sleep":
            time.sleep(600)
        elif task == "data":
            raise DataError("cut short: get it again.")
        elif task == "nothing":
            raise NothingFound("There is nothing.")
        elif task == "local":

            class Local(Exception):
                pass

            raise Local("cannot be pickled")
        return f"{name} did {task}", os.getpid()

    return answer


@pytest.fixture(scope="module")
def worker() -> Iterator[LoneWorker]:
    with LoneWorker(partial(answering, "one"), minutes=1) as running:
        yield running


def test_tasks_are_done_by_one_process_that_is_not_this(worker: LoneWorker) -> None:
    (first, number), (second, same) = worker.do("a"), worker.do("b")
    assert (first, second) == ("one did a", "one did b")
    assert number == same != os.getpid()


def test_what_a_task_raises_is_raised_and_the_process_goes_on(worker: LoneWorker) -> None:
    _, before = worker.do("a")
    with pytest.raises(DataError, match="cut short: get it again"):
        worker.do("data")
    with pytest.raises(NothingFound, match="There is nothing"):
        worker.do("nothing")
    with pytest.raises(RuntimeError, match="Local: cannot be pickled"):
        worker.do("local")
    assert worker.do("b") == ("one did b", before)


@pytest.mark.parametrize(("task", "says"), [("segfault", "SIGSEGV"), ("abort", "SIGABRT"), ("leave", "exit code 3")])
def test_a_task_that_ends_its_process_costs_itself_alone(worker: LoneWorker, task: str, says: str) -> None:
    _, before = worker.do("a")
    with pytest.raises(ResourceError, match=rf"ended the process that worked on it \({says}\).*try it alone"):
        worker.do(task)
    said, after = worker.do("b")
    assert said == "one did b"
    assert after != before


def test_a_process_that_was_killed_while_it_waited_costs_nothing(worker: LoneWorker) -> None:
    _, number = worker.do("a")
    os.kill(number, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while alive(number) and time.monotonic() < deadline:
        time.sleep(0.01)
    said, after = worker.do("b")
    assert said == "one did b"
    assert after != number


def impossible() -> Callable[[str], object]:
    """No worker can be made."""
    os._exit(1)


def test_without_a_process_no_task_is_to_blame() -> None:
    with LoneWorker(impossible, minutes=1) as worker, pytest.raises(CannotStart, match="could not be started"):
        worker.do("a")


def test_a_task_without_end_is_stopped_and_its_process_is_gone() -> None:
    with LoneWorker(partial(answering, "one"), minutes=0.1) as worker:
        _, number = worker.do("a")
        begun = time.monotonic()
        with pytest.raises(ResourceError, match=r"longer than 0.1 min and was stopped: allow more `minutes`"):
            worker.do("sleep")
        assert time.monotonic() - begun < 30
        assert not alive(number)
        _, after = worker.do("b")
    assert not alive(after)


def test_the_process_ends_with_the_one_that_began_it() -> None:
    """Even when that one is killed, in the middle of a task."""
    program = (
        "from functools import partial; from tests.preprocessing.test_lone_worker import answering\n"
        "from ambiseg.preprocessing.lone_worker import LoneWorker\n"
        "if __name__ == '__main__':\n"
        "    with LoneWorker(partial(answering, 'one'), 1) as worker:\n"
        "        print(worker.do('a')[1], flush=True)\n"
        "        worker.do('sleep')\n"
    )
    path = os.pathsep.join(filter(None, sys.path))
    first = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert first.stdout is not None
    number = int(first.stdout.readline())
    assert alive(number)
    first.kill()
    first.wait()
    first.stdout.close()
    deadline = time.monotonic() + 20
    while alive(number) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(number)


def alive(number: int) -> bool:
    """Whether a process or any thread of it is left; one that ended and was not asked after has a single dead thread."""
    try:
        threads = [Path(thread, "stat").read_text() for thread in Path(f"/proc/{number}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return len(threads) > 1 or threads[0].rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_that_end_a_command_are_left_to_the_first_process(worker: LoneWorker, name: str) -> None:
    _, number = worker.do("a")
    os.kill(number, getattr(signal, name))
    assert worker.do("b") == ("one did b", number)
