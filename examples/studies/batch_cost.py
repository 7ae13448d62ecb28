"""What a case of a batch costs beside its prediction, from a thousand cases to a hundred thousand.

    python examples/studies/batch_cost.py run --cases 1000 10000 100000 -o FOLDER     measures, and draws FOLDER/cost.png
    python examples/studies/batch_cost.py run --cases 1000 10000 100000 --dask 2 -o FOLDER     the same by workers of Dask
    python examples/studies/batch_cost.py parts --cases 100000 --parts 64 --processes 8 -o FOLDER

The cases are predicted by a stub that writes a small prediction of one lesion at once; one in 200 fails, and one in 100 has
nothing to predict. All else is the real thing: `predict_batch`, which records each case, and the tables and pages of the whole.

For each number of cases `run` starts a process for each of these: the batch; the tables and the overview once more; the batch
once more, when everything is done but for the cases that fail. It prints for each what it took: processor time, bytes and calls
that wrote (of Linux' /proc/self/io), and the largest memory. With `--dask`, a cluster of so many workers is started on this
machine and does the batch; its scheduler is counted, what the workers take is not. `parts` predicts the batch in one process,
and again in parts by several processes at once, and compares all files but for the stamp in tables.json.
"""

import argparse
import json
import multiprocessing
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import torch
from batch_speed import dask_cluster

from ambiseg.models.bundle.find import find_model
from ambiseg.models.cohort.batches import WHOLE, Part, Predict, asked_of, predict_batch
from ambiseg.models.cohort.joining import join_batch
from ambiseg.models.figures.style import BLUE, INK, name_axes, new_figure, place_panels, plain, png
from ambiseg.models.prediction.predict_scan import Exports, Request
from ambiseg.models.runs.trained import Trained, load_trained
from ambiseg.preprocessing.errors import DataError, NothingFound
from ambiseg.preprocessing.files import whole_folder
from ambiseg.preprocessing.scans.cases import Case
from ambiseg.preprocessing.work.engine import Engine, InProcess, always
from ambiseg.terminal.console import plain_errors

REQUEST = Request(exports=Exports(report="shared"))
JOBS = ("batch", "tables", "again")


@dataclass(frozen=True)
class Cost:
    """What a job cost: seconds, seconds of the processor, bytes and calls that wrote, and the largest memory in MB."""

    cases: int
    job: str
    seconds: float
    cpu_s: float
    bytes: int
    calls: int
    peak_mb: float

    @property
    def told(self) -> str:
        """A row of the table."""
        each = self.cases
        return (
            f"{each:7d} {self.job:7s} {self.cpu_s:8.1f} {1000 * self.cpu_s / each:8.2f} {self.bytes / each:9.0f} "
            f"{self.calls / each:7.2f} {self.peak_mb:8.0f} {self.seconds:8.1f}"
        )


def names(count: int) -> list[Case]:
    """The cases; their file only has to be there."""
    return [Case(f"case-{number:06d}", Path(__file__)) for number in range(count)]


def stub(trained: Trained) -> Predict:
    """What predicts a case at once."""
    asked = asked_of(trained, REQUEST)
    run = json.dumps({"missing": [], "batch_sha256": asked.sha256})
    return always(partial(predict, asked.about.plain(), run))


def predict(about: dict[str, object], run: str, work: tuple[Case, Path]) -> Sequence[str]:
    """Write the prediction of a lesion whose size follows from the case's name."""
    case, folder = work
    number = int.from_bytes(sha256(case.name.encode()).digest()[:4])
    if number % 200 == 0:
        raise DataError(f"{case.name} is cut short: get it again.")
    if number % 100 == 1:
        raise NothingFound(f"{case.name} holds nothing that looks like a lesion.")
    with whole_folder(folder) as aside:
        (aside / "hypotheses.json").write_text(json.dumps({**about, **prediction(number)}))
        (aside / "run.json").write_text(run)
    return []


