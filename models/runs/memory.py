"""The C library's memory on a CPU: what a training step frees, the next one needs again.

By default glibc gives every block of a few megabytes back to the system when a tensor is freed, and the system hands out
zeroed pages when the next one is made: up to a quarter of a step (docs/decisions/0010-memory-on-a-cpu.md).
"""

import ctypes
import platform
from functools import cache

# Parameters of mallopt(3), from glibc's malloc.h: blocks above a size are mapped apart (at most so many of them), free
# memory at the heap's end is given back above a threshold, and the heap grows by so much more than was asked for.
MMAP_MAX, TRIM_THRESHOLD, TOP_PAD = -4, -1, -2
NEVER, MARGIN = 2**31 - 1, 2**28


@cache
def keep_freed_memory() -> bool:
    """Tell the C library to keep freed memory for this process; whether it could be told (glibc only), once a process.

    The process then holds on to the most memory that it ever had in use.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(name, value) == 1 for name, value in ((MMAP_MAX, 0), (TRIM_THRESHOLD, NEVER), (TOP_PAD, MARGIN)))
