"""Tasks on a Dask cluster of two worker processes: the same contract as on one machine, and what is said of bad clusters."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ambiseg.preprocessing.errors import ResourceError, UsageError
from ambiseg.preprocessing.scans.formats.nifti_volume import write_volume
from ambiseg.preprocessing.sources.nifti.nifti_crops import NiftiSettings
from ambiseg.preprocessing.sources.nifti.nifti_store import preprocess_nifti
from ambiseg.preprocessing.store.store import Store
from ambiseg.preprocessing.volumes.volume import Volume
from ambiseg.preprocessing.work import dask_cluster
from ambiseg.preprocessing.work.dask_cluster import DaskCluster, check_cluster
from ambiseg.preprocessing.work.engine import Limits, Outcome, TaskLost, always
from ambiseg.version import __version__

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A scheduler in this process, and two workers."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=60
    ) as running:
        yield running


def answering(folder: Path) -> Callable[[str], str]:
    """What a worker does that writes to this folder: tasks are words that say how they end."""
    return partial(answer, folder)


def answer(folder: Path, task: str) -> str:
    (folder / task).write_text("begun")
    if task == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if task == "sleep":
        time.sleep(60)
    if task == "eat":
        held = b"x" * 8 * 10**8
        time.sleep(60 + len(held[:0]))
    if task == "wrong":
        raise ResourceError("There is no room.")
    time.sleep(0.02)
    (folder / task).write_text("done")
    return task.upper()


def outcomes(cluster: Any, folder: Path, *tasks: str, **asked: Any) -> dict[str, Outcome[str, str]]:
    """What comes of each task."""
    engine = DaskCluster(cluster.scheduler_address)
    found = engine.outcomes(partial(answering, folder), tasks, **{"limits": Limits(1), **asked})
    return {outcome.task: outcome for outcome in found}


def test_tasks_have_results_errors_and_limits_as_on_one_machine(cluster: Any, tmp_path: Path) -> None:
    found = outcomes(
        cluster,
        tmp_path,
        *("a", "segfault", "b", "sleep", "wrong", "eat", "c"),
        limits=Limits(minutes=0.05, memory_gb=0.4),
        shared=[tmp_path],
        read=[tmp_path],
    )
    assert [found[task].get() for task in "abc"] == ["A", "B", "C"]
    assert str(found["wrong"].error) == "There is no room."
    for task, says in {"segfault": "SIGSEGV", "sleep": "longer than 0.05 min", "eat": "more than 0.4 GB"}.items():
        with pytest.raises(TaskLost, match=says):
            found[task].get()
    assert {file.name for file in tmp_path.iterdir()} == {"a", "b", "c", "segfault", "sleep", "wrong", "eat"}


def test_outcomes_come_in_the_tasks_order_where_it_matters(cluster: Any, tmp_path: Path) -> None:
    tasks = [str(number) for number in range(40)]
    assert list(outcomes(cluster, tmp_path, *tasks, in_order=True)) == tasks


def test_a_loop_that_is_left_stops_its_tasks(cluster: Any, tmp_path: Path) -> None:
    running = DaskCluster(cluster.scheduler_address).outcomes(partial(answering, tmp_path), ["a", "sleep", "b"])
    next(running)
    running.close()
    begun = time.monotonic()
    assert outcomes(cluster, tmp_path, "c", "d")["d"].get() == "D"  # no worker sleeps on
    assert time.monotonic() - begun < 30


def kill_workers(pids: Callable[[], list[int]], times: int, every: float) -> threading.Thread:
    """Kill workers now and then, chosen at random."""

    def kill() -> None:
        draw = random.Random(0)
        for _ in range(times):
            time.sleep(every)
            try:
                os.kill(draw.choice(pids()), signal.SIGKILL)
            except (IndexError, ProcessLookupError):
                continue

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_workers_that_are_killed_cost_no_task(cluster: Any, tmp_path: Path, kills: int) -> None:
    """Dask starts them again."""

    def pids() -> list[int]:
        running = [nanny for nanny in cluster.workers.values() if nanny.status == distributed.core.Status.running]
        return [nanny.pid for nanny in running if nanny.pid and len(running) == 2]  # none that is starting

    tasks = [f"t{number}" for number in range(60 * kills)]
    killer = kill_workers(pids, kills, 1.0)
    found = outcomes(cluster, tmp_path, *tasks)
    killer.join()
    assert [found[task].get() for task in tasks] == [task.upper() for task in tasks]
    assert {file.read_text() for file in tmp_path.iterdir()} == {"done"}


def test_an_engine_that_is_held_keeps_its_connection(cluster: Any, tmp_path: Path) -> None:
    before = set(cluster.scheduler.clients)
    with DaskCluster(cluster.scheduler_address).held() as engine:
        seen = []
        for tasks in (["a", "b"], ["c"]):
            assert {one.get() for one in engine.outcomes(partial(answering, tmp_path), tasks)} == set(
                "".join(tasks).upper()
            )
            seen.append(set(cluster.scheduler.clients) - before)
    assert seen[0] == seen[1]
    assert len(seen[0]) == 1


def test_without_tasks_no_scheduler_is_needed() -> None:
    assert list(DaskCluster("tcp://127.0.0.1:9").outcomes(always(abs), [])) == []


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "CONNECT_S", 0.2)
    with pytest.raises(ResourceError, match=r"no Dask scheduler at tcp://127.0.0.1:9: start one with `dask scheduler`"):
        DaskCluster("tcp://127.0.0.1:9").check()


def test_a_cluster_without_workers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "WORKERLESS_S", 0.2)
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty,
        pytest.raises(ResourceError, match=r"no workers for 0.2 s: start some with `dask worker ADDRESS"),
    ):
        DaskCluster(empty.scheduler_address).check()


def test_workers_must_see_what_is_written_and_read(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ResourceError, match=r"The worker tcp://.* does not see .*nowhere of this machine"):
        outcomes(cluster, tmp_path, "a", read=[tmp_path / "nowhere"])
    monkeypatch.setattr(Path, "touch", lambda self: None)  # as if the folder here were another one
    with pytest.raises(ResourceError, match=rf"does not see {tmp_path} of this machine: all machines need the same"):
        outcomes(cluster, tmp_path, "a", shared=[tmp_path])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("", f"worker tcp://far:1 has no ambiseg: install ambiseg {__version__} there"),
        ("0.0.9", f"worker tcp://far:1 has ambiseg 0.0.9, but here it is {__version__}"),
    ],
)
def test_workers_need_this_version(version: str, says: str) -> None:
    class Far:
        def run(self, look: Callable[[], object]) -> dict[str, object]:
            assert look() == (__version__, [])
            return {"tcp://near:1": (__version__, []), "tcp://far:1": (version, [])}

    with pytest.raises(ResourceError, match=says):
        dask_cluster._check_workers(Far())  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["", "host:8786", "tcp://host", "http://host:8786", "Slurm"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="expected the address of a Dask scheduler, such as tcp://host:8786, or slurm"):
        check_cluster(address)


@pytest.mark.exhaustive
def test_a_store_has_the_same_content_whoever_makes_it(cluster: Any, tmp_path: Path) -> None:
    ball = np.linalg.norm(np.indices((9, 24, 24)) - np.array([[[[4]]], [[[12]]], [[[12]]]]), axis=0)
    for number in range(4):
        case = tmp_path / "cases" / f"case{number}"
        case.mkdir(parents=True)
        for name, array in {"image": 40 * ball, "reader_1": ball < 4 + number, "reader_2": ball < 5 + number}.items():
            write_volume(case / f"{name}.nii.gz", Volume(array.astype(np.int16), np.diag([-0.7, -0.7, 2.0, 1.0])))
    hashes = set()
    for name, workers in {"one": 1, "two": 2, "dask": DaskCluster(cluster.scheduler_address)}.items():
        report = preprocess_nifti(tmp_path / "cases", tmp_path / name, NiftiSettings(size=9), workers=workers)
        hashes.add(Store.open(report.store).content_hash)
    assert len(hashes) == 1
