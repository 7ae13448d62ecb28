"""Every error that a user can cause: one sentence of what was expected, what came and what to do.

The command line catches `AmbisegError` alone and leaves with its `exit_code`; anything else is a bug of ours.
"""


class AmbisegError(Exception):
    """Base of all errors meant for the user: a sentence, and in few cases `lines` below it, as of a table."""

    exit_code = 1

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class UsageError(AmbisegError):
    """An unknown method, option or value."""

    exit_code = 2


class InputError(AmbisegError):
    """The input named does not exist, or holds nothing that can be used."""

    exit_code = 3


class NothingFound(InputError):
    """The input can be used, but what is looked for is not in it, or the user names no place in it."""


class DataError(AmbisegError):
    """A file is corrupt, of another format, or its geometry cannot be used."""

    exit_code = 4


class PartialError(AmbisegError):
    """Some cases failed; the others are done."""

    exit_code = 5


class Interrupted(AmbisegError):
    """The user stopped the work; the message says what is kept and how to go on."""

    exit_code = 130


class ResourceError(AmbisegError):
    """The machine lacks something: a device, memory, room on the disk."""

    exit_code = 6
