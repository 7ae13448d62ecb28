"""What `ambiseg predict` costs on a whole CT: seconds by part, processor time and peak memory, at a point and with a search.

    python examples/studies/cost/benchmark_predict.py scan.nii.gz --model runs/generalized-001 --at=-57.9,-85.3,-117.5 \\
        --slices 300

The scan is first resampled to `--slices` slices by linear interpolation. Each prediction is a separate process, as a user
would start it. The seconds are those that it writes to run.json, and those of the whole process. Processor time is the total
of all its threads, which other work on the machine disturbs least.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ambiseg.preprocessing.scans.formats.nifti_volume import read_volume, write_volume
from ambiseg.preprocessing.volumes.volume import Volume
from ambiseg.terminal.console import plain_errors


def with_slices(volume: Volume, count: int) -> Volume:
    """The scan with `count` slices over the same height, interpolated linearly."""
    place = np.linspace(0, len(volume.array) - 1, count)
    below = np.minimum(place.astype(int), len(volume.array) - 2)
    array = np.empty((count, *volume.array.shape[1:]), np.int16)
    for index, (start, share) in enumerate(zip(below, place - below, strict=True)):
        array[index] = np.rint((1 - share) * volume.array[start] + share * volume.array[start + 1])
    affine = volume.affine.copy()
    affine[:3, 2] *= (len(volume.array) - 1) / (count - 1)
    return Volume(array, affine)


def processor_seconds() -> float:
    """Processor time of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def predict(scan: Path, folder: Path, *options: str) -> tuple[float, float, dict]:
    """Wall-clock and processor seconds of the whole process, and its run.json."""
    begun, used = time.perf_counter(), processor_seconds()
    command = [sys.executable, "-m", "ambiseg", "-q", "predict", str(scan), "-o", str(folder), "--json", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return time.perf_counter() - begun, processor_seconds() - used, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    parser.add_argument("--model", default="lidc-gated", help="a run folder, or a model that comes with ambiseg")
    parser.add_argument("--at", required=True, help="X,Y,Z of a lesion in mm RAS")
    parser.add_argument("--slices", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        scan = Path(place, "scan.nii.gz")
        volume = with_slices(read_volume(options.scan), options.slices)
        write_volume(scan, volume)
        print(f"{' x '.join(map(str, volume.array.shape[::-1]))} voxels")
        for name, where in (("at a point", [f"--at={options.at}"]), ("with a search", [])):
            seconds, used, run = predict(scan, Path(place, "out"), "--model", options.model, "--device", "cpu", *where)
            parts = ", ".join(f"{part} {spent:.1f}" for part, spent in run["seconds"].items())
            memory = run["peak_memory_mb"] / 1000
            print(f"{name}: {seconds:.1f} s ({parts}), processor {used:.1f} s, peak memory {memory:.2f} GB")


if __name__ == "__main__":
    with plain_errors():
        main()
