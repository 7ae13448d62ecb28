"""Every error that a user can cause: one sentence that says what was expected, what was got and what to do.

The command line catches `AmbisegError` alone and leaves with its `exit_code`. Any other exception is a bug of ambiseg.
"""


class AmbisegError(Exception):
    """Base of all errors that are meant for the user.

    Attributes:
        lines: The sentence, and in few cases further lines below it, such as the rows of a table.
        exit_code: The status with which the command line leaves.

    Example:
        >>> try:
        ...     raise DataError("scan.nii is cut short: copy it again.")
        ... except AmbisegError as error:
        ...     print(error, error.exit_code)
        scan.nii is cut short: copy it again. 4
    """

    exit_code = 1

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class UsageError(AmbisegError):
    """An unknown method, option or value."""

    exit_code = 2


class BeingWritten(UsageError):
    """Another process writes the same file or folder."""


class InputError(AmbisegError):
    """The input does not exist, or holds nothing that can be used."""

    exit_code = 3


class NothingFound(InputError):
    """The input can be used, but nothing was found in it, or no place in it was given."""


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
