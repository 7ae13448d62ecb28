"""Shortages of the machine (room, memory, a right, open files, processes), recognised whichever library reports them.

The system's own errors carry a number. Libraries often drop it: numpy says "10000 requested and 2032 written", torch
"unexpected pos 576 vs 534", a linked library "failed to map segment". So an error's words are read too, where its type and
words together can mean nothing else. An error that was turned into another one is found along the chain of causes.
"""

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import ResourceError


@dataclass(frozen=True)
class Shortage:
    """A shortage and its remedy: two halves of a sentence, and between them `place`, with a file's path where it is known.
    `place` is empty where no file is concerned.
    """

    what: str
    remedy: str
    place: str = ""

    def error(self, path: object = None) -> ResourceError:
        """The whole sentence as an error."""
        place = self.place.format(path) if path is not None else ""
        return ResourceError(f"{self.what}{place}: {self.remedy}.")


WRITING, AGAIN = " while writing {}", "run the same command again"
KEPT = "what was finished before is kept and nothing half-written"
RIGHT = Shortage("Not allowed to use", "change its permissions, or name another file or folder", " {}")
ROOM = Shortage(
    "No room left on the disk",
    f"{KEPT}; free some space and {AGAIN}",
    WRITING,
)
SIZE = Shortage(
    "The system's limit on the size of a file is reached",
    f"{KEPT}; raise it (ulimit -f) and {AGAIN}",
    WRITING,
)
UNWRITTEN = Shortage(
    "No room left on the disk, or a limit on the size of files is reached",
    f"{KEPT}; make room and {AGAIN}",
    WRITING,
)
DEVICE = Shortage("The disk or network folder fails", "copy what is needed to another one, and work there", " at {}")
NAME = Shortage("The system refuses to use", "choose a shorter name, or one without links that lead in a circle", " {}")
HANDLES = Shortage("Too many files are open at once", "raise the limit (ulimit -n), or use fewer `workers`")
MEMORY = Shortage(
    "Out of memory",
    "use a smaller batch, crop or scan, fewer `draws` or `workers`, or a machine or device that has more",
)
PROCESSES = Shortage(
    "No more processes or threads can be started", "set `workers` to 1, or raise the limit (ulimit -u)"
)

NUMBERS = {
    errno.EACCES: RIGHT,
    errno.EPERM: RIGHT,
    errno.EROFS: RIGHT,
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EFBIG: SIZE,
    errno.EIO: DEVICE,
    errno.ENXIO: DEVICE,
    errno.ENODEV: DEVICE,
    errno.ESTALE: DEVICE,
    errno.ETIMEDOUT: DEVICE,
    errno.ENAMETOOLONG: NAME,
    errno.ELOOP: NAME,
    errno.EMFILE: HANDLES,
    errno.ENFILE: HANDLES,
    errno.ENOMEM: MEMORY,
}
WORDS = {
    r"(can't|cannot|failed to) allocate memory|bad.alloc|out of memory|Error -4 while": MEMORY,
    r"failed to map segment|_ALLOC_FAILED|could not create a (primitive|memory)|insufficient memory": MEMORY,
    r"no space left on device|disk quota exceeded": ROOM,
    r"file too large": SIZE,
    r"^\d+ requested and -?\d+ written$|unexpected pos \d+ vs \d+|PytorchStreamWriter failed": UNWRITTEN,
    r"iostream error|encoder error -2 when writing": UNWRITTEN,
    r"too many open files": HANDLES,
    r"can't start new thread|resource temporarily unavailable": PROCESSES,
}
# Kinds of errors whose words are read; zlib's is an "error".
SPEAKING = {"OSError", "RuntimeError", "ImportError", "SystemError", "SafetensorError", "error"}


def shortage(error: BaseException) -> Shortage | None:
    """The shortage that caused an error; None for errors of other causes.

    >>> shortage(OSError(28, "No space left on device")).what
    'No room left on the disk'
    >>> shortage(OSError("10000 requested and 2032 written")) is UNWRITTEN
    True
    >>> shortage(ValueError("out of memory")) is None
    True
    """
    return next(_found(error), (None, None))[0]


def named(error: BaseException) -> ResourceError | None:
    """An error that a shortage caused as the sentence for the user, with the file that the system named; None for others."""
    if isinstance(error, ResourceError):
        return error
    found, cause = next(_found(error), (None, None))
    if found is None:
        return None
    file = getattr(cause, "filename", None)
    return found.error(f"{file} ({cause.strerror})" if isinstance(cause, OSError) and file is not None else None)


def _found(error: BaseException) -> Iterator[tuple[Shortage, BaseException]]:
    """The shortages in the chain of an error's causes, the last one first."""
    for cause in _chain(error):
        lacking = _own(cause)
        if lacking is not None:
            yield lacking, cause


def _own(error: BaseException) -> Shortage | None:
    """The shortage that an error speaks of itself."""
    if isinstance(error, MemoryError):
        return MEMORY
    if isinstance(error, OSError) and error.errno in NUMBERS:
        return NUMBERS[error.errno]
    if not SPEAKING & {kind.__name__ for kind in type(error).__mro__}:
        return None
    return next((found for words, found in WORDS.items() if re.search(words, str(error), re.IGNORECASE)), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
