"""What each further format of `ambiseg predict` costs for one lesion: processor seconds, and the sizes of its files.

    python examples/studies/cost/benchmark_exports.py study/ct --at=-57.9,-85.3,-117.5

The scan is predicted once. Each format is then written `--rounds` times, and the smallest time counts: libraries are loaded and
fonts are found in the first round.
"""

import argparse
import tempfile
import time
from pathlib import Path

import ambiseg
from ambiseg.models.prediction.predict_scan import Exports
from ambiseg.models.results.exports import FORMATS, SEGS, wanted
from ambiseg.terminal.console import plain_errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path, help="a folder of DICOM files")
    parser.add_argument("--at", required=True, help="X,Y,Z of a lesion in mm RAS")
    parser.add_argument("--model", default="lidc-gated", help="a run folder, or a model that comes with ambiseg")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    x, y, z = map(float, options.at.split(","))
    found = ambiseg.predict(options.scan, options.model, at=[(x, y, z)])
    hypotheses = len(found.document.lesions[0].hypotheses)
    print(f"scan {found.scan.volume.array.shape}, lesion in {found.lesions[0].box}, {hypotheses} hypotheses")
    for seg in SEGS:
        exports = Exports(tuple(FORMATS), seg)
        for name in wanted(exports):
            seconds, files = measure(found, name, exports, options.rounds)
            print(f"{name} ({seg})  {seconds:.2f} s  {files}")


def measure(found: ambiseg.ScanHypotheses, name: str, exports: Exports, rounds: int) -> tuple[float, dict[str, int]]:
    """The least processor seconds of a format, and the bytes of each of its files."""
    seconds = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for needed in FORMATS[name].needs:
            FORMATS[needed].write(folder, found.scan, found.prediction, exports)
        before = set(folder.rglob("*"))
        for _ in range(rounds):
            begun = time.process_time()
            FORMATS[name].write(folder, found.scan, found.prediction, exports)
            seconds.append(time.process_time() - begun)
        return min(seconds), {file.name: file.stat().st_size for file in sorted(set(folder.rglob("*")) - before)}


if __name__ == "__main__":
    with plain_errors():
        main()
