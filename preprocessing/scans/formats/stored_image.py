"""An image as a header describes it: its voxels in a file, and where they lie in the patient."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...volumes.grid import times
from .voxel_stream import check_end, inflated, read_exactly

Encoding = Literal["raw", "packed", "text"]


@dataclass(frozen=True)
class StoredImage:
    """Voxels of the type `dtype` in the file `data`, the first axis running fastest; "packed" is gzip or zlib.

    They lie behind the byte `begin`, some `lines` and `skip` bytes, counted after unpacking; with `skip` -1 they are the
    file's last bytes. `shape` (i, j, k); `affine` [4, 4] from (i, j, k, 1) to mm in RAS.
    """

    data: Path
    encoding: Encoding
    dtype: np.dtype
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    begin: int = 0
    lines: int = 0
    skip: int = 0

    @property
    def size(self) -> int:
        """Bytes of all voxels."""
        return self.dtype.itemsize * math.prod(self.shape)

    def read(self) -> NDArray:
        """The voxels [i, j, k]. The file is read to its end, so that its checksum is proven.

        Raises EOFError, ValueError or zlib.error where it is cut short or damaged, `DataError` where it holds more.
        """
        with self.data.open("rb") as file:
            file.seek(self.begin)
            for _ in range(self.lines):
                file.readline()
            if self.encoding == "text":
                return self._numbers(file.read())
            stream = inflated(file) if self.encoding == "packed" else file
            if self.skip < 0:
                if stream.seek(-self.size, 2) < self.begin:
                    raise EOFError("the voxels would begin in the header")
            else:
                read_exactly(stream, self.skip)
            content = read_exactly(stream, self.size)
            check_end(self.data, stream)
        return np.ndarray(self.shape, self.dtype, content, order="F")

    def _numbers(self, content: bytes) -> NDArray:
        words = np.array(content.split())
        if len(words) != math.prod(self.shape):
            raise ValueError(f"{len(words)} numbers")
        return words.astype(self.dtype).reshape(self.shape, order="F")


def three_axes(name: str, sizes: list[int]) -> tuple[int, int, int]:
    """Sizes of an image's axes as (i, j, k). Raises `DataError` unless there are two or three, and others of length 1."""
    if len(sizes) < 2:
        raise DataError(f"{name} holds no image: expected two or three axes, got {times(sizes) or 'none'}.")
    if any(count > 1 for count in sizes[3:]):
        raise DataError(
            f"{name} holds several volumes ({times(sizes)}): expected one volume (X x Y x Z); "
            "save the one that is meant as a file of its own."
        )
    i, j, k = (*sizes, 1)[:3]
    return i, j, k


def several_values(name: str, count: int) -> DataError:
    """The error of an image that holds more than one value per voxel."""
    return DataError(
        f"{name} holds {count} values per voxel (colours, vectors or layers): expected one grey value per voxel; convert it to "
        "one channel."
    )


def no_distances(name: str, how: str) -> DataError:
    """The error of a volume whose header does not say how far apart its voxels lie; `how` is a line that would."""
    return DataError(
        f"The header of {name} does not say how far apart its voxels lie: expected a line as {how} (mm); add it, or export "
        "the scan again."
    )