def prediction(number: int) -> dict[str, object]:
    """The part of hypotheses.json that is the scan's own."""
    size = 4 * 1.0001 ** (number % 16000)

    def spread(middle: float) -> dict[str, float]:
        return {"mean": middle, "median": middle, "low_50": middle * 0.9, "high_50": middle * 1.1, "low_90": middle * 0.8,
                "high_90": middle * 1.3}  # fmt: skip

    diameters = {name: spread(round(size, 1)) for name in ("mean_diameter_mm", "long_axis_mm", "short_axis_mm")}
    sizes = {"volume_mm3": spread(round(size**3 / 2, 1)), **diameters}
    hypotheses = [
        {"rank": rank, "file": f"hyp_{rank:02d}.nii.gz", "probability": probability, "interval": [0.0, 1.0],
         "volume_mm3": round(size**3 / 2, 3), "long_axis_mm": round(size, 3), "short_axis_mm": round(0.8 * size, 3),
         "slices": 3, "agreement": 1.0, "empty": False, "cut_off": False, "at_border": False}
        for rank, probability in enumerate((0.5, 0.2, 0.1, 0.05), 1)
    ]  # fmt: skip
    lesion = {
        "number": 1, "folder": "", "name": "", "centre_mm": [1.0, 2.0, 3.0], "score": None, "no_lesion": number % 1000 / 1000,
        "ambiguity": number % 700 / 1000, "residual": 0.15, "draws": 256, "probability": "probability.nii.gz",
        "entropy": "entropy.nii.gz", "preview": "preview.png", "sizes": "sizes.csv", "overlaps": [], "hypotheses": hypotheses,
        "size": {"if_marked": sizes, "overall": sizes, "thresholds": [], "cut": 0.0},
    }  # fmt: skip
    scan = {"voxels": [512, 512, 300], "spacing_mm": [0.7, 0.7, 1.0]}
    return {"warnings": [], "notes": [], "found_by": "given", "scan": scan, "lesions": [lesion]}


def measured(folder: Path, count: int, job: str, part: Part = WHOLE, dask: int = 0) -> Cost:
    """Do a job in this process, and say what it cost beyond what the process had used before."""
    torch.set_num_threads(1)
    trained = load_trained(find_model("lidc-gated"), torch.device("cpu"))
    made = stub(trained)
    with workers(dask) as engine:
        begun, cpu, (bytes_before, calls_before) = time.perf_counter(), time.process_time(), written()
        if job == "tables":
            join_batch(folder)
        else:
            found = predict_batch(trained, names(count), folder, REQUEST, made, part=part, engine=engine)
            assert job == "batch" or not found.done, "a restart does nothing that is done"
    seconds, cpu_s, (bytes_now, calls_now) = time.perf_counter() - begun, time.process_time() - cpu, written()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return Cost(count, job, seconds, cpu_s, bytes_now - bytes_before, calls_now - calls_before, peak)


@contextmanager
def workers(dask: int) -> Iterator[Engine]:
    """This process, or the workers of a Dask cluster."""
    if not dask:
        yield InProcess()
        return
    with dask_cluster(dask) as (engine, _):
        yield engine


def written() -> tuple[int, int]:
    """How many bytes this process has written, and by how many calls."""
    told = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(told["wchar"]), int(told["syscw"])


def apart(folder: Path, count: int, job: str, dask: int = 0) -> Cost:
    """As `measured`, in a process of its own."""
    command = [sys.executable, __file__, "one", "--cases", str(count), "--job", job, "--dask", str(dask)]
    told = subprocess.run([*command, "-o", str(folder)], check=True, capture_output=True, text=True)
    return Cost(**json.loads(told.stdout))


def run(folder: Path, counts: Sequence[int], dask: int) -> None:
    """Measure batches of several sizes, print the costs and draw them."""
    folder.mkdir(parents=True, exist_ok=True)
    print("  cases job        cpu_s   ms/case  bytes/case writes/case  peak_MB  seconds", flush=True)
    costs = []
    for count in counts:
        for job in JOBS:
            costs.append(apart(folder / f"out-{count}", count, job, dask))
            print(costs[-1].told, flush=True)
    (folder / "cost.json").write_text(json.dumps([asdict(cost) for cost in costs], indent=1) + "\n")
    draw(costs, folder / "cost.png")


