"""Damaged files in numbers: `python -m damage --cases 10000 --seed 0`, with tests/ on the path.

Every input is created and read once while it is intact. Then forked processes damage and read it, so that a case costs
milliseconds. A case that ends its process, or takes too long, is reported and costs only itself.

    --case SEED:NUMBER    try one case again, in this process, and keep its folder
"""

import argparse
import faulthandler
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from . import sound
from .subjects import SUBJECTS
from .trials import QUICK, Verdict, damage, subject_of, truth, try_case

HANG = 20.0  # seconds of computing; a machine that does much else must not look like a hang
WAIT = 120.0  # seconds in all
ROOM = 3 * 2**30  # bytes that a case may ask for beyond what the process has


def main() -> None:
    """Try cases and write a verdict a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="formats with this in their names")
    parser.add_argument("--quick", action="store_true", help="leave out what takes longer than milliseconds")
    parser.add_argument("--lanes", type=int, default=os.cpu_count())
    parser.add_argument("--verdicts", type=Path)
    parser.add_argument("--case")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    sound.draw_nothing()
    if asked.case:
        _again(*map(int, asked.case.split(":")))
        return
    least = QUICK if asked.quick else 0
    subjects = [(number, subject_of(asked.seed, number)) for number in range(asked.cases)]
    numbers = [number for number, one in subjects if one.share >= least and asked.only in one.name]
    verdicts = _run(asked.seed, numbers, asked.lanes)
    text = "".join(one.line() for one in verdicts)
    if asked.verdicts:
        asked.verdicts.write_text(text)
    print(summary(verdicts))


def _run(seed: int, numbers: Sequence[int], lanes: int) -> list[Verdict]:
    """Cases by their numbers, spread over `lanes` processes."""
    for subject in {subject_of(seed, number) for number in numbers}:
        truth(subject)
    with tempfile.TemporaryDirectory() as folder:
        children = [_forked_lane(Path(folder, str(lane)), seed, numbers[lane::lanes]) for lane in range(lanes)]
        for child in children:
            os.waitpid(child, 0)
        lines = [line for file in Path(folder).glob("*.jsonl") for line in file.read_text().splitlines()]
    found = [Verdict(**json.loads(line)) for line in lines]
    return sorted(found, key=lambda one: int(one.case.split(":")[1]))


def _forked_lane(base: Path, seed: int, numbers: Sequence[int]) -> int:
    child = os.fork()
    if not child:
        with _leaving():
            _lane(base, seed, list(numbers))
    return child


class _leaving:
    """A forked process leaves here and runs nothing of its parent's."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None:
            sys.excepthook(kind, error, trace)  # type: ignore[arg-type]
        sys.stderr.flush()
        os._exit(error is not None)


def _lane(base: Path, seed: int, numbers: list[int]) -> None:
    """Try cases one after the other in a child; the next child goes on after one that ended it."""
    verdicts, trace = base.with_suffix(".jsonl"), base.with_suffix(".trace")
    verdicts.touch()
    while numbers:
        child = os.fork()
        if not child:
            with _leaving():
                _try_all(verdicts, trace, seed, numbers)
        _, status = os.waitpid(child, 0)
        done = {int(json.loads(line)["case"].split(":")[1]) for line in verdicts.read_text().splitlines()}
        numbers = [number for number in numbers if number not in done]
        if numbers:  # the first of them ended the child
            with verdicts.open("a") as file:
                file.write(_ended(seed, numbers.pop(0), status, trace.read_text(errors="replace")).line())


def _try_all(verdicts: Path, trace: Path, seed: int, numbers: Sequence[int]) -> None:
    room = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)  # what libraries of C++ have to say
    with trace.open("w") as said, verdicts.open("a") as file:
        faulthandler.enable(said)
        faulthandler.register(signal.SIGPROF, said, chain=True)
        for number in numbers:
            said.truncate(0)
            begun = time.monotonic()
            signal.setitimer(signal.ITIMER_PROF, HANG)
            faulthandler.dump_traceback_later(WAIT, exit=True, file=said)
            verdict = try_case(seed, number)
            faulthandler.cancel_dump_traceback_later()
            signal.setitimer(signal.ITIMER_PROF, 0)
            if os.environ.get("DAMAGE_TIMES"):
                verdict = Verdict(**{**vars(verdict), "outcome": f"{verdict.outcome} {time.monotonic() - begun:.3f} s"})
            file.write(verdict.line())
            file.flush()


def _ended(seed: int, number: int, status: int, trace: str) -> Verdict:
    """The verdict of a case that ended its process."""
    subject = subject_of(seed, number)
    with tempfile.TemporaryDirectory() as folder:
        what = damage(subject, Path(folder), random.Random(f"{seed}-{number}"))
    what = what.removeprefix(f"{folder}/")
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGPROF or "Timeout" in trace:
        fault = f"hang: over {HANG:.0f} s"
    else:
        fault = f"crash: {signal.Signals(-code).name}" if code < 0 else f"left the process with {code}"
    frames = [line.strip() for line in trace.splitlines() if "File" in line and "/damage/" not in line]
    return Verdict(f"{seed}:{number}", subject.name, what, "ended", fault, " < ".join(frames[:4]))


def summary(verdicts: Sequence[Verdict]) -> str:
    """One line per format with the counts of outcomes, then one line per fault that says how to see it again."""
    wide = max(len(one.name) for one in SUBJECTS)
    lines = [f"{'format':{wide}}    cases  refused as sound accepted   faults"]
    for subject in SUBJECTS:
        own = [one for one in verdicts if one.subject == subject.name]
        counts = Counter("fault" if one.fault else one.outcome.split()[0] for one in own)
        cells = (len(own), counts["refused"], counts["as"], counts["accepted"], counts["fault"])
        lines.append(f"{subject.name:{wide}}" + "".join(f"{cell:9}" for cell in cells))
    lines += [f"{one.case} {one.subject}, {one.damage}: {one.fault} {one.where}" for one in verdicts if one.fault]
    return "\n".join(lines)


def _again(seed: int, number: int) -> None:
    """One case in this process, its folder kept."""
    subject = subject_of(seed, number)
    folder = Path(tempfile.mkdtemp(prefix="damage-"))
    print(subject.name, damage(subject, folder, random.Random(f"{seed}-{number}")), "\nkept in", folder, flush=True)
    os.chdir(folder)
    print(subject.read())


if __name__ == "__main__":
    main()
