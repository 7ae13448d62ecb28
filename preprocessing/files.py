"""Files and folders that are whole or absent: written aside, then renamed."""

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .errors import ResourceError, UsageError

FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}  # what the system says where a right is lacking


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`, of the same suffixes; on success it takes the place of `path`.

    When the block raises, the temporary file is removed and `path` is as it was. A full disk becomes a `ResourceError`.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder: name a file to write.")
    make_folder(path.parent)
    aside = path.with_name(f".writing-{path.name}")
    try:
        with disk_errors(path):
            yield aside
            os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it takes the place of `path`, whatever stood there."""
    make_folder(path.parent)
    aside, old = path.with_name(f".writing-{path.name}"), path.with_name(f".old-{path.name}")
    try:
        with disk_errors(path):
            shutil.rmtree(aside, ignore_errors=True)  # what a killed process left
            aside.mkdir()
            yield aside
            if path.exists():
                os.replace(path, old)
            os.replace(aside, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


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
