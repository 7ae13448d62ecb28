"""A file packed by gzip (RFC 1952), written fast where long runs of bytes are zero: a mask of a whole scan is little else.

A piece of zeros is packed once for all that are as long. Its packed bytes (RFC 1951) end on a byte and refer to nothing before
them, so that they may be put anywhere where what comes before was flushed in full. The rest is packed as usual.
"""

import io
import struct
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

LEVEL = 1  # of zlib: masks are packed no smaller by higher ones
LEAST = 4096  # zeros in one piece that are worth a flush
HEADER = b"\x1f\x8b\x08\x00" + bytes(4) + b"\x04\xff"  # no time, no name, fastest algorithm, unknown system


class GzipOfZeros(io.RawIOBase):
    """What is written to it is packed into `file`, which is whole once this is closed, and stays open itself.

    Example:
        >>> import gzip
        >>> file = io.BytesIO()
        >>> with GzipOfZeros(file) as packed:
        ...     written = packed.write(bytes(10**6) + b"lesion") + packed.write(bytes(10**6))
        >>> written, gzip.decompress(file.getvalue()).strip(bytes(1)), len(file.getvalue()) < 10_000
        (2000006, b'lesion', True)
    """

    def __init__(self, file: BinaryIO):
        super().__init__()
        self._file, self._crc, self._length = file, 0, 0
        self._packer = zlib.compressobj(LEVEL, wbits=-zlib.MAX_WBITS)
        self._file.write(HEADER)

    def writable(self) -> bool:
        """It is made for that alone."""
        return True

    def write(self, data: "Buffer") -> int:
        """Pack some more bytes; a piece of nothing but zeros costs next to nothing. Returns their number."""
        piece = bytes(data)
        self._crc, self._length = zlib.crc32(piece, self._crc), self._length + len(piece)
        if len(piece) >= LEAST and piece == bytes(len(piece)):
            self._file.write(self._packer.flush(zlib.Z_FULL_FLUSH) + _packed_zeros(len(piece)))
        else:
            self._file.write(self._packer.compress(piece))
        return len(piece)

    def tell(self) -> int:
        """How many bytes were written, before they were packed."""
        return self._length

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Forward to a place from the beginning, over zeros; what is packed already cannot be gone back to."""
        if whence != io.SEEK_SET or offset < self._length:
            raise io.UnsupportedOperation("seek back")
        self.write(bytes(offset - self._length))
        return offset

    def close(self) -> None:
        """Write what ends the file: the rest, the checksum and the length."""
        if not self.closed:
            self._file.write(self._packer.flush() + struct.pack("<2I", self._crc, self._length % 2**32))
        super().close()


@lru_cache(maxsize=8)
def _packed_zeros(count: int) -> bytes:
    """So many zeros, packed, up to the end of a byte."""
    packer = zlib.compressobj(LEVEL, wbits=-zlib.MAX_WBITS)
    return packer.compress(bytes(count)) + packer.flush(zlib.Z_FULL_FLUSH)
