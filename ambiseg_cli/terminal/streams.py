"""A terminal that may close while a command writes to it: the command is to end in its own way, not where it writes next."""

import contextlib
import errno
import io
import os
import sys
from typing import Any, TextIO


def outlive_terminal() -> None:
    """From now on what is written to a terminal that was closed is dropped without an error."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and stream.isatty():
            setattr(sys, name, _outliving(stream))


def let_go(stream: TextIO) -> None:
    """Write what a stream still holds, and give the stream up where that cannot be: Python would end with a traceback."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Terminal(io.FileIO):
    """A terminal to write to; once it is gone, nothing is written."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return memoryview(data).nbytes


def _outliving(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """The same stream on a `_Terminal`."""
    stream.flush()
    raw = _Terminal(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=True)
