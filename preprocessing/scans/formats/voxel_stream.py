"""The bytes of voxels in a file, plain or packed by gzip or zlib, read to their end so that every checksum is proven.

Most readers stop at the last voxel and never reach the checksum behind it; a damaged block is then taken for an image.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ...errors import DataError, ResourceError

GZIP = b"\x1f\x8b"
CHUNK = 1 << 20
PADDING = 1 << 20  # bytes of zeros that may follow the last voxel; some programs fill up their blocks
BROKEN = (OSError, EOFError, ValueError, OverflowError, zlib.error)  # what readers raise on damaged bytes


@contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """Turn the errors that damaged bytes cause into a `DataError` that says of which `kind` (NIfTI, ...) the file should be."""
    try:
        yield
    except PermissionError as error:
        raise ResourceError(f"Not allowed to read {path}: change its permissions or copy it.") from error
    except BROKEN as error:
        raise DataError(_wrong_checksum(path, error) or broken(path, kind)) from error


def broken(path: Path, kind: str) -> str:
    """The sentence on a file that is no whole one of its kind."""
    return f"{path.name} is not a whole {kind} file (wrong format, or cut short or damaged): copy or export it again."


def _wrong_checksum(path: Path, error: Exception) -> str | None:
    words = str(error)
    if "CRC check" in words or "Incorrect length" in words or "incorrect data check" in words:
        return f"{path.name} is damaged, its checksum does not fit its content: copy or export it again."
    return None


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file as its bytes say, whatever its name: unpacked where it begins as gzip does, else as it is."""
    with path.open("rb") as file:
        packed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        yield gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[misc]


def inflated(file: BinaryIO) -> BinaryIO:
    """The content of a file from here on, unpacked: gzip (of any number of members), or one block of zlib."""
    start = file.tell()
    begin = file.read(len(GZIP))
    file.seek(start)
    if begin == GZIP:
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    return io.BufferedReader(_Zlib(file), CHUNK)


class _Zlib(io.RawIOBase):
    """One block of zlib; its end is reached only where its checksum is right and nothing but zeros follows."""

    def __init__(self, file: BinaryIO):
        self._file, self._unpacker = file, zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail or self._file.read(CHUNK)
            found = self._unpacker.decompress(packed, len(buffer))
            if found:
                buffer[: len(found)] = found
                return len(found)
            if not packed and not self._unpacker.eof:
                raise EOFError("the block is cut short")
        if self._unpacker.unused_data.strip(b"\0") or self._file.read(PADDING).strip(b"\0"):
            raise ValueError("something follows the block")
        return 0


def read_exactly(stream: BinaryIO, count: int) -> bytearray:
    """The next `count` bytes. Raises EOFError where there are fewer."""
    content = bytearray(count)
    view, done = memoryview(content), 0
    while done < count:
        found = stream.readinto(view[done : done + CHUNK])  # type: ignore[attr-defined]
        if not found:
            raise EOFError(f"{done} bytes of {count}")
        done += found
    return content


def check_end(path: Path, stream: BinaryIO) -> None:
    """Read on after the last voxel, and with it the checksum. Raises `DataError` where more than padding follows."""
    rest = 0
    while content := stream.read(CHUNK):
        rest += len(content)
        if rest > PADDING or content.strip(b"\0"):
            raise DataError(
                f"{path.name} holds more bytes than its header says: it is damaged, or its header is that of another scan; "
                "copy or export it again."
            )
