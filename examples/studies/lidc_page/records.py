"""Keep what `ambiseg benchmark lidc` has measured, without weights, and continue on another machine.

    python examples/studies/lidc_page/records.py keep benchmarks/lidc-600 lidc-600.tar.xz
    python examples/studies/lidc_page/records.py take lidc-600.tar.xz benchmarks/lidc-600

An archive holds the settings, the log, the calibration and the evaluation of each finished run, from which all tables are made:
some 30 kB per run. The same command of the benchmark then takes these runs for done and trains the others. The same runs give
the same archive. It names patients as the store does.
"""

import argparse
import tarfile
from collections.abc import Iterator
from pathlib import Path

from ambiseg.models.benchmarks.trials.lidc_trials import RUNS
from ambiseg.models.benchmarks.trials.measured import run_folders
from ambiseg.models.benchmarks.trials.notes import read_notes
from ambiseg.preprocessing.files import whole_file

KEPT = (
    "run.json",
    "benchmark.json",
    "calibration.json",
    "metrics.jsonl",
    "evaluation-*/summary.json",
    "evaluation-*/cases.csv",
)


def keep(folder: Path, archive: Path) -> list[str]:
    """Write the finished runs of a benchmark's folder into an archive; their names."""
    finished = [run for run in run_folders(folder) if read_notes(run).evaluation_val is not None]
    if not finished:
        raise SystemExit(f"{folder} holds no finished run: run `ambiseg benchmark lidc` first.")
    with whole_file(archive) as aside, tarfile.open(aside, "w:xz") as packed:
        for run in finished:
            for file in files_of(run):
                with file.open("rb") as content:
                    packed.addfile(entry(file, folder), content)
    return [run.name for run in finished]


def files_of(run: Path) -> Iterator[Path]:
    """What is kept of a run."""
    for pattern in KEPT:
        yield from sorted(run.glob(pattern))


def entry(file: Path, folder: Path) -> tarfile.TarInfo:
    """A file's entry, which tells of no person and no time."""
    found = tarfile.TarInfo(file.relative_to(folder).as_posix())
    found.size = file.stat().st_size
    return found


def take(archive: Path, folder: Path) -> list[str]:
    """Put the runs of an archive into a benchmark's folder, but for those that are there; the names of the others."""
    with tarfile.open(archive) as packed:
        members = [one for one in packed.getmembers() if one.isfile() and one.name.startswith(f"{RUNS}/")]
        here = {run.name for run in run_folders(folder)} if (folder / RUNS).is_dir() else set()
        new = [one for one in members if one.name.split("/")[1] not in here]
        packed.extractall(folder, new, filter="data")
    return sorted({one.name.split("/")[1] for one in new})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("keep", "take"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    asked = parser.parse_args()
    done = keep(asked.source, asked.target) if asked.what == "keep" else take(asked.source, asked.target)
    print(f"{asked.target}: {len(done)} runs, {', '.join(done)}")


if __name__ == "__main__":
    main()
