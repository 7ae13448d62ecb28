"""A zip unpacked for as long as it is read, without trust in what it says of itself."""

import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tokenize import TokenError

from .errors import DataError, InputError, ResourceError
from .files import disk_errors, scratch_folder
from .names import is_hidden

MAX_BYTES = 20 * 10**9  # unpacked
MAX_FILES = 100_000
MAX_INDEX = 15 * 10**6  # bytes of the list of entries, which is read as a whole
MAX_RATIO = 200  # of what is unpacked to what is packed; a scan has 2 to 10
SMALL = 100 * 10**6  # bytes that may be packed as tightly as they like
END, END_64 = b"PK\x05\x06", b"PK\x06\x06"  # how the last record of a zip begins, and of a large one the record before
# What reading a damaged zip raises, and a damaged array of numpy, in a zip or not: headers are read as Python's literals.
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, LookupError, NotImplementedError, RuntimeError, ValueError, OSError)
BROKEN_ARRAY = (*BROKEN, SyntaxError, TokenError, TypeError, ArithmeticError)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A temporary folder with a zip's files, without the system's own; it is removed when the block ends.

    Nothing is unpacked outside it. Raises `InputError` when there is no such file, `DataError` when it is no zip,
    damaged, encrypted, larger than 20 GB unpacked, packed more tightly than a scan can be, or holds links or paths that
    lead elsewhere, and `ResourceError` when the disk has no room.
    """
    if not path.is_file():
        raise InputError(f"No file {path}: expected a zip with one scan; check the path.")
    with scratch_folder() as folder:
        with _open(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check(path, entries)
            _check_room(path, entries, folder)
            for entry in entries:
                if not any(is_hidden(Path(part)) for part in _place(entry).parts):
                    _unpack(path, archive, entry, folder)
        yield folder


@contextmanager
def _open(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        _check_index(path)
        archive = zipfile.ZipFile(path)
    except PermissionError as error:
        raise ResourceError(f"Not allowed to read {path}: change its permissions or copy it.") from error
    except BROKEN as error:
        raise DataError(_broken(path)) from error
    with archive:
        yield archive


def _check_index(path: Path) -> None:
    """Refuse a list of entries that would take long to read, by what the end of the file says of it."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - (1 << 16) - 22))
        tail = file.read()
    end = tail[tail.rfind(END) :]
    if len(end) < 22 or not end.startswith(END):
        return  # `zipfile` says that it is none
    (length,) = struct.unpack("<I", end[12:16])
    if length == 0xFFFFFFFF and (at := tail.rfind(END_64)) >= 0:
        (length,) = struct.unpack("<Q", tail[at + 40 : at + 48].ljust(8, b"\xff"))
    if length > MAX_INDEX:
        raise DataError(
            f"{path.name} has a list of files of {length / 1e6:,.1f} MB: expected one of at most {MAX_FILES:,} files, of "
            f"{MAX_INDEX // 10**6} MB; unpack it yourself and give the folder."
        )


def _broken(path: Path) -> str:
    return f"{path.name} is not a whole zip (wrong format, or cut short or damaged): copy or pack it again."


def _place(entry: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(entry.filename.replace("\\", "/"))


def _check(path: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    places = [_place(entry) for entry in entries]
    total, packed = sum(entry.file_size for entry in entries), path.stat().st_size
    if sum(entry.compress_size for entry in entries) > packed:
        raise DataError(_broken(path))  # entries share their bytes
    if len(entries) > MAX_FILES or total > MAX_BYTES:
        raise DataError(
            f"{path.name} holds {len(entries):,} files of {total / 1e9:,.1f} GB unpacked: expected at most {MAX_FILES:,} "
            f"and {MAX_BYTES // 10**9} GB; unpack it yourself and give the folder."
        )
    if total > max(SMALL, MAX_RATIO * packed):
        raise DataError(
            f"{path.name} holds {total / 1e9:,.1f} GB in {packed / 1e6:,.1f} MB: expected at most {MAX_RATIO} times as much "
            "unpacked, no scan is packed more tightly; unpack it yourself and give the folder."
        )
    if any(place.is_absolute() or ".." in place.parts or not place.parts or ":" in place.parts[0] for place in places):
        raise DataError(f"{path.name} holds paths that lead out of it: it was not unpacked; pack it again.")
    if any(stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG) for entry in entries):
        raise DataError(f"{path.name} holds links or devices: it was not unpacked; pack the files themselves.")
    if any(entry.flag_bits & 1 for entry in entries):
        raise DataError(f"{path.name} is encrypted: unpack it yourself and give the folder.")
    if len({str(place).casefold() for place in places}) < len(places):
        raise DataError(f"{path.name} holds two files of one name: it was not unpacked; pack it again.")


def _check_room(path: Path, entries: Sequence[zipfile.ZipInfo], folder: Path) -> None:
    needed, free = sum(entry.file_size for entry in entries), shutil.disk_usage(folder).free
    if needed > free:
        raise ResourceError(
            f"{path.name} needs {needed / 1e9:,.1f} GB in {folder.parent} and {free / 1e9:,.1f} are free: make room there, "
            "or set TMPDIR to another folder."
        )


def _unpack(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    """Write one entry; a stream longer than the entry says is cut there by `zipfile`, and then fails its checksum."""
    target = folder / _place(entry)
    try:
        with disk_errors(folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("xb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
    except BROKEN as error:
        raise DataError(_broken(path)) from error