def draw(costs: Sequence[Cost], file: Path) -> None:
    """A panel each for processor time, bytes and memory over the number of cases."""
    note = "A stub predicts; all else is the real batch. Tables and overview included."
    figure = new_figure(11, 3.6, "What a case costs beside its prediction", note)
    panels = figure.subplots(1, 3)
    place_panels(figure, 0.75, 0.62, wspace=0.35)
    batch = [cost for cost in costs if cost.job == "batch"]
    again = [cost for cost in costs if cost.job == "again"]
    counts = [cost.cases for cost in batch]
    for panel, title, lines in zip(panels, ("ms of processor time per case", "kB written per case", "largest memory, MB"), (
        [("first", [1000 * cost.cpu_s / cost.cases for cost in batch]), ("restart", [1000 * c.cpu_s / c.cases for c in again])],
        [("first", [cost.bytes / cost.cases / 1000 for cost in batch]), ("restart", [c.bytes / c.cases / 1000 for c in again])],
        [("first", [cost.peak_mb for cost in batch]), ("restart", [cost.peak_mb for cost in again])],
    ), strict=True):  # fmt: skip
        plain(panel)
        for (label, values), colour in zip(lines, (BLUE, INK), strict=True):
            panel.plot(counts, values, color=colour, marker="o", markersize=4, label=label)
        panel.set_xscale("log")
        panel.set_ylim(bottom=0)
        panel.set_title(title, fontsize=10, loc="left")
        name_axes(panel, "cases")
    panels[0].legend(frameon=False, fontsize=9)
    file.write_bytes(png(figure))


def parts(folder: Path, count: int, number: int, processes: int) -> None:
    """Predict a batch at once and in parts, and compare."""
    one, many = folder / "one", folder / "parts"
    whole = apart(one, count, "batch")
    begun = time.perf_counter()
    work = [(many, count, "batch", Part(each, number)) for each in range(1, number + 1)]
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        costs = pool.starmap(measured, work, chunksize=1)
    seconds = time.perf_counter() - begun
    unlike, total = differences(one, many)
    print(
        f"one process: {whole.seconds:.1f} s, {whole.cpu_s:.1f} s of the processor, {whole.bytes} bytes in {whole.calls} writes"
    )
    print(
        f"{number} parts by {processes} processes: {seconds:.1f} s, {sum(c.cpu_s for c in costs):.1f} s of the processor, "
        f"{sum(c.bytes for c in costs)} bytes in {sum(c.calls for c in costs)} writes"
    )
    print(f"{total} files, {len(unlike)} unlike: {', '.join(unlike[:5]) or '-'}")
    raise SystemExit(bool(unlike))


def differences(one: Path, other: Path) -> tuple[list[str], int]:
    """The files that are not the same in both folders, and how many files there are."""
    mine, theirs = set(files(one)), set(files(other))
    unlike = sorted(mine ^ theirs)
    unlike += [name for name in sorted(mine & theirs) if content(one / name) != content(other / name)]
    return unlike, len(mine)


def files(folder: Path) -> Iterator[str]:
    """The names of all files under a folder."""
    return (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def content(file: Path) -> bytes:
    """The bytes of a file, without what tells of the time."""
    return re.sub(rb'"stamp": "\w+"', b"", file.read_bytes()) if file.name == "tables.json" else file.read_bytes()


def main() -> None:
    """Read the options and do what they ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "parts", "one"))
    parser.add_argument("--cases", type=int, nargs="+", default=[1000, 3000, 10_000])
    parser.add_argument("--parts", type=int, default=64)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--job", choices=JOBS, default="batch")
    parser.add_argument("--dask", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("batch-cost"))
    asked = parser.parse_args()
    if asked.what == "run":
        run(asked.output, asked.cases, asked.dask)
    elif asked.what == "parts":
        parts(asked.output, asked.cases[0], asked.parts, asked.processes)
    else:
        print(json.dumps(asdict(measured(asked.output, asked.cases[0], asked.job, dask=asked.dask))))


if __name__ == "__main__":
    with plain_errors():
        main()
