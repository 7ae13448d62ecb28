"""Files and folders that are whole or absent: written aside by one process at a time, then put under their name."""

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from .errors import ResourceError, UsageError

FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}  # what the system says where a right is lacking


AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux' renameat2
PATIENCE = 10.0  # seconds that a file waits for another process that writes it just now


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`, of the same suffixes; on success it takes the place of `path`.

    When the block raises, the temporary file is removed and `path` is as it was. A full disk becomes a `ResourceError`.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file to write.")
    make_folder(path.parent)
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
    make_folder(path.parent)
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
def only_writer(path: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold `path` for this process alone, as long as the block lasts; a process that dies lets go of it.

    Raises UsageError where another process holds it and does not let go within `patience` seconds. The folder of `path`
    must be there; a hidden file in it is the lock. Whoever holds `path` may hold it again.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(_beside(path, "lock"), is_singleton=True)
    try:
        lock.acquire(timeout=patience)
    except Timeout as error:
        raise UsageError(
            f"Another ambiseg is writing {path}: wait until it has finished, or choose another place with -o."
        ) from error
    try:
        yield
    finally:
        if lock.lock_counter == 1:
            Path(lock.lock_file).unlink(missing_ok=True)  # while it is held; who waits for it sees that it is gone
        lock.release()


def exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step that no kill can divide; False, with nothing done, where that cannot be."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    return rename is not None and not rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)


def _beside(path: Path, what: str) -> Path:
    """A hidden name beside the file or folder that `path` leads to."""
    place = Path(os.path.realpath(path))
    if not place.name:
        raise UsageError(f"{path} is the root of a disk: name a file or folder in it.")
    return place.with_name(f".{what}-{place.name}")


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name is being written just now, or was left by a process that was killed."""
    return name.startswith((".writing-", ".old-", ".lock-"))


def _put_back(old: Path, path: Path) -> None:
    """What stood at `path` goes back there where nothing took its place, else it is removed."""
    if not old.exists():
        return
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(old, path)


def make_folder(path: Path) -> None:
    """Make a folder and those above it where they are missing. Raises ResourceError where that cannot be."""
    try:
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # as a file of that name
        raise ResourceError(
            f"Cannot make the folder {path}, {error.strerror}: choose another place with -o."
        ) from error


def check_place(path: Path) -> None:
    """Raise a ResourceError where a folder cannot be made or written, before the work that this would lose."""
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise ResourceError(f"{there} is a file, expected a folder: choose another place with -o.")
    if not os.access(there, os.W_OK):
        raise ResourceError(f"Not allowed to write {path}: choose another place with -o.")


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusals to write (no room, no right) into a `ResourceError` that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(
                f"No room left on the disk while writing {path}: nothing half-written was kept; "
                "free some space and run the same command again."
            ) from error
        if error.errno in FORBIDDEN:
            raise ResourceError(f"Not allowed to write {path}: choose another place with -o.") from error
        raise


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
