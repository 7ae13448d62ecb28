"""Keep what `ambiseg benchmark lidc` or `known-truth` has measured, without weights, and continue on another machine.

    python examples/studies/records.py keep benchmarks/lidc lidc.tar.xz
    python examples/studies/records.py take lidc.tar.xz benchmarks/lidc

An archive holds the settings, the log, the calibration and the figures of each finished run, from which all tables are made:
some 30 kB per run on LIDC-IDRI, less than 1 kB on known truth. The same command of the benchmark then takes these runs for done
and trains the others. The same runs give the same archive. Archives of several machines may be taken into one folder. They name
patients as the store does, and no paths.
"""

import argparse
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ambiseg.models.benchmarks.trials.notes import FILE as NOTES
from ambiseg.models.benchmarks.trials.notes import read_notes
from ambiseg.models.benchmarks.trials.results import FILE as RESULT
from ambiseg.models.runs.run_folder import RECORD
from ambiseg.preprocessing.documents import json_text
from ambiseg.preprocessing.errors import InputError
from ambiseg.preprocessing.files import whole_file
from ambiseg.terminal.console import plain_errors

KEPT = (RECORD, NOTES, "calibration.json", "metrics.jsonl", "evaluation-*/summary.json", "evaluation-*/cases.csv")


def keep(folder: Path, archive: Path) -> list[str]:
    """Write the finished runs of a benchmark's folder into an archive; their names."""
    runs = [file.parent for file in sorted(folder.rglob(RECORD))]
    kept = {run: files for run in runs if (files := list(files_of(run)))}
    if not kept:
        raise SystemExit(f"{folder} holds no finished run: run `ambiseg benchmark` first.")
    with whole_file(archive) as aside, tarfile.open(aside, "w:xz") as packed:
        for files in kept.values():
            for file in files:
                content = without_path(file) if file.name == RECORD else file.read_bytes()
                about = tarfile.TarInfo(file.relative_to(folder).as_posix())  # it tells of no person and no time
                about.size = len(content)
                packed.addfile(about, io.BytesIO(content))
    return [run.name for run in kept]


def files_of(run: Path) -> Iterator[Path]:
    """What is kept of a run; nothing of one that is not finished."""
    if (run / RESULT).is_file():  # of known truth: all figures are in it
        yield from (run / RECORD, run / RESULT)
    elif read_notes(run).evaluation_val is not None:
        for pattern in KEPT:
            yield from sorted(run.glob(pattern))


def without_path(file: Path) -> bytes:
    """The settings of a run, without where its data lay."""
    record = json.loads(file.read_text(encoding="utf-8"))
    record["data"]["path"] = ""
    return json_text(record).encode()


def take(archive: Path, folder: Path) -> list[str]:
    """Put the runs of an archive into a benchmark's folder, but for those that are there; the names of the others."""
    if not archive.is_file():
        raise InputError(f"No file {archive}: expected an archive that `keep` has made; check the path.")
    with tarfile.open(archive) as packed:
        members = [one for one in packed.getmembers() if one.isfile()]
        runs = [PurePosixPath(one.name).parent for one in members if PurePosixPath(one.name).name == RECORD]
        new = [run for run in runs if not (folder / run).exists()]
        wanted = [one for one in members if any(run in PurePosixPath(one.name).parents for run in new)]
        packed.extractall(folder, wanted, filter="data")
    return [run.name for run in new]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("keep", "take"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    asked = parser.parse_args()
    done = keep(asked.source, asked.target) if asked.what == "keep" else take(asked.source, asked.target)
    print(f"{asked.target}: {len(done)} runs, {', '.join(done)}")


if __name__ == "__main__":
    with plain_errors():
        main()
