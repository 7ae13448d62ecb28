"""Files and folders that are whole or absent: written aside, then renamed."""

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .errors import ResourceError


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`, of the same suffixes; on success it takes the place of `path`.

    When the block raises, the temporary file is removed and `path` is as it was. A full disk becomes a `ResourceError`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
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
    path.parent.mkdir(parents=True, exist_ok=True)
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
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ResourceError(f"Not allowed to write {path}: choose another place with -o.") from error
        raise


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
