"""Commands that are killed: `python -m damage.kills`, with tests/ on the path.

The file operations of a command are counted. Then it is started once for each of them, killed by SIGKILL before that operation,
and started again. The result must be that of an uninterrupted command, and nothing else may be left. Each command runs in a
process forked from this one, which has already imported everything, so that a kill costs no more than the command.

    --only NAME        one command; --at NUMBER one operation
    --most NUMBER      at most this many operations per command, spread evenly
    --meet             instead of a kill, the command stops at the operation while a second one tries to write to the same place
"""

import argparse
import contextlib
import mmap
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ambiseg.preprocessing import files

from . import sound
from .writings import WRITINGS, Arguments, Writing, run_here, told

LEFT = re.compile(r"\.(writing|lock|old)-|\.partial(/|$)")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
LONGEST = 120.0  # seconds of one command
Tree = Mapping[str, object]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: a signal; None: it stopped itself and waits), operations, words."""

    code: int | None
    operations: int
    said: str
    process: int


class Watch:
    """Counts the file operations below a folder of this process and those that it forks; sends all of them a signal before
    the one at `at`.
    """

    def __init__(self, folder: Path, at: int, signal_: signal.Signals):
        self.folder, self.at, self.signal = os.path.realpath(folder), at, signal_
        self.shared = mmap.mmap(-1, 8)

    @property
    def count(self) -> int:
        """Operations so far."""
        return int.from_bytes(self.shared[:8], "little")

    def __call__(self, event: str, arguments: tuple) -> None:
        """An audit hook."""
        if (event == "open" and self._writes(*arguments)) or (event in CHANGES and self._ours(arguments)):
            self.step()

    def step(self) -> None:
        """One operation is about to be done."""
        count = self.count + 1
        self.shared[:8] = count.to_bytes(8, "little")
        if count == self.at:
            os.killpg(0, self.signal)

    def _writes(self, path: object, mode: object, flags: int) -> bool:
        return isinstance(path, str | bytes) and bool(flags & WRITES) and self._within(path)

    def _ours(self, arguments: tuple) -> bool:
        folders = [argument for argument in arguments[1:] if isinstance(argument, int) and argument >= 0]
        return bool(folders) or self._within(arguments[0])  # a name within an open folder is one that is being removed

    def _within(self, path: object) -> bool:
        return isinstance(path, str | bytes) and os.path.realpath(os.fsdecode(path)).startswith(self.folder)


def start(folder: Path, arguments: Arguments, at: int = 0, signal_: signal.Signals = signal.SIGKILL) -> Ended:
    """Run a command in `folder`/work in a forked process, and wait until it ended or stopped."""
    counted, log = folder / "counted", folder / "said"
    sys.stdout.flush()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        _run(folder, arguments, Watch(folder / "work", at, signal_), counted, log)
    return wait(child, folder)


def wait(child: int, folder: Path) -> Ended:
    """Wait until a process ended or stopped, with all that it started."""
    begun = time.monotonic()
    while True:
        found, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
        if found:
            break
        if time.monotonic() - begun > LONGEST:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.002)
    counted = folder / "counted"
    operations = int(counted.read_text()) if counted.is_file() else 0
    said = (folder / "said").read_text(errors="replace")
    if os.WIFSTOPPED(status):
        return Ended(None, operations, said, child)
    _gone(child)
    return Ended(os.waitstatus_to_exitcode(status), operations, said, child)


def _gone(group: int, patience: float = 10.0) -> None:
    """Wait for the processes that a killed one had started; they notice that they are alone."""
    begun = time.monotonic()
    while time.monotonic() - begun < patience:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    os.killpg(group, signal.SIGKILL)
    raise AssertionError("a killed command left processes behind")


def _run(folder: Path, arguments: Arguments, watch: Watch, counted: Path, log: Path) -> None:
    """What the forked process does; never returns."""
    from ambiseg.main import main

    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    code = 70
    try:
        os.chdir(folder / "work")
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder / "temporary")
        os.environ["AMBISEG_MODELS"] = str(folder / "work" / "models")
        exchange = files.exchange

        def counted_exchange(one: Path, other: Path) -> bool:
            watch.step()
            return exchange(one, other)

        files.exchange, files.PATIENCE = counted_exchange, 0.5
        fork = multiprocessing.get_context("fork")
        multiprocessing.get_context = lambda method=None: fork  # a process that is spawned imports all anew, uncounted
        sys.addaudithook(watch)
        try:
            main(["-q", *arguments])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        watch.folder = "/nowhere"
        counted.write_text(str(watch.count))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def tree(place: Path) -> Tree:
    """All files of a folder, or the one file that stands there."""
    if place.is_file():
        return {"": told(place)}
    files = (file for file in sorted(place.rglob("*")) if file.is_file())
    return {str(file.relative_to(place)): told(file) for file in files if not LEFT.search(str(file.relative_to(place)))}


def left(folder: Path) -> list[str]:
    """What nobody asked for."""
    hidden = [str(path.relative_to(folder)) for path in (folder / "work").rglob("*") if LEFT.search(path.name)]
    return hidden + [f"temporary {path.name[:3]}..." for path in (folder / "temporary").iterdir()]


@contextlib.contextmanager
def fresh(source: Path) -> Iterator[Path]:
    """A folder with a copy of the inputs in `work` and an empty place for temporary files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(source, folder / "work")
        (folder / "temporary").mkdir()
        yield folder


