"""The contract of every engine: outcomes of tasks, and what a task costs that fails, ends its process or exceeds a limit."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from ambiseg.preprocessing.errors import DataError, NothingFound, ResourceError
from ambiseg.preprocessing.work.engine import CannotStart, Engine, InProcess, Limits, Outcome, TaskLost, always
from ambiseg.preprocessing.work.local_processes import LocalProcesses

HERE, ONE, TWO = InProcess(), LocalProcesses(1), LocalProcesses(2)
FIRM = Limits(minutes=0.05, memory_gb=0.4)
KNOWN = {"data": DataError("cut short: get it again."), "nothing": NothingFound("There is nothing.")}


def answering(name: str) -> Callable[[str], tuple[str, int]]:
    """What a worker of this name does: tasks are words that say how they end."""
    return partial(answer, name)


def answer(name: str, task: str) -> tuple[str, int]:
    word, _, where = task.partition(" ")
    if word in KNOWN:
        raise KNOWN[word]
    if word == "local":

        class Local(Exception):
            pass

        raise Local("cannot be pickled")
    if word == "eat":
        held = b"x" * 8 * 10**8
        time.sleep(60 + len(held[:0]))
    if word == "once" and not Path(where).exists():  # killed from outside, the first time
        Path(where).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    ends: dict[str, Callable[[], object]] = {
        "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "leave": lambda: os._exit(3),
        "sleep": lambda: time.sleep(60),
    }
    ends.get(word, bool)()
    return f"{name} did {task}", os.getpid()


def outcomes(engine: Engine, *tasks: str, **asked: object) -> dict[str, Outcome]:
    """What comes of each task."""
    asked = {"limits": Limits(1), **asked}
    return {outcome.task: outcome for outcome in engine.outcomes(partial(answering, "one"), tasks, **asked)}  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", [HERE, ONE, TWO], ids=["here", "one", "two"])
def test_each_task_has_a_result_or_its_own_error(engine: Engine) -> None:
    tasks = ("a", "data", "b", "nothing", "local", "c")
    found = outcomes(engine, *tasks, in_order=True)
    assert tuple(found) == tasks
    assert [found[task].get()[0] for task in "abc"] == ["one did a", "one did b", "one did c"]
    with pytest.raises(DataError, match="cut short: get it again"):
        found["data"].get()
    assert isinstance(found["nothing"].error, NothingFound)
    assert "cannot be pickled" in str(found["local"].error)


def test_one_worker_is_one_process_that_is_not_this() -> None:
    found = {outcome.get()[1] for outcome in outcomes(ONE, *"abcdef").values()}
    assert len(found) == 1
    assert os.getpid() not in found


def test_tasks_that_end_their_process_cost_themselves_alone() -> None:
    found = outcomes(ONE, "a", "segfault", "b", "leave", "c", "kill", "d")
    for task, says in {"segfault": "SIGSEGV", "leave": "exit code 3", "kill": "SIGKILL"}.items():
        with pytest.raises(TaskLost, match=rf"ended the process that worked on it \({says}\).*try it alone"):
            found[task].get()
    assert [found[task].get()[0] for task in "abcd"] == [f"one did {task}" for task in "abcd"]


def test_a_task_whose_process_is_killed_by_others_is_done_again(tmp_path: Path) -> None:
    found = outcomes(TWO, "a", f"once {tmp_path / 'tried'}", "b")
    assert all(outcome.error is None for outcome in found.values())


def test_limits_name_what_was_exceeded_and_the_others_go_on() -> None:
    begun = time.monotonic()
    found = outcomes(TWO, "sleep", "eat", *"abcdef", limits=FIRM)
    assert time.monotonic() - begun < 30
    with pytest.raises(TaskLost, match=r"longer than 0.05 min and was stopped: allow more `minutes`"):
        found["sleep"].get()
    with pytest.raises(TaskLost, match=r"needed more than 0.4 GB of memory and was stopped: allow more `memory_gb`"):
        found["eat"].get()
    assert all(found[task].error is None for task in "abcdef")


def test_tasks_are_taken_as_they_are_needed() -> None:
    taken: list[str] = []

    def tasks() -> Iterator[str]:
        for number in range(1000):
            taken.append(str(number))
            yield str(number)

    for in_order in (False, True):
        taken.clear()
        running = TWO.outcomes(partial(answering, "one"), tasks(), limits=Limits(1), in_order=in_order)
        assert len(list(islice(running, 5))) == 5
        running.close()
        assert len(taken) < 20


def impossible() -> Callable[[str], object]:
    """No worker can be made."""
    os._exit(1)


def unready() -> Callable[[str], object]:
    raise DataError("The weights are damaged: get them again.")


def test_without_a_process_no_task_is_to_blame() -> None:
    with pytest.raises(CannotStart, match="could not be started"):
        list(TWO.outcomes(impossible, "abc", limits=Limits(1)))
    with pytest.raises(DataError, match="weights are damaged"):
        list(ONE.outcomes(unready, "abc", limits=Limits(1)))


def killed_at_first(place: Path) -> Callable[[str], tuple[str, int]]:
    """A worker that is killed from outside the first time that it starts."""
    if not place.exists():
        place.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return answering("late")


def test_a_process_that_is_killed_while_it_starts_is_started_again(tmp_path: Path) -> None:
    make = partial(killed_at_first, tmp_path / "tried")
    assert [outcome.get()[0] for outcome in ONE.outcomes(make, "ab", limits=Limits(1))] == ["late did a", "late did b"]


def cleaning(place: Path) -> Callable[[str], None]:
    """Work that leaves a file while it lasts."""
    return partial(clean, place)


def clean(place: Path, task: str) -> None:
    file = place / task
    file.touch()
    try:
        time.sleep(0 if task == "a" else 60)
    finally:
        file.unlink()


def test_tasks_clean_up_when_the_loop_is_left(tmp_path: Path) -> None:
    running = TWO.outcomes(partial(cleaning, tmp_path), "abc", limits=Limits(1))
    next(running)
    deadline = time.monotonic() + 20
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    running.close()
    assert list(tmp_path.iterdir()) == []


def test_processes_end_with_the_one_that_began_them() -> None:
    """Even when that one is killed, in the middle of a task."""
    program = (
        "from functools import partial; from tests.preprocessing.work.test_engines import LocalProcesses, Limits, answering\n"
        "if __name__ == '__main__':\n"
        "    for done in LocalProcesses(1).outcomes(partial(answering, 'one'), ['a', 'sleep'], limits=Limits(1)):\n"
        "        print(done.get()[1], flush=True)\n"
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


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP", "SIGTERM", "SIGKILL"])
def test_signals_to_a_worker_cost_nothing(name: str) -> None:
    """Those of a terminal are left to the first process; what ends a worker that waits costs no task."""
    running = ONE.outcomes(partial(answering, "one"), iter("abcd"), limits=Limits(1))
    _, number = next(running).get()
    os.kill(number, getattr(signal, name))
    rest = [outcome.get() for outcome in running]
    assert [said for said, _ in rest] == ["one did b", "one did c", "one did d"]
    assert (rest[-1][1] == number) == (name in ("SIGINT", "SIGHUP"))


def test_a_limit_that_cannot_be_kept_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ambiseg.preprocessing.work.crew.free_memory", lambda: None)
    with pytest.raises(ResourceError, match="`memory_gb` cannot be kept"):
        outcomes(ONE, "a", limits=FIRM)
    assert outcomes(ONE, "a")["a"].error is None


def test_little_memory_is_for_one_process_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ambiseg.preprocessing.work.crew.free_memory", lambda: 1)
    found = outcomes(TWO, *"abcdef", limits=Limits(1, memory_gb=4.0))
    assert len({outcome.get()[1] for outcome in found.values()}) == 1


def slow(task: int) -> int:
    time.sleep(0.05)
    return task * task


@pytest.mark.exhaustive
def test_processes_that_are_killed_at_random_cost_no_task() -> None:
    """20 kills, while 400 tasks are done."""
    draw, killed, found = random.Random(0), 0, {}
    for outcome in TWO.outcomes(always(slow), range(400), limits=Limits(1)):
        assert outcome.task not in found, "a task was done twice"
        found[outcome.task] = outcome.get()
        if len(found) % 20 == 0:
            workers = multiprocessing.active_children()
            os.kill(draw.choice([worker.pid for worker in workers if worker.pid]), signal.SIGKILL)
            killed += 1
    assert killed == 20
    assert found == {task: task * task for task in range(400)}
