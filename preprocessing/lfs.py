"""Git LFS pointers: small text files that a clone without LFS has in place of the files themselves."""

from pathlib import Path

from .errors import InputError

BEGINNING = b"version https://git-lfs.github.com/spec/v1"
LARGEST = 1024  # bytes, by the specification


def is_pointer(path: Path) -> bool:
    """Whether a file is the pointer to another; False where it cannot be read."""
    try:
        if path.stat().st_size > LARGEST:
            return False
        with path.open("rb") as file:
            return file.read(len(BEGINNING)) == BEGINNING
    except OSError:
        return False


def check_no_pointer(path: Path) -> None:
    """Raise an `InputError` where a file is only a pointer to the file that is meant."""
    if path.is_file() and is_pointer(path):
        raise InputError(f"{path.name} is a Git LFS pointer, not the file itself: run `git lfs pull` where it lies.")


def pointers_among(name: str, pointers: int, files: int) -> InputError:
    """The error of a folder in which some of the files are pointers."""
    which = "is a Git LFS pointer" if pointers == 1 else "are Git LFS pointers"
    return InputError(f"{pointers:,} of {files:,} files in {name} {which}: run `git lfs pull` there.")
