"""Time and memory that a command spends."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Stopwatch:
    """Seconds spent in named parts, in the order in which they were first started.

    Example:
        >>> watch = Stopwatch()
        >>> with watch("reading"):
        ...     pass
        >>> list(watch.seconds)
        ['reading']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Add the time of a block to `part`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - begun


def peak_memory_mb() -> float:
    """Peak memory of this process so far, in MB (10^6 bytes); 0 if the system does not report it (Windows)."""
    status = Path("/proc/self/status")  # getrusage counts what the process held before it became this program
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines()) if status.is_file() else {}
    if "VmHWM" in lines:
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
