"""Files held against the hash that was written down for them: each once a process, as long as it does not change."""

from functools import lru_cache
from pathlib import Path

from ..files import sha256


def is_intact(path: Path, expected: str) -> bool:
    """Whether a file is there and has that SHA-256.

    A file that was asked about before is not read again while its size, its time and its place on the disk are the same.
    """
    try:
        state = path.stat()
    except OSError:
        return False
    return path.is_file() and _hash(path.absolute(), state.st_size, state.st_mtime_ns, state.st_ino) == expected


@lru_cache(maxsize=65536)
def _hash(path: Path, size: int, time: int, inode: int) -> str:
    return sha256(path)
