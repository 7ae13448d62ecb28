"""A terminal may close while a command writes to it. The command should then end in its own way, not where it writes next."""

import contextlib
import errno
import io
import os
import sys
from typing import Any, TextIO


def outlive_terminal() -> None:
    """From now on, drop what is written to a closed terminal, without an error."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and stream.isatty():
            setattr(sys, name, _outliving(stream))


def let_go(stream: TextIO) -> None:
    """Write what a stream still holds. If that fails, give up the stream, since Python would end with a traceback."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Terminal(io.FileIO):
    """A terminal to write to. Once it is gone, nothing is written."""

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
