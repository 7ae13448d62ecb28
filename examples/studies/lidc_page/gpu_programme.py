"""Everything that needs a GPU, in pieces that may be stopped: tests, costs, and the methods trained on a dataset store.

    python examples/studies/lidc_page/gpu_programme.py data/lidc-128-repack -o gpu --minutes 9

Each call works for the given number of minutes, the most informative pieces first. Repeating the call continues: finished work
is skipped, and a training resumes from its last saved state. The exit code is 0 when all is done, 130 while something is left,
and 5 when all else is done and a piece has failed (the next call tries it again). `-o` holds one log per piece, `done/`, and
the benchmark's folder.

Everything can be tried on a CPU at a tiny size:

    python examples/studies/lidc_page/gpu_programme.py STORE -o try --device cpu --preset small --steps 4 --limit 4 \\
        --set data.crop=16 --set batch=4 --set 'options.widths=[4,6]' --set options.convs=1
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
COSTS = ROOT / "examples" / "studies" / "cost"
STOPPED = 130  # ambiseg's exit code when it was stopped and can continue
FIRST = "probunet,modal,generalized-mixture-full"
BENCHED = "probunet,generalized"


@dataclass(frozen=True)
class Piece:
    """A command. If it `resumes`, it is given the number of minutes that are left; otherwise it needs `minutes` at once."""

    name: str
    command: Sequence[str]
    minutes: float = 0.5
    resumes: bool = False


def pieces(asked: argparse.Namespace) -> list[Piece]:
    """All pieces, the most informative first."""
    python, ambiseg = [sys.executable], [sys.executable, "-m", "ambiseg", "-q"]
    where = ["--preset", asked.preset, "--device", asked.device]
    settings = [word for setting in asked.settings for word in ("--set", setting)]
    tests = [*python, "-m", "pytest", "-q", "-s", str(ROOT / "tests" / "gpu" / "test_gpu.py"), "-m"]
    step = [*ambiseg, "benchmark", "step", str(asked.store), *where, *settings]
    lidc = [*ambiseg, "benchmark", "lidc", "-d", str(asked.store), "-o", str(asked.output / "lidc"), *where, *settings]
    lidc += ["--seeds", asked.seeds, *(["--steps", str(asked.steps)] if asked.steps else [])]
    lidc += ["--limit", str(asked.limit)] if asked.limit else []
    found = [
        Piece("tests", [*tests, "gpu and not slow"], 4),
        Piece("step", [*step, "-m", BENCHED], 2),
    ]
    if asked.device != "cpu":  # graphs are CUDA's
        found.append(Piece("step-graphs", [*step, "-m", BENCHED, "--set", "hardware.graphs=true"], 2))
    for method in BENCHED.split(","):
        training = [*python, str(COSTS / "benchmark_training.py"), str(asked.store), "--method", method]
        found.append(Piece(f"training-{method}", [*training, *where, *settings], 2))
        sampling = [*python, str(COSTS / "benchmark_sampling.py"), "--method", method, "--naive"]
        found.append(Piece(f"sampling-{method}", [*sampling, *where], 1))
    found += [
        Piece("lidc-first", [*lidc, "-m", FIRST], resumes=True),
        Piece("lidc-gated", [*lidc, "-m", "gated"], resumes=True),
        Piece("lidc-rest", lidc, resumes=True),
        Piece("step-all", step, 4),
        Piece("tests-slow", [*tests, "gpu and slow"], 5),
    ]
    if asked.test:
        found.append(Piece("lidc-test", [*lidc, "--test"], resumes=True))
    return found


def run(piece: Piece, log: Path, seconds: float) -> int:
    """Run a piece for a limited number of seconds, logging its output; its exit code, or STOPPED when time is up."""
    command = [*piece.command, *(["--minutes", f"{seconds / 60:.2f}"] if piece.resumes else [])]
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)}\n")
        file.flush()
        try:  # a resumable piece ends by itself; the measurement in progress may take a while
            allowed = seconds + 30 if piece.resumes else seconds
            return subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, timeout=allowed).returncode
        except subprocess.TimeoutExpired:
            return STOPPED


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu"))
    parser.add_argument("--minutes", type=float, default=9.0, help="work for this long, then stop")
    parser.add_argument("--only", default="", help="names of pieces, separated by commas")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, help="training steps of every entry; default: the preset's")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="one setting of all entries")
    parser.add_argument("--limit", type=int, help="measure only this many cases")
    parser.add_argument("--test", action="store_true", help="also evaluate the test split when all else is done")
    asked = parser.parse_args()
    if not (asked.store / "manifest.json").is_file():
        raise SystemExit(f"No dataset store at {asked.store}: give a folder that `ambiseg preprocess` has made.")
    done = asked.output / "done"
    done.mkdir(parents=True, exist_ok=True)
    only = [name for name in asked.only.split(",") if name]
    wanted = [piece for piece in pieces(asked) if not only or piece.name in only]
    end, begun_any, failed, left = time.monotonic() + 60 * asked.minutes, False, False, False
    for piece in wanted:
        if (done / piece.name).exists():
            print(f"{piece.name}: done before", flush=True)
            continue
        seconds = end - time.monotonic()
        if begun_any and seconds < 60 * piece.minutes:
            left = True
            print(f"{piece.name}: left for the next call", flush=True)
            continue
        begun, begun_any = time.monotonic(), True
        code = run(piece, asked.output / f"{piece.name}.log", seconds)
        says = {0: "done", STOPPED: "continues with the next call"}.get(code, f"failed with exit code {code}")
        print(f"{piece.name}: {says} ({time.monotonic() - begun:.0f} s)", flush=True)
        if code == 0:
            (done / piece.name).touch()
        left, failed = left or code == STOPPED, failed or code not in (0, STOPPED)
    return STOPPED if left else 5 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
