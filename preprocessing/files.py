"""Files and folders that are whole or absent: one process at a time writes them aside, then moves them to their name."""

import contextlib
import ctypes
import hashlib
import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Container, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import AmbisegError, BeingWritten, ResourceError, UsageError
from .shortages import DEVICE, NAME, RIGHT, ROOM, SIZE, UNWRITTEN, shortage

if TYPE_CHECKING:
    from filelock import FileLock

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux' renameat2
SCRATCH = "ambiseg-"  # how the names of temporary folders begin
SIGNATURE = re.compile(r"(\d+) (\S{1,255}) (\S{1,40})\n")  # of a lock: process, machine, time
PATIENCE = 10.0  # seconds that a file waits for another process that writes it just now


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`, of the same suffixes; on success it takes the place of `path`.

    When the block raises, the temporary file is removed and `path` is as it was. A full disk becomes a `ResourceError`.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file to write.")
    aside = _beside(path, "writing")
    with disk_errors(path), only_writer(path, PATIENCE):
        try:
            yield aside
            os.replace(aside, os.path.realpath(path))
        finally:
            aside.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it takes the place of `path`, whatever stood there.

    One whole folder stands under its name at any moment, or is put back by the next call. Raises UsageError while another
    process writes the same folder.
    """
    aside, old, place = _beside(path, "writing"), _beside(path, "old"), Path(os.path.realpath(path))
    with disk_errors(path), only_writer(path):
        try:
            _put_back(old, place)  # what a killed process left
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            yield aside
            if not (place.exists() and exchange(aside, place)):
                if place.exists():
                    os.replace(place, old)
                os.replace(aside, place)
        finally:
            _put_back(old, place)
            shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def only_writer(
    path: Path, patience: float = 0.0, *, what: str = "", remedy: str = "choose another `output`"
) -> Iterator[None]:
    """Hold `path` for this process alone, as long as the block lasts; a process that dies lets go of it.

    A hidden file in the folder of `path`, which is made, is the lock; it says which process holds it. A process that holds
    `path` may hold it again.

    Args:
        path: What is written.
        patience: How long to wait for another process, in seconds.
        what: How a message calls it; by default by its path.
        remedy: What else the user of the second process can do, the end of a sentence.

    Raises:
        BeingWritten: Another process holds it and does not let go in time; the message says since when.
    """
    from filelock import Timeout

    lock = _lock(path)
    with _folder_for(path):
        try:
            lock.acquire(timeout=patience)
        except Timeout as error:
            whose = f"{what or path}{_since(Path(lock.lock_file))}"
            raise BeingWritten(
                f"Another process is writing {whose}: wait until it has finished, or {remedy}."
            ) from error
        try:
            if not patience and lock.lock_counter == 1:
                _sign(Path(lock.lock_file))
            yield
        finally:
            if lock.lock_counter == 1:
                Path(lock.lock_file).unlink(missing_ok=True)  # while it is held; who waits for it sees that it is gone
            lock.release()


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield an empty temporary folder that goes with the block; what killed processes left of theirs goes first.

    The system's variable for the place is TMPDIR.
    """
    root = Path(tempfile.gettempdir())
    for lock in root.glob(f".lock-{SCRATCH}*"):
        _clear_left(root / lock.name.removeprefix(".lock-"))
    folder = root / f"{SCRATCH}{secrets.token_hex(8)}"
    with disk_errors(folder), only_writer(folder):
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def clear_leftovers(folder: Path, names: Container[str] | None = None) -> None:
    """Remove from a folder what killed processes were writing there, and their locks; put back what they were replacing.

    names: of the files and folders that may have been written; None: all.
    """
    for name in {left.name.split("-", 1)[1] for left in folder.glob(".*-*") if is_leftover(left.name)}:
        if names is None or name in names:
            _clear_left(folder / name)


def _clear_left(path: Path) -> None:
    """Remove what a killed process left of `path`; nothing where a process still writes it, or where it is another user's."""
    if _lock(path).is_locked:  # by this process, which could hold it again
        return
    aside, old = _beside(path, "writing"), _beside(path, "old")
    with contextlib.suppress(UsageError, OSError), only_writer(path):
        _put_back(old, path)
        for left in (aside, *[path] * path.name.startswith(SCRATCH)):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step that no kill can divide; False, with nothing done, where that cannot be."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    return rename is not None and not rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)


def _lock(path: Path) -> "FileLock":
    """The lock of `path`, one for all of this process."""
    from filelock import FileLock

    return FileLock(_beside(path, "lock"), is_singleton=True)


def _sign(lock: Path) -> None:
    """Write into a lock that is held which process holds it, and since when."""
    with contextlib.suppress(OSError):  # where a lock cannot be written while it is held; a full disk shows elsewhere
        lock.write_text(
            f"{os.getpid()} {platform.node()} {datetime.now().astimezone().isoformat()}\n", encoding="utf-8"
        )


def _since(lock: Path) -> str:
    """Since when a lock is held, and by which process, as far as it says so."""
    try:
        signed = SIGNATURE.fullmatch(lock.read_text("utf-8"))
        if signed is None:
            return ""
        number, node, when = signed.groups()
        return f", since {datetime.fromisoformat(when):%Y-%m-%d %H:%M:%S} (process {number} on {node})"
    except (OSError, ValueError):  # it is gone, or cannot be read
        return ""


def _beside(path: Path, what: str) -> Path:
    """A hidden name beside the file or folder that `path` leads to."""
    place = Path(os.path.realpath(path))
    if not place.name:
        raise UsageError(f"{path} is the root of a disk: name a file or folder in it.")
    return place.with_name(f".{what}-{place.name}")


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name is being written just now, or was left by a process that was killed."""
    return name.startswith((".writing-", ".old-", ".lock-"))


def is_free(path: Path) -> bool:
    """Whether nothing stands at `path`, or a folder with no more in it than what a killed process had begun to write."""
    if not path.is_dir():
        return not path.exists()
    return all(is_leftover(each.name) for each in path.iterdir())


def _put_back(old: Path, path: Path) -> None:
    """What stood at `path` goes back there where nothing took its place, else it is removed."""
    if not old.exists():
        return
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(old, path)


@contextlib.contextmanager
def _folder_for(path: Path) -> Iterator[None]:
    """Make the folder that `path` is to lie in; when the block raises, the folders that were made go again, if still empty."""
    with disk_errors(path):
        missing = [place for place in path.parents if not place.exists()]
    make_folder(path.parent)
    try:
        yield
    except BaseException:
        for place in missing:
            with contextlib.suppress(OSError):
                place.rmdir()
        raise


def make_folder(path: Path) -> None:
    """Make a folder and those above it where they are missing. Raises ResourceError where that cannot be."""
    try:
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # as a file of that name
        raise ResourceError(f"Cannot make the folder {path}, {error.strerror}: choose another `output`.") from error


def check_place(path: Path) -> None:
    """Raise a ResourceError where a folder cannot be made or written, before the work that this would lose."""
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise ResourceError(f"{there} is a file, expected a folder: choose another `output`.")
    if not os.access(there, os.W_OK):
        raise ResourceError(f"Not allowed to write {path}: choose another `output`.")


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the errors of the system or a library when `path` cannot be written (no room, no right) into a `ResourceError` that
    names it. An error about another file is left as it is.
    """
    try:
        yield
    except AmbisegError:
        raise
    except Exception as error:
        lacking = shortage(error)
        if lacking not in (ROOM, SIZE, UNWRITTEN, RIGHT, DEVICE, NAME) or not _concerns(error, path):
            raise
        if lacking is RIGHT:
            raise ResourceError(f"Not allowed to write {path}: choose another `output`.") from error
        raise lacking.error(path) from error


def _concerns(error: Exception, path: Path) -> bool:
    """Whether an error speaks of `path`, of something in it, aside of it or above it, or of no file that it names."""
    named = getattr(error, "filename", None)
    if not isinstance(named, str | bytes):
        return True
    file, place = Path(os.path.realpath(os.fsdecode(named))), Path(os.path.realpath(path))
    ours = (place, *(_beside(path, what) for what in ("writing", "old", "lock")))
    return place.is_relative_to(file) or any(file.is_relative_to(one) for one in ours)


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