def faults(writing: Writing, most: int | None = None, at: int | None = None, *, meet: bool = False) -> Iterator[str]:
    """What is wrong after a command was cut before each of its operations, or before `most` of them, or before that `at`."""
    source = sound.kept(writing.make)
    with fresh(source) as folder:
        run_here(folder / "work", writing.arguments)  # imports what it needs, for all that are forked
    with fresh(source) as folder:
        unbroken = start(folder, writing.arguments)
        expected, rest = tree(folder / "work"), left(folder)
        new = tree(folder / "work" / writing.result)
    if not new or unbroken.code not in (0, 5) or rest:
        yield f"{writing.name}: left alone it leaves with {unbroken.code} and {rest}: {unbroken.said[-600:]}"
        return
    found: dict[str, list[int]] = {}
    for point in spread(unbroken.operations, most) if at is None else [at]:
        with fresh(source) as folder:
            for fault in (met if meet else cut)(writing, folder, point, unbroken, expected, new):
                found.setdefault(fault, []).append(point)
    for fault, points in found.items():
        yield f"{writing.name}, operations {', '.join(map(str, points))} of {unbroken.operations}: {fault}"


def cut(writing: Writing, folder: Path, point: int, unbroken: Ended, expected: Tree, new: Tree) -> Iterator[str]:
    """What is wrong after a kill before an operation, and after the same command again."""
    place = folder / "work" / writing.result
    old = tree(place)
    killed = start(folder, writing.arguments, point)
    if killed.code != -signal.SIGKILL:
        yield f"it was not killed but left with {killed.code}: {killed.said[-300:]}"
    yield from _torn(writing, place, old, new)
    with contextlib.chdir(folder / "work"):
        arguments = writing.again(writing.arguments)
    second = start(folder, arguments)
    if second.code != unbroken.code:
        yield f"the same command leaves with {second.code}: {second.said[-400:]}"
        return
    yield from _differences(expected, tree(folder / "work"))
    if rest := left(folder):
        yield f"left behind: {', '.join(rest)}"


def _torn(writing: Writing, place: Path, old: Tree, new: Tree) -> Iterator[str]:
    """What of a result is neither the old nor the new one."""
    if writing.whole and tree(place) not in (old, new):
        yield f"after the kill neither the old nor the new result stands whole, but {sorted(tree(place))[:6]}"
    if writing.steps:
        return
    for name, content in tree(place).items():
        if content not in (old.get(name), new.get(name)):
            yield f"after the kill {name} is neither the old nor the new one"


def _differences(expected: Tree, came: Tree) -> Iterator[str]:
    missing, more = sorted(expected.keys() - came.keys()), sorted(came.keys() - expected.keys())
    if missing or more:
        yield f"in the end {', '.join(missing) or 'nothing'} is missing and {', '.join(more) or 'nothing'} too many"
    if other := [name for name in expected.keys() & came.keys() if expected[name] != came[name]]:
        yield f"in the end {', '.join(sorted(other))} differ"


def met(writing: Writing, folder: Path, point: int, unbroken: Ended, expected: Tree, new: Tree) -> Iterator[str]:
    """What is wrong when a second command comes while the first stands before an operation."""
    first = start(folder, writing.arguments, point, signal.SIGSTOP)
    with contextlib.chdir(folder / "work"):
        arguments = writing.again(writing.arguments)
    second = start(folder, arguments)
    os.killpg(first.process, signal.SIGCONT)
    first = wait(first.process, folder)
    codes = (first.code, second.code)
    if unbroken.code not in codes or not all(code in (unbroken.code, 2, 3, 5) for code in codes):
        yield f"the first leaves with {first.code}, the second with {second.code}: {first.said[-300:]} {second.said[-300:]}"
        return
    yield from _differences(expected, tree(folder / "work"))
    if rest := left(folder):
        yield f"left behind: {', '.join(rest)}"


def spread(count: int, most: int | None) -> Sequence[int]:
    """The numbers from 1 to `count`, or `most` of them from first to last; of one, that in the middle."""
    if most is None or count <= most:
        return range(1, count + 1)
    if most == 1:
        return [(count + 1) // 2]
    return sorted({1 + round(number * (count - 1) / (most - 1)) for number in range(most)})


def main() -> None:
    """Cut the commands and print what is wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only")
    parser.add_argument("--at", type=int)
    parser.add_argument("--most", type=int)
    parser.add_argument("--meet", action="store_true")
    parser.add_argument("--quick", action="store_true", help="only commands that take milliseconds")
    parser.add_argument("--lanes", type=int, default=os.cpu_count(), help="processes that share the commands")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    sound.draw_nothing()
    writings = [one for one in WRITINGS if asked.only in (None, one.name) and (one.quick or not asked.quick)]
    lanes = [_lane(writings[number :: asked.lanes], asked) for number in range(asked.lanes)]
    ends = [os.waitpid(lane, 0)[1] for lane in lanes]
    raise SystemExit(any(ends))


def _lane(writings: Sequence[Writing], asked: argparse.Namespace) -> int:
    """Cut some of the commands in a forked process, which leaves with 1 where something is wrong."""
    child = os.fork()
    if child:
        return child
    wrong = True
    try:
        ends = [_tell(writing, asked) for writing in writings]
        wrong = any(ends)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if sys.exc_info()[0]:
            traceback.print_exc()
        os._exit(wrong)


def _tell(writing: Writing, asked: argparse.Namespace) -> bool:
    """Cut a command and print what is wrong, at once."""
    begun = time.monotonic()
    found = list(faults(writing, asked.most, asked.at, meet=asked.meet))
    lines = [f"{writing.name}: {len(found)} faults, {time.monotonic() - begun:.1f} s", *found]
    print("\n  ".join(lines), flush=True)
    return bool(found)


if __name__ == "__main__":
    main()
