"""IDX files, the format in which MNIST is distributed (yann.lecun.com/exdb/mnist).

A file begins with two zero bytes, the code of its numbers' type and the number n of its axes; then come n big-endian
32-bit lengths and the numbers themselves, the last axis running fastest. Only unsigned bytes (code 8) are read here.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...names import GZIP, has_suffix

UNSIGNED_BYTES = 8


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes, also of one compressed by gzip (named `*.gz`).

    Raises `DataError` when the file is of another format, holds other numbers, or has more or fewer than it says.
    """
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(f"{path} does not begin as an IDX file does: expected MNIST's files as they are distributed.")
    kind, axes = content[2], content[3]
    if kind != UNSIGNED_BYTES:
        raise DataError(
            f"{path} holds numbers of the IDX type {kind}: expected unsigned bytes (type {UNSIGNED_BYTES})."
        )
    begin = 4 + 4 * axes
    if len(content) < begin:
        raise DataError(f"{path} is cut off within its header: get it again.")
    shape = struct.unpack(f">{axes}I", content[4:begin])
    whole = begin + math.prod(shape)
    if len(content) != whole:
        raise DataError(f"{path} has {len(content)} bytes where its header says {whole}: it is damaged, get it again.")
    return np.frombuffer(content, np.uint8, offset=begin).reshape(shape)


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if not has_suffix(path, GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file: it is damaged, get it again.") from error
