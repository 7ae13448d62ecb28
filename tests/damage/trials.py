"""One trial: an intact input, one of its files damaged by a seed and a number, read as the commands read it, and judged."""

import contextlib
import json
import os
import random
import re
import shutil
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ambiseg
from ambiseg.preprocessing.errors import AmbisegError

from . import sound
from .subjects import SUBJECTS, CommandFailed, Implausible, Subject

ROOT = Path(ambiseg.__file__).parents[1]
CODES = range(2, 7)  # exit codes that say what is wrong with the input
QUICK = 0.3  # the share of subjects that take no longer than milliseconds
LARGE = 1_000_000  # bytes; such files are linked where others are copied
LONGEST = 3000  # characters of a message
FRAME = re.compile(r'File "([^"]+)", line (\d+)')
OURS = ("preprocessing", "models", "ambiseg_cli")
LEFT = re.compile(r"\.(writing|lock|old)-")


@dataclass(frozen=True)
class Verdict:
    """How a trial went: `fault` is empty where it went as it should; `how` and `where` say more of it."""

    case: str
    subject: str
    damage: str
    outcome: str
    fault: str = ""
    where: str = ""

    def line(self) -> str:
        """The verdict as a line of JSON."""
        return json.dumps(asdict(self)) + "\n"


def subject_of(seed: int, number: int) -> Subject:
    """Each subject once, what takes long last, then by their shares."""
    if number < len(SUBJECTS):
        return sorted(SUBJECTS, key=lambda one: one.share < QUICK)[number]
    return random.Random(f"{seed}-{number}-subject").choices(SUBJECTS, [one.share for one in SUBJECTS])[0]


def try_case(seed: int, number: int) -> Verdict:
    """Damage and read in a folder of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder, _alone(Path(folder)):
        subject = subject_of(seed, number)
        what = damage(subject, Path(), random.Random(f"{seed}-{number}"))
        outcome, fault, where = _judge(subject)
        fault = fault or _left(subject)
    return Verdict(f"{seed}:{number}", subject.name, what, outcome, fault, where)


def damage(subject: Subject, folder: Path, rng: random.Random) -> str:
    """Copy the sound input into a folder and damage one file of it; returns which and how."""
    _copy(sound.kept(subject.make), folder)
    file = rng.choice(sorted(file for file in folder.glob(subject.file) if file.is_file()))
    content = file.read_bytes()
    changed, what = rng.choice(subject.kinds)(content, rng)
    file.unlink()  # a link to the sound file, perhaps
    file.write_bytes(changed)
    return f"{file}: {what}"


def _copy(source: Path, target: Path) -> None:
    def copied(one: str, other: str) -> str:
        (os.link if os.path.getsize(one) > LARGE else shutil.copyfile)(one, other)
        return other

    shutil.copytree(source, target, copy_function=copied, dirs_exist_ok=True)


@cache
def truth(subject: Subject) -> Any:
    """What is understood of the sound input."""
    sound.kept(subject.make)
    with tempfile.TemporaryDirectory() as folder, _alone(Path(folder)):
        _copy(sound.kept(subject.make), Path())
        return subject.read()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Work in a folder, with an empty place for temporary files beside it."""
    work, temporary, before = folder / "work", folder / "temporary", tempfile.tempdir
    work.mkdir()
    temporary.mkdir()
    tempfile.tempdir = str(temporary)
    try:
        with contextlib.chdir(work):
            yield
    finally:
        tempfile.tempdir = before


def _judge(subject: Subject) -> tuple[str, str, str]:
    """Outcome, fault and where, of reading what lies in the working folder."""
    expected = truth(subject)
    try:
        came = subject.read()
    except AmbisegError as error:
        return f"refused ({error.exit_code}): {str(error)[:300]}", _wrong_words(error), ""
    except CommandFailed as error:
        return "failed", _last_line(str(error)), _where([(m[1], int(m[2])) for m in FRAME.finditer(str(error))])
    except Implausible as error:
        return "accepted", f"accepted what cannot be meant: {error}", ""
    except Exception as error:
        frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
        return "failed", f"{type(error).__name__}: {str(error)[:300]}", _where(frames)
    if repr(came) == repr(expected):
        return "as sound", "", ""
    return "accepted", "accepted with other content, against its checksum" if subject.sealed else "", ""


def _wrong_words(error: AmbisegError) -> str:
    """What is wrong with an error meant for users; empty where nothing is."""
    text = str(error)
    if error.exit_code not in CODES:
        return f"exit code {error.exit_code}: {text[:300]}"
    if not text or len(text) > LONGEST or "Traceback" in text or not text[-1:].isprintable():
        return f"no sentence for a user: {text[:300]!r}"
    return ""


def _left(subject: Subject) -> str:
    """What a reader left behind that nobody asked for; empty where nothing is."""
    hidden = [path.name for path in Path().rglob(".*") if LEFT.match(path.name)]
    temporary = [path.name for path in Path("../temporary").iterdir()]
    return f"left behind: {', '.join(hidden + temporary)}" if hidden + temporary else ""


def _where(frames: Sequence[tuple[str, int]]) -> str:
    """The innermost line of ours."""
    ours = [(Path(name), line) for name, line in frames if Path(name).is_relative_to(ROOT)]
    inner = [(name.relative_to(ROOT), line) for name, line in ours if name.relative_to(ROOT).parts[0] in OURS]
    return f"{inner[-1][0]}:{inner[-1][1]}" if inner else ""


def _last_line(text: str) -> str:
    found = [line for line in text.splitlines() if "Unexpected error" in line or "bug in ambiseg" in line]
    return (found or text.splitlines() or ["left without a word"])[0][:300]
