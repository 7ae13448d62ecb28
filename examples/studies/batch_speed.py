"""How many scans per hour a batch predicts: one process, one per core, and workers of a Dask cluster on this machine.

    python examples/studies/batch_speed.py --scans 40 --workers 1 2 --dask 2 --kills 20 -o FOLDER

Phantom scans with all their slices are made in FOLDER/cohort and searched for lesions. The batch is predicted anew for each
number of `--workers` (processes of one thread each) and of `--dask` (worker processes of a cluster that is started here). All
must give the same files, but for run.json and tables.json, which tell of times. Starting processes and loading the model
counts; making the scans and starting Dask's workers does not. With `--kills`, the batch is predicted twice more, by the most
processes and by the most workers, while so many of them are killed at random, `--every` seconds apart.

It prints one row per run: scans per hour, how many times those of the first run, and how many processes were killed. Ratios
within one call mean something on a busy machine, the figures themselves only on a quiet one. `--draws` and `--candidates`, as
of `ambiseg predict`, make a trial quick. Dask needs the extra `dask`.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Event, Thread
from time import perf_counter
from typing import Any

import torch

from ambiseg.models.bundle.find import find_model
from ambiseg.models.cohort.batches import predict_cases
from ambiseg.models.prediction.inference import Ranking
from ambiseg.models.prediction.places import Places
from ambiseg.models.prediction.predict_scan import Request
from ambiseg.models.runs.trained import Trained, load_trained
from ambiseg.preprocessing.phantom.cohort import write_phantom
from ambiseg.preprocessing.scans.cases import Case, find_cases
from ambiseg.preprocessing.work.engine import Engine
from ambiseg.preprocessing.work.local_processes import LocalProcesses
from ambiseg.terminal.console import plain_errors

OF_TIMES = {"run.json", "tables.json"}  # files that tell when and how fast they were made
Pids = Callable[[], Sequence[int]]


@dataclass(frozen=True)
class Work:
    """What is predicted, and where to."""

    trained: Trained
    cases: Sequence[Case]
    request: Request
    folder: Path


@dataclass(frozen=True)
class Run:
    """One way to predict the batch."""

    name: str
    seconds: float
    killed: int
    files: dict[str, str]


def main() -> None:
    """Make the scans, predict them in each way, and print the rows."""
    asked = arguments()
    torch.set_num_threads(1)
    cohort = asked.output / "cohort"
    write_phantom(cohort, asked.scans, slices="all")
    ranking = Ranking(draws=asked.draws)
    request = Request(places=Places(candidates=asked.candidates, of_many=True), ranking=ranking)
    trained = load_trained(find_model(None), torch.device("cpu"))
    work = Work(trained, find_cases(cohort) or [], request, asked.output)
    rounds = [(0, asked.workers, asked.dask)]
    if asked.kills:
        rounds.append((asked.kills, [max(asked.workers)], [max(asked.dask)] if asked.dask else []))
    first: Run | None = None
    for kills, workers, dask in rounds:
        for run in runs(work, workers, dask, kills, asked.every):
            first = first or run
            print(row(run, len(work.cases), first), flush=True)


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=40)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dask", type=int, nargs="*", default=[])
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--every", type=float, default=10.0)
    parser.add_argument("--draws", type=int, default=256)
    parser.add_argument("--candidates", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, required=True)
    return parser.parse_args()


def runs(work: Work, workers: Sequence[int], dask: Sequence[int], kills: int, every: float) -> Iterator[Run]:
    """The batch, predicted in each way."""
    for count in workers:
        yield timed(work, f"{count} local", LocalProcesses(count), local_pids, kills, every)
    for count in dask:
        with dask_cluster(count) as (engine, pids):
            yield timed(work, f"{count} Dask", engine, pids, kills, every)


def timed(work: Work, name: str, engine: Engine, pids: Pids, kills: int, every: float) -> Run:
    """The batch, predicted from its beginning."""
    folder = work.folder / "predicted"
    shutil.rmtree(folder, ignore_errors=True)
    begun = perf_counter()
    with killing(pids, kills, every) as killed:
        batch = predict_cases(work.trained, work.cases, folder, work.request, workers=engine)
    seconds = perf_counter() - begun
    if batch.failures:
        raise SystemExit(f"{name}: {batch.failures[0]}")
    return Run(name, seconds, len(killed), hashes(folder))


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file that does not tell of times."""
    found = (file for file in sorted(folder.rglob("*")) if file.is_file() and not file.name.startswith("."))
    return {str(file): sha256(file.read_bytes()).hexdigest() for file in found if file.name not in OF_TIMES}


def row(run: Run, scans: int, first: Run) -> str:
    """A line of the table."""
    same = "same files" if run.files == first.files else "OTHER FILES"
    hourly = 3600 * scans / run.seconds
    return f"{run.name:10} {hourly:8.0f} scans/h  x {first.seconds / run.seconds:.2f}  {run.killed:3} killed  {same}"


@contextmanager
def killing(pids: Pids, kills: int, every: float) -> Iterator[list[int]]:
    """Kill processes at random while the block lasts; those that were killed so far."""
    over, killed = Event(), []
    draw = random.Random(0)

    def kill() -> None:
        while len(killed) < kills and not over.wait(every):
            if there := pids():
                chosen = draw.choice(list(there))
                os.kill(chosen, signal.SIGKILL)
                killed.append(chosen)

    thread = Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def local_pids() -> Sequence[int]:
    """The processes that work for this one."""
    return [child.pid for child in multiprocessing.active_children() if child.pid]


@contextmanager
def dask_cluster(count: int) -> Iterator[tuple[Engine, Pids]]:
    """An engine with workers on this machine, and what tells their processes."""
    from distributed import LocalCluster
    from distributed.core import Status

    from ambiseg.preprocessing.work.dask_cluster import DaskCluster

    with ExitStack() as held:
        options: dict[str, Any] = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 60}
        cluster = held.enter_context(LocalCluster(n_workers=count, **options))

        def pids() -> Sequence[int]:
            running = [nanny for nanny in cluster.workers.values() if nanny.status == Status.running]
            return [nanny.pid for nanny in running] if len(running) == count else []  # none while one is starting

        yield DaskCluster(cluster.scheduler_address), pids


if __name__ == "__main__":
    with plain_errors():
        main()
