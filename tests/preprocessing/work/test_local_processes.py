"""Work distributed over processes: in this process while that is faster, with the same results for any number of processes."""

import os
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambiseg.preprocessing.work import local_processes
from ambiseg.preprocessing.work.engine import always
from ambiseg.preprocessing.work.local_processes import STARTING, LocalProcesses, worth_processes


def process_of(task: int) -> int:
    return os.getpid()


def square(task: int) -> int:
    return task * task


def spread(
    work: Callable[[int], int], tasks: Iterable[int], workers: int | None = None, in_order: bool = False
) -> list[tuple[int, int]]:
    """Each task with its result."""
    found = LocalProcesses(workers).outcomes(always(work), tasks, in_order=in_order)
    return [(outcome.task, outcome.get()) for outcome in found]


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores, and a failure where any of them is used."""

    def refuse(*asked: object, **named: object) -> None:
        raise AssertionError("processes were started")

    monkeypatch.setattr(local_processes, "usable_cores", lambda: 8)
    monkeypatch.setattr(local_processes, "Crew", refuse)


@pytest.fixture
def a_second_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores, and a clock by which every task takes a second."""
    clock = iter(range(1000))
    monkeypatch.setattr(local_processes, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(local_processes, "usable_cores", lambda: 2)


@pytest.mark.usefixtures("no_processes")
@pytest.mark.parametrize("tasks", [0, 1, 6, 300])
def test_little_work_is_done_in_this_process(tasks: int) -> None:
    assert list(spread(process_of, range(tasks))) == [(task, os.getpid()) for task in range(tasks)]


@pytest.mark.usefixtures("no_processes")
@pytest.mark.parametrize(("tasks", "asked"), [(1, 5), (1, None), (40, 1)])
def test_one_task_or_one_worker_needs_no_other_process(tasks: int, asked: int | None) -> None:
    assert [result for _, result in spread(process_of, range(tasks), asked)] == [os.getpid()] * tasks


@pytest.mark.usefixtures("a_second_each")
def test_what_is_left_of_much_work_is_spread() -> None:
    """The first two tasks tell that ten more are worth two processes."""
    found = dict(spread(process_of, range(12)))
    assert sorted(found) == list(range(12))
    assert [task for task, process in found.items() if process == os.getpid()] == [0, 1]


@pytest.mark.usefixtures("a_second_each")
def test_results_come_in_the_tasks_order_where_it_matters() -> None:
    assert list(spread(square, range(20), in_order=True)) == [(task, task * task) for task in range(20)]


def test_a_number_of_workers_is_obeyed_from_the_start() -> None:
    found = list(spread(process_of, range(4), 2, in_order=True))
    assert [task for task, _ in found] == [0, 1, 2, 3]
    assert os.getpid() not in {process for _, process in found}


def test_six_scans_are_done_here_and_a_thousand_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """.4 s each, the first one with a second of imports: the others would start in 2 s and save 1."""
    monkeypatch.setattr(local_processes, "usable_cores", lambda: 2)
    assert not any(worth_processes([1.4, *[0.4] * done], 5 - done) for done in range(6))
    assert worth_processes([1.4, 0.4], 998)


def test_long_tasks_need_no_second_one_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_processes, "usable_cores", lambda: 4)
    assert worth_processes([60.0], 3)
    assert not worth_processes([60.0], 1)


@given(
    took=st.lists(st.floats(0.001, 100), min_size=1, max_size=6), left=st.integers(0, 1000), cores=st.integers(1, 64)
)
def test_processes_are_started_only_where_they_save_time(took: list[float], left: int, cores: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(local_processes, "usable_cores", lambda: cores)
        chosen = worth_processes(took, left)
    if chosen:
        one = sum(took[1:]) / (len(took) - 1) if len(took) > 1 else took[0]
        assert STARTING + one * left / min(cores, left) < one * left * (1 + 1e-9)
